/** SPDY frames, the dictionary and a whole session, against bytes made by zlib as a client makes them. */

import { once } from "node:events";
import { Duplex } from "node:stream";
import { constants, createDeflate } from "node:zlib";
import { describe, expect, test } from "vitest";
import { createDictionary } from "../../../src/server/streaming/spdy/dictionary.ts";
import {
  encodeData,
  encodeGoAway,
  encodePing,
  encodeReply,
  encodeReset,
  type Frame,
  FrameParser,
} from "../../../src/server/streaming/spdy/frames.ts";
import { SpdySession, type SpdyStream } from "../../../src/server/streaming/spdy/session.ts";
import { expectedStreams } from "../../../src/server/streaming/spdy/spdy-command.ts";
import { FakeClock } from "../../fakes/clock.ts";

/** Header blocks of one connection: one deflate stream, flushed for each. */
class Client {
  readonly #deflate = createDeflate({
    dictionary: createDictionary(),
    flush: constants.Z_SYNC_FLUSH,
  });
  #chunks: Buffer[] = [];

  constructor() {
    this.#deflate.on("data", (chunk: Buffer) => this.#chunks.push(chunk));
  }

  async synStream(id: number, headers: Readonly<Record<string, string>>): Promise<Buffer> {
    const entries = Object.entries(headers);
    const plain = [word(entries.length), ...entries.flat().map((text) => sized(text))];
    await new Promise((resolve) => this.#deflate.write(Buffer.concat(plain), resolve));
    const block = Buffer.concat(this.#chunks);
    this.#chunks = [];
    const payload = Buffer.concat([word(id), word(0), Buffer.alloc(2), block]);
    const length = word(payload.length);
    return Buffer.concat([Buffer.from([0x80, 3, 0, 1]), length, payload]);
  }
}

function word(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
}

function sized(text: string): Buffer {
  return Buffer.concat([word(text.length), Buffer.from(text)]);
}

function adler32(data: Buffer): string {
  let [a, b] = [1, 0];
  for (const byte of data) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  return (b * 65_536 + a).toString(16);
}

describe("frames", () => {
  test("the dictionary is the standard's", () => {
    expect(createDictionary().length).toBe(1423);
    expect(adler32(createDictionary())).toBe("e3c6a7c2");
  });

  test("are put together from chunks of any size", () => {
    const bytes = Buffer.concat([
      encodeData(5, Buffer.from("hello"), true),
      encodePing(7),
      encodeReset(5, 5),
      encodeGoAway(5),
    ]);
    for (const size of [1, 3, 1000]) {
      const parser = new FrameParser();
      const frames: Frame[] = [];
      for (let at = 0; at < bytes.length; at += size)
        frames.push(...parser.push(bytes.subarray(at, at + size)));
      expect(frames).toEqual([
        { kind: "data", streamId: 5, fin: true, data: Buffer.from("hello") },
        { kind: "ping", id: 7 },
        { kind: "rst-stream", streamId: 5 },
        { kind: "goaway" },
      ]);
    }
  });

  test.each([
    ["another version", "8002000600000004"],
    ["an unknown type", "8003000b00000000"],
    ["a header block of 16 MiB", "8003000100ffffff"],
    ["a ping without an id", "8003000600000000"],
  ])("refuse %s", (_sentence, hex) => {
    const bytes = Buffer.concat([Buffer.from(hex, "hex"), Buffer.alloc(4)]);
    expect(() => [...new FrameParser().push(bytes)]).toThrow("SPDY");
  });

  test("the first reply starts the deflate stream, each ends with the sync marker", () => {
    expect(encodeReply(1, true).toString("hex")).toBe(
      "800300020000001400000001780100" + "0400fbff00000000" + "000000ffff",
    );
    expect(encodeReply(3, false).toString("hex")).toMatch(/^8003000200000012000000030004/);
  });
});

test.each([
  ["v4.channel.k8s.io", true, ["error", "stdin", "stdout", "resize"]],
  ["v2.channel.k8s.io", true, ["error", "stdin", "stdout"]],
  ["v4.channel.k8s.io", false, ["error", "stdin", "stdout"]],
])("streams of %s with tty %s", (protocol, tty, expected) => {
  const options = { stdin: true, stdout: true, stderr: false, tty };
  expect(expectedStreams(options, protocol)).toEqual(expected);
});

describe("a session", () => {
  function createPair(): { near: Duplex; sent: Buffer[] } {
    const sent: Buffer[] = [];
    const near = new Duplex({
      read() {},
      write: (chunk: Buffer, _encoding, done) => {
        sent.push(chunk);
        done();
      },
    });
    return { near, sent };
  }

  const createSession = (near: Duplex, onStream: (stream: SpdyStream) => boolean): SpdySession =>
    new SpdySession(near, { clock: new FakeClock(), maxStreams: 4, onStream });

  test("opens streams, answers pings, carries data both ways, refuses what is not wanted", async () => {
    const { near, sent } = createPair();
    const streams: SpdyStream[] = [];
    const session = createSession(near, (stream) => {
      if (stream.headers.get("streamtype") === "bad") return false;
      streams.push(stream);
      return true;
    });
    const running = session.run(Buffer.alloc(0));
    const client = new Client();
    near.push(await client.synStream(1, { streamtype: "stdin" }));
    near.push(await client.synStream(3, { streamtype: "bad" }));
    near.push(await client.synStream(5, { streamtype: "stdout" }));
    near.push(encodeData(1, Buffer.from("in"), true));
    near.push(encodePing(9));
    const [stdin, stdout] = await untilTwo(streams);
    const chunks: Buffer[] = [];
    for await (const chunk of stdin.input) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString()).toBe("in");
    stdout.output.end("out");
    await once(stdout.output, "finish");
    const bytes = Buffer.concat(sent);
    expect(bytes.includes(encodeReply(1, true))).toBe(true);
    expect(bytes.includes(encodeReset(3, 3))).toBe(true);
    expect(bytes.includes(encodeReply(5, false))).toBe(true);
    expect(bytes.includes(encodePing(9))).toBe(true);
    expect(bytes.includes(encodeData(5, Buffer.from("out"), false))).toBe(true);
    expect(bytes.includes(encodeData(5, Buffer.alloc(0), true))).toBe(true);
    near.push(null);
    await running;
    expect(session.gone.aborted).toBe(true);
  });

  test("ends with an error when the bytes are not SPDY", async () => {
    const { near } = createPair();
    const session = createSession(near, () => true);
    const running = session.run(Buffer.from("8009000100000000", "hex"));
    await expect(running).rejects.toMatchObject({ code: "Unsupported" });
    expect(session.gone.aborted).toBe(true);
  });

  test("ends with an error when a small header block inflates to a large one", async () => {
    const { near } = createPair();
    const session = createSession(near, () => true);
    const bomb = await new Client().synStream(1, { streamtype: "x".repeat(64 * 1024 * 1024) });
    expect(bomb.length).toBeLessThan(1024 * 1024);
    await expect(session.run(bomb)).rejects.toThrow("too large a header block");
  });

  async function untilTwo(streams: readonly SpdyStream[]): Promise<[SpdyStream, SpdyStream]> {
    for (;;) {
      const [first, second] = streams;
      if (first !== undefined && second !== undefined) return [first, second];
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
});
