/** The agent's local socket and `longshore explain` over it, on a real Unix socket. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runExplainPod } from "../../src/cli/explain.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { Logger } from "../../src/core/logger.ts";
import { type LocalAnswer, LocalServer, socketPathOf } from "../../src/local/server.ts";

const warnings: string[] = [];
const log: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (_, message) => void warnings.push(message),
  error: () => undefined,
  child: () => log,
};

let rootDir: string;
let servers: LocalServer[];

beforeEach(async () => {
  rootDir = await mkdtemp(join(tmpdir(), "explain-"));
  servers = [];
  warnings.length = 0;
});

afterEach(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  await rm(rootDir, { recursive: true });
});

async function serve(answer: (name: string) => LocalAnswer, dir = rootDir): Promise<void> {
  const routes = {
    "/explain/pod": async (query: URLSearchParams) => answer(query.get("name") ?? ""),
  };
  const server = new LocalServer({ rootDir: dir, routes, log });
  servers.push(server);
  await server.start();
}

/** `longshore explain pod` with its exit code and what it printed. */
async function explain(
  pod: string,
  output = "json",
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const texts = { out: "", err: "" };
  const host = {
    clock: systemClock,
    stop: new AbortController().signal,
    stdout: (text: string) => {
      texts.out += text;
    },
    stderr: (text: string) => {
      texts.err += text;
    },
  };
  return { code: await runExplainPod(host, pod, { output, rootDir }), ...texts };
}

test("the agent's answer is printed as it came, and the socket is root's alone", async () => {
  await serve((name) => ({ status: 200, body: { name } }));
  const { code, out } = await explain("ns/a b&c");
  expect([code, JSON.parse(out)]).toEqual([0, { name: "ns/a b&c" }]);
  expect((await stat(socketPathOf(rootDir))).mode & 0o777).toBe(0o600);
});

test.each([
  [404, 3],
  [409, 4],
  [503, 2],
  [500, 1],
])("an answer %i ends with exit code %i and its message", async (status, expected) => {
  await serve(() => ({ status, body: { message: "for a reason" } }));
  const result = await explain("ns/p");
  expect(result).toEqual({ code: expected, out: "", err: "longshore: for a reason\n" });
});

test("a route that throws is an answer, and the next one is served", async () => {
  await serve((name) => {
    if (name === "bad") throw new Error("it broke");
    return { status: 200, body: {} };
  });
  expect(await explain("bad")).toMatchObject({ code: 1, err: "longshore: it broke\n" });
  expect(await explain("good")).toMatchObject({ code: 0 });
});

test("without an agent the socket and the way to start one are named", async () => {
  const { code, err } = await explain("ns/p");
  expect(code).toBe(2);
  expect(err).toContain(`no agent answers on ${socketPathOf(rootDir)}: start it with`);
});

test("rubbish on the socket is told as such", async () => {
  const server = createServer((socket) => socket.end("what?\n"));
  await once(server.listen(socketPathOf(rootDir)), "listening");
  const { code, err } = await explain("ns/p");
  server.close();
  expect(code).toBe(2);
  expect(err).toContain(`asking the agent on ${socketPathOf(rootDir)}`);
});

test("what is no output format is refused", async () => {
  await expect(explain("ns/p", "yaml")).rejects.toMatchObject({ code: "ConfigInvalid" });
});

test("the socket that a killed agent left is replaced", async () => {
  const script = `require("net").createServer().listen(process.argv[1], () => console.log("up"))`;
  const killed = spawn(process.execPath, ["-e", script, socketPathOf(rootDir)]);
  await once(killed.stdout, "data");
  killed.kill("SIGKILL");
  await once(killed, "exit");
  expect((await stat(socketPathOf(rootDir))).isSocket()).toBe(true);
  await serve(() => ({ status: 200, body: {} }));
  expect(await explain("ns/p")).toMatchObject({ code: 0 });
});

test("a second agent of the same root directory is refused, and the first goes on", async () => {
  await serve(() => ({ status: 200, body: {} }));
  await expect(serve(() => ({ status: 200, body: {} }))).rejects.toMatchObject({
    code: "AddressInUse",
    message: expect.stringContaining(rootDir),
  });
  expect(await explain("ns/p")).toMatchObject({ code: 0 });
});

test("a directory that takes no socket costs a warning, not the agent", async () => {
  const long = join(rootDir, "x".repeat(120));
  await serve(() => ({ status: 200, body: {} }), long);
  expect(warnings).toEqual([expect.stringContaining("longshore explain and status do not work")]);
});

test("paths and methods that are no route are refused", async () => {
  await serve(() => ({ status: 200, body: {} }));
  const ask = (method: string, path: string) =>
    new Promise<number>((resolve, reject) => {
      const asked = request({ socketPath: socketPathOf(rootDir), method, path, agent: false });
      asked.on("response", (response) => resolve(response.resume().statusCode ?? 0));
      asked.on("error", reject).end();
    });
  const paths = ["/", "/nope", "/constructor", "//explain/pod", "/explain/../explain/pod", "*"];
  expect(await Promise.all(paths.map((path) => ask("GET", path)))).toEqual(paths.map(() => 404));
  expect(await ask("POST", "/explain/pod")).toBe(405);
});
