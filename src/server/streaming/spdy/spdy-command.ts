/**
 * Remote commands over SPDY: the upgrade, the streams the request promises (each by its `streamtype` header, in any
 * order, within 30 s), and the end in the order kubectl waits for. Called by exec.ts.
 */

import { PassThrough, type Readable, type Writable } from "node:stream";
import type { Clock } from "../../../core/clock.ts";
import { LongshoreError } from "../../../core/errors.ts";
import { parseResize, type TerminalSize } from "../channels.ts";
import type { UpgradeRequest } from "../kept-socket.ts";
import {
  type RemoteCommandConnection,
  type RemoteCommandOptions,
  swallow,
} from "../remote-command.ts";
import { type CommandOutcome, formatOutcome } from "../status.ts";
import { SpdySession, type SpdyStream } from "./session.ts";

const STREAMS_DEADLINE_MS = 30_000;
/** More than any protocol has. */
const MAX_STREAMS = 8;

/** The stream types a client must open. Pure. */
export function expectedStreams(
  options: RemoteCommandOptions,
  protocol: string,
): readonly string[] {
  const hasResize = protocol === "v4.channel.k8s.io" || protocol === "v3.channel.k8s.io";
  return [
    "error",
    ...(options.stdin ? ["stdin"] : []),
    ...(options.stdout ? ["stdout"] : []),
    ...(options.stderr ? ["stderr"] : []),
    ...(options.tty && hasResize ? ["resize"] : []),
  ];
}

/** The answer that opens a SPDY connection. */
export function formatSpdyUpgrade(protocol: string): string {
  return (
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n" +
    `X-Stream-Protocol-Version: ${protocol}\r\n\r\n`
  );
}

export class SpdyCommand implements RemoteCommandConnection {
  readonly #session: SpdySession;
  readonly #protocol: string;
  readonly #expected: readonly string[];
  readonly #streams = new Map<string, SpdyStream>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #clock: Clock;

  constructor(
    upgrade: UpgradeRequest,
    protocol: string,
    options: RemoteCommandOptions,
    clock: Clock,
  ) {
    this.#protocol = protocol;
    this.#clock = clock;
    this.#expected = expectedStreams(options, protocol);
    this.#session = new SpdySession(upgrade.socket, {
      clock,
      maxStreams: MAX_STREAMS,
      onStream: (stream) => this.#onStream(stream),
    });
    this.#session.gone.addEventListener("abort", () => {
      this.#ready.reject(this.#session.gone.reason);
    });
    this.#ready.promise.catch(() => undefined);
  }

  get gone(): AbortSignal {
    return this.#session.gone;
  }

  get stdin(): Readable {
    return this.#streams.get("stdin")?.input ?? new PassThrough().end();
  }

  get stdout(): Writable {
    return this.#streams.get("stdout")?.output ?? swallow();
  }

  get stderr(): Writable {
    return this.#streams.get("stderr")?.output ?? swallow();
  }

  /** Answers the handshake and reads until the client is gone. Throws when what it sends is not SPDY. */
  async run(upgrade: UpgradeRequest): Promise<void> {
    upgrade.socket.write(formatSpdyUpgrade(this.#protocol));
    await this.#session.run(upgrade.head);
  }

  /** Resolves when the client has opened its streams; closes and throws when it does not within 30 s. */
  async waitForStreams(): Promise<void> {
    const deadline = this.#clock.after(STREAMS_DEADLINE_MS, () => {
      this.#ready.reject(
        new LongshoreError("Unsupported", "the client did not open its streams within 30 s"),
      );
    });
    try {
      await this.#ready.promise;
    } catch (error) {
      await this.#session.close();
      throw error;
    } finally {
      deadline.cancel();
    }
  }

  onResize(listener: (size: TerminalSize) => void): void {
    let rest = "";
    this.#streams.get("resize")?.input.on("data", (chunk: Buffer) => {
      const texts = `${rest}${chunk.toString("utf8")}`.split(/(?<=\})/);
      rest = texts.at(-1)?.endsWith("}") ? "" : (texts.pop() ?? "").slice(-1024);
      for (const text of texts) {
        const size = parseResize(text);
        if (size !== undefined) listener(size);
      }
    });
  }

  async finish(outcome: CommandOutcome): Promise<void> {
    const form = this.#protocol === "v4.channel.k8s.io" ? "json" : "text";
    const text = formatOutcome(outcome, form) ?? "";
    // kubectl returns when it saw the end of stdout, stderr and the error stream.
    for (const type of ["stdout", "stderr"]) await finished(this.#streams.get(type)?.output, "");
    await finished(this.#streams.get("error")?.output, text);
    await this.#session.close();
  }

  #onStream(stream: SpdyStream): boolean {
    const type = stream.headers.get("streamtype") ?? "";
    if (!this.#expected.includes(type) || this.#streams.has(type)) return false;
    this.#streams.set(type, stream);
    // What a client sends where nobody reads must not hold the connection up.
    if (type !== "stdin" && type !== "resize") stream.input.resume();
    if (this.#streams.size === this.#expected.length) this.#ready.resolve();
    return true;
  }
}

function finished(output: Writable | undefined, text: string): Promise<void> {
  return new Promise((resolve) => {
    if (output === undefined || output.destroyed || output.writableEnded) return resolve();
    output.once("close", resolve);
    if (text !== "") output.write(Buffer.from(text));
    output.end();
  });
}
