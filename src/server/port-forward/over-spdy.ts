/**
 * Port-forward over SPDY, plain or in a WebSocket tunnel: for each connection of the client one stream for errors and
 * one for data, which belong together by their header `requestid`. The connection stays until the client closes it.
 */

import type { Duplex } from "node:stream";
import type { Clock, Timer } from "../../core/clock.ts";
import { SpdySession, type SpdyStream } from "../streaming/spdy/session.ts";
import { type ForwardContext, forward, parsePort } from "./forward.ts";

/** Of a client that opens one of the two streams and not the other. */
const PAIR_DEADLINE_MS = 30_000;
/** Two for each connection. */
const MAX_STREAMS = 4096;

interface Pair {
  readonly error?: SpdyStream;
  readonly data?: SpdyStream;
}

export class SpdyPortForward {
  readonly #session: SpdySession;
  readonly #context: ForwardContext;
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Pair & { readonly deadline: Timer }>();

  constructor(socket: Duplex, context: ForwardContext, clock: Clock) {
    this.#context = context;
    this.#clock = clock;
    const onStream = (stream: SpdyStream): boolean => this.#onStream(stream);
    this.#session = new SpdySession(socket, { clock, maxStreams: MAX_STREAMS, onStream });
  }

  /** Until the client is gone. Throws when what it sends is not SPDY. */
  async run(head: Buffer): Promise<void> {
    try {
      await this.#session.run(head);
    } finally {
      for (const { deadline } of this.#waiting.values()) deadline.cancel();
    }
  }

  #onStream(stream: SpdyStream): boolean {
    const type = stream.headers.get("streamtype");
    const port = parsePort(stream.headers.get("port"));
    if (port === undefined || (type !== "error" && type !== "data")) return false;
    const unnamed = type === "error" ? stream.id : stream.id - 2;
    const requestId = stream.headers.get("requestid") ?? `#${unnamed}`;
    const other = this.#waiting.get(requestId);
    if (other?.[type] !== undefined) return false;
    const { error, data }: Pair = { ...other, [type]: stream };
    other?.deadline.cancel();
    this.#waiting.delete(requestId);
    if (error === undefined || data === undefined) this.#wait(requestId, stream, type);
    // After the replies to both streams.
    else queueMicrotask(() => void this.#forward(port, error, data));
    return true;
  }

  #wait(requestId: string, stream: SpdyStream, type: "error" | "data"): void {
    const deadline = this.#clock.after(PAIR_DEADLINE_MS, () => {
      this.#waiting.delete(requestId);
      stream.reset();
    });
    this.#waiting.set(requestId, { [type]: stream, deadline });
  }

  async #forward(port: number, error: SpdyStream, data: SpdyStream): Promise<void> {
    error.input.resume();
    const client = { port, input: data.input, output: data.output, error: error.output };
    if (!(await forward(this.#context, client, this.#session.gone))) data.reset();
  }
}
