/**
 * Remote commands over connections whose frames are mostly right and now and then not: whatever comes, the connection ends
 * in a way that is foreseen, the command with it, and nothing is left behind. LONGSHORE_FUZZ_FRAMES=1000000 is the size of issue 7.
 */

import type { IncomingMessage } from "node:http";
import { type Duplex, duplexPair, PassThrough } from "node:stream";
import { deflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { createLogger } from "../../../src/core/logger.ts";
import type { PodView } from "../../../src/pods/directory.ts";
import type { ExecSession } from "../../../src/runtime/runtime.ts";
import { serveCommand } from "../../../src/server/exec.ts";
import { parseRoute } from "../../../src/server/routes.ts";
import { createDictionary } from "../../../src/server/streaming/spdy/dictionary.ts";
import { FakeClock } from "../../fakes/clock.ts";

const FRAMES = Number(process.env.LONGSHORE_FUZZ_FRAMES ?? 4000);
const FRAMES_EACH = 100;
/** One in so many frames has a byte that is another. */
const SPOILT = 80;

const main = { name: "main", containerID: "docker://abc", state: { running: {} } };
const view = {
  pod: { metadata: { name: "web", namespace: "default", uid: "u" }, spec: { containers: [main] } },
  status: { containerStatuses: [main] },
  containers: [],
} as unknown as PodView;

/** Numbers that look random and are the same each time: below `end`. */
function dice(seed: number): (end: number) => number {
  let state = seed;
  return (end) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % end;
  };
}

type Roll = ReturnType<typeof dice>;

function word(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
}

/** What starts every deflate stream with this dictionary. */
const ZLIB_HEAD = deflateSync("", { dictionary: createDictionary() }).subarray(0, 6);

function spdyFrame(type: number, flags: number, payload: Buffer): Buffer {
  const length = word(payload.length);
  length[0] = flags;
  return Buffer.concat([Buffer.from([0x80, 3, 0, type]), length, payload]);
}

/** Opens the streams of a command; each header block is a stored block of one deflate stream. */
function spdyStart(): Buffer {
  const frames = ["error", "stdin", "stdout", "stderr"].map((name, index) => {
    const plain = Buffer.concat([word(1), sized("streamtype"), sized(name)]);
    const size = Buffer.alloc(4);
    size.writeUInt16LE(plain.length, 0);
    size.writeUInt16LE(0xffff ^ plain.length, 2);
    const head = index === 0 ? ZLIB_HEAD : Buffer.alloc(0);
    const block = Buffer.concat([head, Buffer.from([0]), size, plain]);
    const payload = Buffer.concat([word(2 * index + 1), word(0), Buffer.alloc(2), block]);
    return spdyFrame(1, 0, payload);
  });
  return Buffer.concat(frames);
}

function sized(text: string): Buffer {
  return Buffer.concat([word(text.length), Buffer.from(text)]);
}

function spdyNoise(roll: Roll): Buffer {
  const id = 2 * roll(5) + 1;
  switch (roll(40)) {
    case 0:
      return spdyFrame(3, 0, Buffer.concat([word(id), word(roll(8))]));
    case 1:
      return spdyFrame(7, 0, Buffer.concat([word(id), word(0)]));
    case 2:
      return spdyFrame(4, 0, Buffer.concat([word(0)]));
    case 3:
      return spdyFrame(9, 0, Buffer.concat([word(id), word(roll(1 << 20))]));
    case 4:
      return spdyFrame(
        8,
        0,
        Buffer.concat([word(id), Buffer.from([0, 1, 0, 0xfe, 0xff, roll(256)])]),
      );
    case 5:
    case 6:
      return spdyFrame(6, 0, word(roll(1000)));
    default: {
      const data = Buffer.alloc(roll(60), roll(256));
      const head = Buffer.concat([word(id), word(data.length)]);
      head[4] = roll(60) === 0 ? 1 : 0;
      return Buffer.concat([head, data]);
    }
  }
}

function webSocketNoise(roll: Roll): Buffer {
  const [binary, text, close, ping, pong] = [2, 1, 8, 9, 10];
  const often = [binary, binary, binary, binary, binary, ping, pong][roll(7)] ?? binary;
  const opcode = roll(150) === 0 ? close : roll(40) === 0 ? text : often;
  const data = Buffer.alloc(1 + roll(60), roll(256));
  // The channel: mostly stdin, then resize, the end of a channel, and what no client may send.
  data[0] = [0, 0, 0, 4, 255, 1, 3, 9][roll(8)] ?? 0;
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | data.length, 0, 0, 0, 0]), data]);
}

function spoil(frame: Buffer, roll: Roll): Buffer {
  if (roll(SPOILT) === 0) frame[roll(frame.length)] = roll(256);
  return frame;
}

const errors: string[] = [];
const log = createLogger({ level: "warn", pretty: false, write: (line) => errors.push(line) });

/** Programs that print what they are given. */
class Programs {
  running = 0;
  started = 0;

  exec = async (): Promise<ExecSession> => {
    this.running++;
    this.started++;
    const stdin = new PassThrough();
    const stderr = new PassThrough();
    const ended = Promise.withResolvers<number>();
    const end = (code: number): void => {
      stderr.end();
      ended.resolve(code);
    };
    stdin.on("end", () => end(0));
    void ended.promise.then(() => this.running--);
    const kill = async (): Promise<void> => {
      stdin.destroy();
      end(137);
    };
    const resize = async (): Promise<void> => undefined;
    return { stdin, stdout: stdin, stderr, exitCode: ended.promise, resize, kill };
  };
}

const KINDS = [
  {
    name: "SPDY",
    start: spdyStart(),
    noise: spdyNoise,
    headers: { upgrade: "SPDY/3.1", "x-stream-protocol-version": "v4.channel.k8s.io" },
  },
  ...["v5.channel.k8s.io", "v4.channel.k8s.io", "base64.channel.k8s.io"].map((protocol) => ({
    name: `WebSocket, ${protocol}`,
    start: Buffer.alloc(0),
    noise: webSocketNoise,
    headers: {
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
      "sec-websocket-protocol": protocol,
    },
  })),
];

/** Feeds one connection; resolves when the server has let go of it. */
async function feed(kind: (typeof KINDS)[number], roll: Roll, programs: Programs): Promise<number> {
  const clock = new FakeClock();
  const [near, far] = duplexPair() as [Duplex, Duplex];
  const headers = { connection: "Upgrade", ...kind.headers };
  const request = { method: "GET", headers } as unknown as IncomingMessage;
  const route = parseRoute("GET", "/exec/default/web/main?input=1&output=1&error=1&command=x");
  if (route.kind !== "exec") throw new Error(route.kind);
  const context = {
    ...{ clock, log, pods: { find: () => view, list: () => [view] } },
    runtime: { exec: programs.exec, attach: programs.exec },
  };
  const { signal } = new AbortController();
  far.on("error", () => undefined).resume();
  const closed = new Promise<void>((resolve) => near.once("close", () => resolve()));
  serveCommand(context, route, { request, socket: near, head: Buffer.alloc(0) }, signal);
  far.write(kind.start);
  let sent = 0;
  for (; sent < FRAMES_EACH && !near.destroyed && !near.writableEnded; sent++) {
    far.write(spoil(kind.noise(roll), roll));
    if (roll(4) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  far.end();
  await new Promise((resolve) => setImmediate(resolve));
  far.destroy();
  near.destroy();
  await closed;
  return sent;
}

test.each(KINDS)("$name", { timeout: 30_000 + FRAMES }, async (kind) => {
  const roll = dice(7);
  const programs = new Programs();
  const before = process.memoryUsage().rss;
  let frames = 0;
  for (; frames < FRAMES / KINDS.length; ) frames += await feed(kind, roll, programs);
  await expect.poll(() => programs.running).toBe(0);
  expect(programs.started).toBeGreaterThan(0);
  expect(errors).toEqual([]);
  // Other tests share the process: its memory means something only when this one runs alone.
  if (process.env.LONGSHORE_FUZZ_FRAMES === undefined) return;
  const grownMb = (process.memoryUsage().rss - before) / 1e6;
  expect(grownMb).toBeLessThan(300);
  process.stdout.write(
    `${kind.name}: ${frames} frames, ${programs.started} commands, ${Math.round(grownMb)} MB\n`,
  );
});
