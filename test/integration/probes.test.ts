/** HTTP and TCP probe handlers against loopback servers, on real time. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createServer as createTcpServer, type Server as TcpServer } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { Probe } from "../../src/api/types.ts";
import { systemClock } from "../../src/core/clock.ts";
import { runProbe } from "../../src/probes/handlers/run-probe.ts";
import type { ProbeOutcome } from "../../src/probes/verdict.ts";

const signal = new AbortController().signal;
const HAS_IPV6 = networkInterfaces().lo?.some(({ family }) => family === "IPv6") === true;
const opened: (Server | TcpServer)[] = [];

afterEach(async () => {
  for (const server of opened.splice(0)) {
    if ("closeAllConnections" in server) server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function listen(server: Server | TcpServer): Promise<number> {
  opened.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

function probe(what: Probe, port = 0): Promise<ProbeOutcome> {
  const ports = [{ name: "named", containerPort: port }];
  const context = {
    runtime: {
      execSync: () => {
        throw new Error("unexpected");
      },
    },
    clock: systemClock,
    podIp: "127.0.0.1",
    spec: { name: "c", image: "i", ports: port === 0 ? [] : ports },
    containerId: "id",
  };
  return runProbe(what, context, signal);
}

async function get(
  handler: RequestListener,
  more: object = {},
): Promise<ProbeOutcome & { readonly port: number }> {
  const port = await listen(createServer(handler));
  const outcome = await probe({ httpGet: { port: "named", path: "/z?q=1", ...more } }, port);
  return { ...outcome, port };
}

describe("httpGet", () => {
  it.each([
    [200, "success"],
    [204, "success"],
    [304, "warning"],
    [400, "failure"],
    [500, "failure"],
  ])("status %i is a %s", async (status, kind) => {
    const outcome = await get((_request, response) => response.writeHead(status).end());
    expect(outcome.kind).toBe(kind);
    if (kind === "failure")
      expect(outcome.message).toBe(`HTTP probe failed with statuscode: ${status}`);
  });

  it.each<[string, { name: string; value: string }[], string[]]>([
    ["no headers", [], ["User-Agent: kube-probe/1.36", "Accept: */*", "Host: ADDRESS"]],
    [
      "a host and a header, which is written as Go writes it",
      [
        { name: "hOST", value: "example.test" },
        { name: "x-my-header", value: "1" },
        { name: "__proto__", value: "2" },
        { name: "host", value: "second.test" },
      ],
      [
        "User-Agent: kube-probe/1.36",
        "Accept: */*",
        "X-My-Header: 1",
        "__proto__: 2",
        "Host: example.test",
      ],
    ],
    [
      "headers in place of the kubelet's, one of them twice",
      [
        { name: "user-agent", value: "me" },
        { name: "accept", value: "text/html" },
        { name: "ACCEPT", value: "text/plain" },
      ],
      ["User-Agent: me", "Accept: text/html", "Accept: text/plain", "Host: ADDRESS"],
    ],
    [
      "empty headers, which take the kubelet's away",
      [
        { name: "User-Agent", value: "" },
        { name: "Accept", value: "" },
        { name: "Host", value: "" },
      ],
      ["Host: ADDRESS"],
    ],
  ])("asked for with %s", async (_title, httpHeaders, expected) => {
    const seen: string[] = [];
    const { port } = await get(
      ({ url, rawHeaders }, response) => {
        expect(url).toBe("/z?q=1");
        for (let at = 0; at < rawHeaders.length; at += 2)
          seen.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
        response.end();
      },
      { httpHeaders },
    );
    const all = [...expected, "Connection: close"];
    expect(seen.sort()).toEqual(
      all.map((line) => line.replace("ADDRESS", `127.0.0.1:${port}`)).sort(),
    );
  });

  it.each([
    ["that names no host keeps the host asked for", (_port: number) => "/ok", "example.test"],
    [
      "that names its host is asked for by that",
      (port: number) => `http://127.0.0.1:${port}/ok`,
      "127.0.0.1",
    ],
  ])("a redirect %s", async (_title, location, host) => {
    let seen = "";
    const httpHeaders = [{ name: "Host", value: "example.test" }];
    await get(
      (request, response) => {
        const { localPort = 0 } = request.socket;
        if (request.url === "/ok") seen = request.headers.host ?? "";
        response.writeHead(request.url === "/ok" ? 200 : 301, { location: location(localPort) });
        response.end();
      },
      { httpHeaders },
    );
    expect(seen.split(":")[0]).toBe(host);
  });

  it.skipIf(!HAS_IPV6)("over IPv6 puts the address into brackets", async () => {
    let seen = "";
    const server = createServer((request, response) => {
      seen = request.headers.host ?? "";
      response.end();
    });
    opened.push(server);
    await new Promise<void>((resolve) => server.listen(0, "::1", resolve));
    const { port } = server.address() as AddressInfo;
    expect(await probe({ httpGet: { host: "::1", port } })).toMatchObject({ kind: "success" });
    expect(seen).toBe(`[::1]:${port}`);
    expect(await probe({ tcpSocket: { host: "::1", port } })).toMatchObject({ kind: "success" });
    expect(await probe({ httpGet: { host: "::1", port: 1 } })).toEqual({
      kind: "failure",
      message: 'Get "http://[::1]:1/": dial tcp [::1]:1: connect: connection refused',
    });
  });

  it("follows a redirect on the same host", async () => {
    const outcome = await get((request, response) => {
      if (request.url === "/ok") response.end();
      else response.writeHead(302, { location: "/ok" }).end();
    });
    expect(outcome.kind).toBe("success");
  });

  it("warns of a redirect to another host instead of following it", async () => {
    const outcome = await get((_request, response) =>
      response.writeHead(302, { location: "http://192.0.2.1/x" }).end("gone there"),
    );
    expect(outcome).toMatchObject({
      kind: "warning",
      message: "Probe terminated redirects, Response body: gone there",
    });
  });

  it("gives up after ten redirects", async () => {
    const outcome = await get((_request, response) =>
      response.writeHead(302, { location: "/z" }).end(),
    );
    expect(outcome).toMatchObject({
      kind: "failure",
      message: 'Get "/z": stopped after 10 redirects',
    });
  });

  it("does not read an endless body", async () => {
    const outcome = await get((_request, response) => {
      const pump = (): void => {
        while (!response.destroyed && response.write("x".repeat(65536)));
      };
      response.on("drain", pump);
      pump();
    });
    expect(outcome.kind).toBe("success");
    expect(outcome.message.length).toBe(10 * 1024);
  });

  it("times out in Go's words", async () => {
    const outcome = await get(() => undefined);
    expect(outcome).toMatchObject({
      kind: "failure",
      message: `Get "http://127.0.0.1:${outcome.port}/z?q=1": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
    });
  });

  it("does not wait for the rest of a body that it would not read", async () => {
    const outcome = await get((_request, response) => {
      response.write("x".repeat(20_000));
    });
    expect(outcome.kind).toBe("success");
  });

  it("fails on a location that is none", async () => {
    const outcome = await get((_request, response) =>
      response.writeHead(302, { location: "http://[" }).end(),
    );
    expect(outcome.kind).toBe("failure");
  });

  it("says when nobody listens, or the server hangs up", async () => {
    const port = await listen(createTcpServer((socket) => socket.destroy()));
    const hungUp = await probe({ httpGet: { port } });
    expect(hungUp.kind).toBe("failure");
    const [server] = opened.splice(0);
    await new Promise((resolve) => server?.close(resolve));
    expect(await probe({ httpGet: { port, path: "healthz" } })).toEqual({
      kind: "failure",
      message: `Get "http://127.0.0.1:${port}/healthz": dial tcp 127.0.0.1:${port}: connect: connection refused`,
    });
  });
});

describe("tcpSocket", () => {
  it("succeeds when the port accepts, and says when it does not", async () => {
    const port = await listen(createTcpServer((socket) => socket.resume()));
    expect(await probe({ tcpSocket: { port } })).toMatchObject({ kind: "success" });
    const [server] = opened.splice(0);
    await new Promise((resolve) => server?.close(resolve));
    expect(await probe({ tcpSocket: { port } })).toEqual({
      kind: "failure",
      message: `dial tcp 127.0.0.1:${port}: connect: connection refused`,
    });
  });
});

it("a port name that no port has, and a handler that is not there, cannot be run", async () => {
  await expect(probe({ tcpSocket: { port: "nobody" } })).rejects.toMatchObject({
    message: "couldn't find port: nobody in container c",
  });
  await expect(probe({})).rejects.toMatchObject({ code: "Unsupported" });
});

it("an HTTPS probe does not verify the certificate", async () => {
  const dir = mkdtempSync(join(tmpdir(), "volumes-tls-"));
  const files = ["-keyout", join(dir, "key"), "-out", join(dir, "cert")];
  const selfSigned = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
  execFileSync("openssl", [...selfSigned, "-nodes", "-subj", "/CN=nobody", ...files], {
    stdio: "ignore",
  });
  const pair = { key: readFileSync(join(dir, "key")), cert: readFileSync(join(dir, "cert")) };
  rmSync(dir, { recursive: true });
  const port = await listen(createTlsServer(pair, (_request, response) => response.end("ok")));
  expect(await probe({ httpGet: { port, scheme: "HTTPS", path: "/readyz" } })).toEqual({
    kind: "success",
    message: "ok",
  });
});
