/** Lifecycle hooks on the real thing: commands in a container of a real Engine, requests to loopback servers. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server as TcpServer,
} from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { LifecycleHandler, Pod } from "../../src/api/types.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createHookRunner } from "../../src/probes/hooks.ts";
import { containerOf, makePod, sandboxOf } from "../builders/runtime.ts";
import { createReal, never, removePod } from "../support/runtime.ts";

const runtime = createReal();
const identity = makePod("hooks");
const pod: Pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { ...identity, resourceVersion: "1" },
  spec: { containers: [] },
};
const events: string[] = [];
const opened: (Server | TcpServer)[] = [];
let containerId = "";

const runner = createHookRunner({
  ...{ runtime, clock: systemClock },
  events: {
    record: ({ name }, type, reason, message) => {
      events.push(`${name} ${type} ${reason}: ${message}`);
    },
  },
});

function run(handler: LifecycleHandler, signal = never(), port = 0): Promise<void> {
  const container = { name: "c", image: "i", ports: [{ name: "web", containerPort: port }] };
  return runner.run(handler, { pod, container, containerId, podIp: "127.0.0.1" }, signal);
}

const exec = (script: string): LifecycleHandler => ({ exec: { command: ["sh", "-c", script] } });

async function output(...command: readonly string[]): Promise<string> {
  return (await runtime.execSync(containerId, command, 10_000, never())).output;
}

async function listen(server: Server | TcpServer): Promise<number> {
  opened.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

afterEach(async () => {
  events.length = 0;
  for (const server of opened.splice(0)) {
    if ("closeAllConnections" in server) server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

describe("a command", () => {
  beforeAll(async () => {
    const sandbox = await runtime.runSandbox(sandboxOf(identity), never());
    containerId = await runtime.createContainer(containerOf(identity, sandbox.id), never());
    await runtime.startContainer(containerId, never());
  });

  afterAll(() => removePod(runtime, identity));

  it("runs in the container and is waited for", async () => {
    await run(exec("sleep 0.3; echo done >/tmp/hook"));
    expect(await output("cat", "/tmp/hook")).toBe("done\n");
  });

  it("that fails tells its exit code and output", async () => {
    await expect(run(exec("echo no; exit 7"))).rejects.toMatchObject({
      code: "HookFailed",
      message: `Exec lifecycle hook ([sh -c echo no; exit 7]) for Container "c" in Pod "${identity.name}_${identity.namespace}(${identity.uid})" failed - error: command 'sh -c echo no; exit 7' exited with 7: no\n, message: "no\\n"`,
    });
  });

  it("that is not there fails in the Engine's words", async () => {
    await expect(run({ exec: { command: ["/missing"] } })).rejects.toMatchObject({
      code: "HookFailed",
      message: expect.stringContaining("no such file or directory"),
    });
  });

  it("is killed when it is given up", async () => {
    const giving = new AbortController();
    const outcome = expect(run(exec("sleep 7791; true"), giving.signal)).rejects.toMatchObject({
      code: "Aborted",
    });
    while (!(await output("ps")).includes("sleep 7791"));
    giving.abort();
    await outcome;
    while ((await output("ps")).includes("sleep 7791"));
  });

  it("in a container that is gone fails", async () => {
    const target = { pod, container: { name: "c" }, containerId: "0".repeat(64), podIp: "" };
    await expect(runner.run(exec("true"), target, never())).rejects.toMatchObject({
      code: "HookFailed",
    });
  });
});

describe("a request", () => {
  const secret = [
    { name: "Authorization", value: "Bearer s" },
    { name: "x-a", value: "1" },
  ];
  let seen: string[] = [];
  const answer: RequestListener = (request, response) => {
    seen.push(`${request.url} ${request.rawHeaders.join(" ")}`);
    response.writeHead(500).end();
  };

  it("goes to the pod's named port; its status does not count", async () => {
    seen = [];
    const port = await listen(createServer(answer));
    await run({ httpGet: { port: "web", path: "stop?now", httpHeaders: secret } }, never(), port);
    expect(seen).toEqual([
      `/stop?now User-Agent kube-lifecycle/1.36 Accept */* Authorization Bearer s X-A 1 Connection close Host 127.0.0.1:${port}`,
    ]);
  });

  it("over HTTPS does not verify the certificate", async () => {
    seen = [];
    const port = await listen(createTlsServer(selfSigned(), answer));
    await run({ httpGet: { port, scheme: "HTTPS", path: "/a" } });
    expect(seen).toHaveLength(1);
    expect(events).toEqual([]);
  });

  it("over HTTPS to a server that has none falls back, without its credentials and with an event", async () => {
    seen = [];
    const port = await listen(createServer(answer));
    await run({ httpGet: { port, scheme: "HTTPS", httpHeaders: secret } });
    expect(seen).toHaveLength(1);
    expect(seen[0]).toContain("X-A 1");
    expect(seen[0]).not.toContain("Bearer");
    expect(events).toEqual([
      `${identity.name} Warning LifecycleHTTPFallback: request to HTTPS lifecycle hook 127.0.0.1:${port} got HTTP response, retry with HTTP succeeded`,
    ]);
  });

  it("over HTTPS to what speaks neither fails in the words of the first try", async () => {
    const port = await listen(
      createTcpServer((socket) =>
        socket
          .resume()
          .on("error", () => {})
          .end("220 hello\r\n"),
      ),
    );
    await expect(run({ httpGet: { port, scheme: "HTTPS" } })).rejects.toMatchObject({
      code: "HookFailed",
      message: expect.stringContaining(`Get "https://127.0.0.1:${port}/": http: server gave HTTP`),
    });
    expect(events).toEqual([]);
  });

  it("that nobody answers fails", async () => {
    await expect(run({ httpGet: { port: 1 } })).rejects.toMatchObject({
      message: expect.stringMatching(
        /Get "http:\/\/127.0.0.1:1\/": dial tcp .*connection refused$/,
      ),
    });
  });

  it("that is given up is Aborted", async () => {
    const giving = new AbortController();
    const port = await listen(createServer(() => giving.abort()));
    await expect(run({ httpGet: { port } }, giving.signal)).rejects.toMatchObject({
      code: "Aborted",
    });
  });
});

function selfSigned(): { readonly key: Buffer; readonly cert: Buffer } {
  const dir = mkdtempSync(join(tmpdir(), "h-probes-tls-"));
  const files = ["-keyout", join(dir, "key"), "-out", join(dir, "cert")];
  const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
  execFileSync("openssl", [...request, "-nodes", "-subj", "/CN=nobody", ...files], {
    stdio: "ignore",
  });
  const pair = { key: readFileSync(join(dir, "key")), cert: readFileSync(join(dir, "cert")) };
  rmSync(dir, { recursive: true });
  return pair;
}
