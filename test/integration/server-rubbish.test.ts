/**
 * What nobody sane sends: idle connections, headers without end, frames of noise after a good handshake, floods that
 * are not read. The server goes on serving others, and its memory stays where it was.
 */

import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { createLogger } from "../../src/core/logger.ts";
import type { PodView } from "../../src/pods/directory.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { KubeletServer } from "../../src/server/kubelet-server.ts";
import { MAX_SILENT } from "../../src/server/silent-connections.ts";
import { AgentMetrics } from "../../src/server/stats/agent-metrics.ts";
import { FakeRuntime } from "../fakes/runtime.ts";
import { SERVER_DEFAULTS } from "../support/server-defaults.ts";
import { type Pair, TestCa } from "./server-pki.ts";

/** 10,000 is the size of issue 7. */
const IDLE = Number(process.env.LONGSHORE_IDLE_CONNECTIONS ?? 1100);
/** Of each kind of stream and seed; 30,000 make a million in all. */
const FRAMES = Number(process.env.LONGSHORE_FUZZ_FRAMES ?? 200);

const errors: string[] = [];
const log = createLogger({ level: "error", pretty: false, write: (line) => errors.push(line) });

const main = {
  ...{ name: "main", image: "i", imageID: "", ready: true, restartCount: 0 },
  ...{ containerID: "docker://abc", state: { running: {} } },
};
const view = {
  pod: { metadata: { name: "web", namespace: "default", uid: "u" }, spec: { containers: [main] } },
  status: { containerStatuses: [main] },
  containers: [],
} as unknown as PodView;

let dir = "";
let server: KubeletServer;
let admin: Pair;

/** Commands and attached programs that never end and say nothing. */
class SilentRuntime extends FakeRuntime {
  override exec: Runtime["exec"] = (_id, _request, signal) =>
    this.attach("", { stdin: true }, signal);
  override attach: Runtime["attach"] = async () => {
    const { PassThrough } = await import("node:stream");
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    stdin.resume();
    const ended = Promise.withResolvers<number>();
    const kill = async (): Promise<void> => {
      stdout.end();
      stderr.end();
      ended.resolve(137);
    };
    return { stdin, stdout, stderr, exitCode: ended.promise, resize: async () => undefined, kill };
  };
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "server-rubbish-"));
  const ca = await TestCa.create("test-ca");
  await writeFile(join(dir, "ca.crt"), ca.cert);
  admin = await ca.issue("CN=admin, O=system:masters");
  server = new KubeletServer({
    config: {
      ...{ nodeName: "node-1", nodeIps: ["127.0.0.1"], rootDir: dir, address: "127.0.0.1" },
      ...{ port: 0, clientCaFile: join(dir, "ca.crt") },
      ...{ healthzBindAddress: "127.0.0.1", healthzPort: 0 },
      ...SERVER_DEFAULTS,
    },
    pods: { find: () => view, list: () => [view] },
    runtime: new SilentRuntime({ now: () => 0 }),
    ...{
      metrics: new AgentMetrics(),
      readiness: () => [],
      version: "0",
      configuration: {},
      probeTotals: () => [],
      certificates: () => ({ clientRenewErrors: 0, servingRenewErrors: 0 }),
      volumeUsage: async () => [],
    },
    reviews: { token: async () => undefined, access: async () => false },
    clock: systemClock,
    log,
  });
  await server.start();
});

afterAll(async () => {
  await server.stop();
  await rm(dir, { recursive: true });
});

async function open(as?: Pair): Promise<TLSSocket> {
  const socket = connect({
    port: server.port,
    host: "127.0.0.1",
    rejectUnauthorized: false,
    ...as,
  });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket;
}

function statusOf(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = { port: server.port, host: "127.0.0.1", path, rejectUnauthorized: false };
    httpsRequest({ ...options, ...admin, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on("error", reject)
      .end();
  });
}

/** Numbers that look random and are the same each time. */
function* noise(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state >>> 24;
  }
}

function bytesOf(source: Generator<number>, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => source.next().value as number));
}

const WEBSOCKET =
  "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
const UPGRADES = [
  [
    "exec over SPDY",
    "/exec/default/web/main?command=x&input=1&output=1",
    "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n",
  ],
  [
    "exec over WebSocket",
    "/exec/default/web/main?command=x&input=1&output=1",
    `${WEBSOCKET}Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n`,
  ],
  [
    "attach over base64",
    "/attach/default/web/main?input=1&output=1",
    `${WEBSOCKET}Sec-WebSocket-Protocol: base64.channel.k8s.io\r\n`,
  ],
  [
    "port-forward over SPDY",
    "/portForward/default/web",
    "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n",
  ],
  [
    "port-forward in a tunnel",
    "/portForward/default/web",
    `${WEBSOCKET}Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n`,
  ],
  [
    "legacy port-forward",
    "/portForward/default/web?port=80",
    `${WEBSOCKET}Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n`,
  ],
] as const;

async function upgrade(path: string, headers: string): Promise<TLSSocket> {
  const socket = await open(admin);
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n${headers}\r\n`);
  const [answer] = await once(socket, "data");
  expect(String(answer)).toContain("101 Switching Protocols");
  return socket;
}

describe.each(UPGRADES)("%s", (_what, path, headers) => {
  test("outlives a client that sends noise", async () => {
    for (let seed = 1; seed <= 6; seed++) {
      const socket = await upgrade(path, headers);
      const source = noise(seed);
      socket.resume();
      // Half of them with frames that begin well.
      const frames = Array.from({ length: FRAMES }, () => {
        const [kind = 0, flags = 0, length = 0] = bytesOf(source, 3);
        const isSpdy = headers.includes("Upgrade: SPDY");
        const start = isSpdy
          ? Buffer.from([0x80, 3, 0, kind % 10, flags & 1, 0, 0, length])
          : Buffer.from([0x80 | (kind % 3), 0x80 | (length & 0x7d), 0, 0, 0, 0]);
        return Buffer.concat([start, bytesOf(source, isSpdy ? length : length & 0x7d)]);
      });
      const isFramed = seed % 2 === 0;
      socket.write(isFramed ? Buffer.concat(frames) : bytesOf(source, 20 * FRAMES));
      // Who keeps its side open is sent away in time; the others must not wait for it.
      await new Promise<void>((resolve) => socket.end(() => resolve()));
      expect(await statusOf("/healthz")).toBe(200);
      socket.destroy();
    }
    expect(await statusOf("/healthz")).toBe(200);
    expect(errors).toEqual([]);
  });

  test("does not keep answers that the client asks for and never reads", async () => {
    const socket = await upgrade(path, headers);
    socket.pause();
    const isSpdy = headers.includes("Upgrade: SPDY");
    const ping = isSpdy
      ? Buffer.from([0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1])
      : Buffer.concat([Buffer.from([0x89, 0xfd, 0, 0, 0, 0]), Buffer.alloc(125)]);
    const block = Buffer.concat(Array.from({ length: 4096 }, () => ping));
    const before = process.memoryUsage().rss;
    const closed = eventOf(socket, "close");
    let sent = 0;
    // Until the server stops reading, or closes: what it has taken by then it has answered.
    while (sent < 32 * 1024 * 1024 && !socket.destroyed) {
      const isTaken = socket.write(block);
      sent += block.length;
      if (isTaken) continue;
      const more = await Promise.race([eventOf(socket, "drain"), closed, sleepFor(500)]);
      if (more === "late") break;
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
    socket.destroy();
    expect(await statusOf("/healthz")).toBe(200);
  });
});

function sleepFor(ms: number): Promise<"late"> {
  return new Promise((resolve) => setTimeout(() => resolve("late"), ms));
}

/** Unlike `once`, not broken off by an error of the socket: some of these connections are meant to be reset. */
function eventOf(socket: TLSSocket, name: string): Promise<unknown> {
  return new Promise((resolve) => socket.once(name, resolve));
}

test("a header of more than a mebibyte is refused, and others are served", async () => {
  const socket = await open();
  const closed = eventOf(socket, "close");
  const answer: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => answer.push(chunk));
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n");
  for (let index = 0; index < 80 && !socket.destroyed; index++)
    socket.write(`X-${index}: ${"a".repeat(16 * 1024)}\r\n`);
  await closed;
  expect(Buffer.concat(answer).toString()).toMatch(/^(HTTP\/1.1 431 |$)/);
  expect(await statusOf("/healthz")).toBe(200);
});

test("however many connections say nothing, or a letter at a time, others are served and memory has an end", async () => {
  const before = process.memoryUsage().rss;
  const asked = await open(admin);
  const ask = (): void => void asked.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  ask();
  await once(asked.resume(), "data");
  const idle: TLSSocket[] = [];
  for (let index = 0; index < IDLE; index += 50) {
    const some = await Promise.all(Array.from({ length: 50 }, () => open()));
    for (const socket of some.slice(25)) socket.write("GET /slow HTTP/1.1\r\nHo");
    idle.push(...some.map((socket) => socket.resume()));
    ask();
  }
  expect(await statusOf("/healthz")).toBe(200);
  await vi.waitFor(() =>
    expect(idle.filter((socket) => !socket.closed).length).toBeLessThanOrEqual(MAX_SILENT),
  );
  // The newest are there, and so is who has asked something before.
  expect([asked, ...idle.slice(-100)].filter((socket) => socket.closed)).toEqual([]);
  const grownMb = Math.round((process.memoryUsage().rss - before) / 1e6);
  // Both ends of each are in this process.
  expect(grownMb, `${IDLE} connections`).toBeLessThan(400);
  if (process.env.LONGSHORE_IDLE_CONNECTIONS !== undefined)
    process.stdout.write(`${IDLE} silent connections: ${grownMb} MB more, both ends\n`);
  for (const socket of [asked, ...idle]) socket.destroy();
}, 300_000);

test("who is nobody is told so, and the connection ends", async () => {
  const socket = await open();
  const ended = eventOf(socket.resume(), "end");
  socket.write("GET /pods HTTP/1.1\r\nHost: x\r\n\r\n");
  await ended;
  socket.destroy();
});
