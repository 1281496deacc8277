/**
 * The server's side of one SPDY/3.1 connection: streams that the client opens, with back-pressure by pausing the
 * connection (this dialect has no windows). Frames are handled strictly in order, header blocks included. Used by
 * spdy-command.ts and port-forward.
 */

import { type Duplex, PassThrough, Writable } from "node:stream";
import { constants, createInflate } from "node:zlib";
import type { Clock, Timer } from "../../../core/clock.ts";
import { assertNever, LongshoreError } from "../../../core/errors.ts";
import { createDictionary } from "./dictionary.ts";
import {
  encodeData,
  encodeGoAway,
  encodePing,
  encodeReply,
  encodeReset,
  type Frame,
  FrameParser,
  parseHeaderBlock,
  RST,
} from "./frames.ts";

export interface SpdyStream {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  /** What the client sends; ends when it half-closes. */
  readonly input: PassThrough;
  /** What the client gets; ending it half-closes. */
  readonly output: Writable;
  /** Breaks both directions off. */
  reset(): void;
}

export interface SpdySessionOptions {
  readonly clock: Clock;
  /** Open at once; further ones are reset. */
  readonly maxStreams: number;
  /** Tells whether a stream is wanted; the others are reset. */
  readonly onStream: (stream: SpdyStream) => boolean;
}

/** kubelet's streamingConnectionIdleTimeout. */
const IDLE_LIMIT_MS = 4 * 60 * 60_000;
/** A connection that is not read does not tell that its client is gone; one that is written to does. */
const STALLED_PING_MS = 5_000;
const MAX_DATA_BYTES = 32 * 1024;
const MAX_BLOCK_BYTES = 1024 * 1024;
const MAX_UNREAD_BYTES = 1024 * 1024;
const CLOSE_PATIENCE_MS = 5_000;

export class SpdySession {
  readonly #socket: Duplex;
  readonly #clock: Clock;
  readonly #options: SpdySessionOptions;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #parser = new FrameParser();
  readonly #gone = new AbortController();
  readonly #inflate = createInflate({
    dictionary: createDictionary(),
    flush: constants.Z_SYNC_FLUSH,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  #inflated: Buffer[] = [];
  #inflatedBytes = 0;
  #lastStreamId = 0;
  #hasReplied = false;
  #pingId = 0;
  #idle: Timer | undefined;
  /** Of the last frame, monotonic. */
  #lastActivity: number;

  constructor(socket: Duplex, options: SpdySessionOptions) {
    const { clock } = options;
    this.#socket = socket;
    this.#clock = clock;
    this.#options = options;
    this.#lastActivity = clock.monotonic();
    this.#inflate.on("data", (chunk: Buffer) => {
      // A small block may inflate a thousandfold: what is too much is counted, not kept.
      if (this.#inflatedBytes <= MAX_BLOCK_BYTES) this.#inflated.push(chunk);
      this.#inflatedBytes += chunk.length;
    });
    // Reported by the write's callback.
    this.#inflate.on("error", () => undefined);
    // `close` follows each error, and is where it is dealt with.
    socket.on("error", () => undefined);
    socket.on("close", () => this.#end());
  }

  /** Fires when the client is gone. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** Reads until the client ends. Throws when what it sends is not SPDY. */
  async run(head: Buffer): Promise<void> {
    this.#watchIdle();
    try {
      await this.#onChunk(head);
      for await (const chunk of this.#socket) await this.#onChunk(chunk as Buffer);
    } catch (error) {
      const isOurs = error instanceof LongshoreError;
      if (isOurs && !this.#gone.signal.aborted) throw error;
    } finally {
      this.#socket.destroy();
      this.#end();
    }
  }

  /** Says goodbye and closes; resolves when the connection is down. */
  async close(): Promise<void> {
    if (this.#gone.signal.aborted) return;
    for (const { input } of this.#streams.values()) input.resume();
    this.#socket.write(encodeGoAway(this.#lastStreamId));
    // Not destroy: input that was not read would make the kernel throw our last bytes away.
    this.#socket.end();
    const patience = this.#clock.after(CLOSE_PATIENCE_MS, () => this.#socket.destroy());
    // Unlike events.once, which an error on the way would make fail: the connection is down all the same.
    if (!this.#socket.closed) await new Promise((resolve) => this.#socket.once("close", resolve));
    patience.cancel();
  }

  #end(): void {
    this.#idle?.cancel();
    this.#gone.abort(new LongshoreError("Aborted", "the client closed the connection"));
    for (const { input, output } of this.#streams.values()) {
      input.end();
      output.destroy();
    }
    this.#streams.clear();
    this.#inflate.close();
  }

  async #onChunk(chunk: Buffer): Promise<void> {
    for (const frame of this.#parser.push(chunk)) {
      this.#lastActivity = this.#clock.monotonic();
      await this.#onFrame(frame);
      // Answers to a flood of pings or refused streams that the client does not read; data waits by itself.
      if (this.#socket.writableLength > MAX_UNREAD_BYTES)
        await drained(this.#socket, this.#gone.signal);
    }
  }

  async #onFrame(frame: Frame): Promise<void> {
    switch (frame.kind) {
      case "data":
        return this.#onData(frame);
      case "syn-stream":
        return this.#onSynStream(frame);
      case "headers":
        await this.#readBlock(frame.block);
        return;
      case "rst-stream":
        return this.#onReset(frame.streamId);
      case "ping":
        // An even one is the answer to ours.
        if (frame.id % 2 === 1) this.#send(encodePing(frame.id));
        return;
      case "goaway":
      case "ignored":
        return;
      default:
        assertNever(frame);
    }
  }

  async #onData(frame: Extract<Frame, { kind: "data" }>): Promise<void> {
    const stream = this.#streams.get(frame.streamId);
    if (stream === undefined || stream.input.writableEnded) return;
    const { input } = stream;
    const hasRoom = frame.data.length === 0 || input.destroyed || input.write(frame.data);
    if (frame.fin) {
      input.end();
      this.#forgetEnded(stream);
    } else if (!hasRoom) await this.#drained(input);
  }

  async #drained(input: Writable): Promise<void> {
    const ping = (): Timer =>
      this.#clock.after(STALLED_PING_MS, () => {
        this.#pingId += 2;
        this.#send(encodePing(this.#pingId));
        timer = ping();
      });
    let timer = ping();
    await drained(input, this.#gone.signal);
    timer.cancel();
  }

  #forgetEnded({ id, input, output }: SpdyStream): void {
    if (input.writableEnded && (output.writableFinished || output.destroyed))
      this.#streams.delete(id);
  }

  async #onSynStream(frame: Extract<Frame, { kind: "syn-stream" }>): Promise<void> {
    const { streamId } = frame;
    const headers = parseHeaderBlock(await this.#readBlock(frame.block));
    if (streamId % 2 === 0 || streamId <= this.#lastStreamId) {
      this.#reset(streamId, RST.protocolError);
      return;
    }
    this.#lastStreamId = streamId;
    const stream = {
      id: streamId,
      headers,
      input: new PassThrough(),
      output: this.#output(streamId),
      reset: () => this.#reset(streamId, RST.cancel),
    };
    if (this.#streams.size >= this.#options.maxStreams || !this.#options.onStream(stream)) {
      this.#reset(streamId, RST.refused);
      return;
    }
    this.#streams.set(streamId, stream);
    stream.output.on("close", () => this.#forgetEnded(stream));
    if (frame.fin) stream.input.end();
    this.#send(encodeReply(streamId, !this.#hasReplied));
    this.#hasReplied = true;
  }

  #reset(streamId: number, status: number): void {
    this.#send(encodeReset(streamId, status));
    this.#onReset(streamId);
  }

  /** After our goodbye the client may still ask; there is no answer then. */
  #send(frame: Buffer): void {
    if (!this.#socket.destroyed && !this.#socket.writableEnded) this.#socket.write(frame);
  }

  #onReset(streamId: number): void {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    this.#streams.delete(streamId);
    stream.input.end();
    stream.output.destroy();
  }

  #output(streamId: number): Writable {
    // A connection that is lost is told by `gone`, not by what was being written.
    const send = (data: Buffer, fin: boolean, done: () => void): void => {
      if (this.#socket.destroyed || this.#socket.writableEnded) done();
      else this.#socket.write(encodeData(streamId, data, fin), () => done());
    };
    const output = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        this.#lastActivity = this.#clock.monotonic();
        let at = 0;
        for (; chunk.length - at > MAX_DATA_BYTES; at += MAX_DATA_BYTES)
          send(chunk.subarray(at, at + MAX_DATA_BYTES), false, () => undefined);
        send(chunk.subarray(at), false, done);
      },
      final: (done) => send(Buffer.alloc(0), true, done),
    });
    output.on("error", () => undefined);
    return output;
  }

  #watchIdle(): void {
    const idleMs = this.#clock.monotonic() - this.#lastActivity;
    if (idleMs >= IDLE_LIMIT_MS) {
      this.#socket.destroy();
      return;
    }
    this.#idle = this.#clock.after(IDLE_LIMIT_MS - idleMs, () => this.#watchIdle());
  }

  /** All output for the block has been emitted when the write's callback runs. */
  async #readBlock(block: Buffer): Promise<Buffer> {
    this.#inflated = [];
    this.#inflatedBytes = 0;
    await new Promise<void>((resolve, reject) => {
      this.#inflate.write(block, (cause) => {
        const message = "reading a SPDY connection: a header block does not inflate";
        if (cause) reject(new LongshoreError("Unsupported", message, { cause }));
        else resolve();
      });
    });
    if (this.#inflatedBytes <= MAX_BLOCK_BYTES) return Buffer.concat(this.#inflated);
    throw new LongshoreError("Unsupported", "reading a SPDY connection: too large a header block");
  }
}

function drained(stream: Writable, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.removeListener("drain", done);
      stream.removeListener("close", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    stream.on("drain", done);
    stream.on("close", done);
    signal.addEventListener("abort", done);
  });
}
