/**
 * Remote commands over a WebSocket, all five sub-protocols and none. Passes back-pressure on, ends with the status on
 * channel 3 and close code 1000. Called by exec.ts.
 */

import { PassThrough, Writable } from "node:stream";
import type { WebSocket } from "ws";
import type { Clock } from "../../core/clock.ts";
import { assertNever } from "../../core/errors.ts";
import {
  CHANNEL,
  decodeMessage,
  encodeMessage,
  parseResize,
  type TerminalSize,
} from "./channels.ts";
import { KeptSocket } from "./kept-socket.ts";
import type { WebSocketProtocol } from "./negotiate.ts";
import {
  type RemoteCommandConnection,
  type RemoteCommandOptions,
  swallow,
} from "./remote-command.ts";
import { type CommandOutcome, formatOutcome } from "./status.ts";

const CLOSE_BAD_DATA = 1007;

export class WebSocketCommand implements RemoteCommandConnection {
  readonly stdin = new PassThrough();
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly gone: AbortSignal;
  readonly #socket: KeptSocket;
  readonly #protocol: WebSocketProtocol;
  readonly #options: RemoteCommandOptions;
  #onResize: ((size: TerminalSize) => void) | undefined;
  /** The last one that came before anybody listened: clients send theirs before the command has started. */
  #earlySize: TerminalSize | undefined;

  constructor(
    socket: WebSocket,
    protocol: WebSocketProtocol,
    options: RemoteCommandOptions,
    clock: Clock,
  ) {
    this.#protocol = protocol;
    this.#options = options;
    this.#socket = new KeptSocket(socket, clock, (message) => this.#onMessage(message));
    this.gone = this.#socket.gone;
    this.stdout = options.stdout ? this.#output(CHANNEL.stdout) : swallow();
    this.stderr = options.stderr ? this.#output(CHANNEL.stderr) : swallow();
    if (!options.stdin) this.stdin.end();
    this.stdin.on("drain", () => this.#socket.resume());
    this.stdin.on("close", () => this.#socket.resume());
    this.gone.addEventListener("abort", () => this.stdin.end());
    // Some clients wait for a first message on the lowest channel that can be read.
    const lowest = options.stdout
      ? CHANNEL.stdout
      : options.stderr
        ? CHANNEL.stderr
        : CHANNEL.error;
    this.#socket.send(encodeMessage(protocol, lowest, Buffer.alloc(0)));
  }

  onResize(listener: (size: TerminalSize) => void): void {
    this.#onResize = listener;
    if (this.#earlySize !== undefined) listener(this.#earlySize);
    this.#earlySize = undefined;
  }

  async finish(outcome: CommandOutcome): Promise<void> {
    const text = formatOutcome(outcome, this.#protocol.statusForm);
    if (this.gone.aborted) return;
    if (text !== undefined)
      this.#socket.send(encodeMessage(this.#protocol, CHANNEL.error, Buffer.from(text)));
    await this.#socket.close();
  }

  #onMessage(message: Buffer): void {
    const decoded = decodeMessage(this.#protocol, message);
    switch (decoded.kind) {
      case "data":
        this.#onData(decoded.channel, decoded.data);
        return;
      case "close":
        if (decoded.channel === CHANNEL.stdin) this.stdin.end();
        return;
      case "ignored":
        return;
      case "malformed":
        void this.#socket.close(CLOSE_BAD_DATA, decoded.reason);
        return;
      default:
        assertNever(decoded);
    }
  }

  #onData(channel: number, data: Buffer): void {
    if (channel === CHANNEL.resize) {
      const size = this.#options.tty ? parseResize(data.toString("utf8")) : undefined;
      if (size === undefined) return;
      if (this.#onResize === undefined) this.#earlySize = size;
      else this.#onResize(size);
      return;
    }
    const takesInput = this.#options.stdin && !this.stdin.writableEnded && !this.stdin.destroyed;
    if (channel === CHANNEL.stdin && takesInput && !this.stdin.write(data)) this.#socket.pause();
  }

  #output(channel: 1 | 2): Writable {
    return new Writable({
      write: (chunk: Buffer, _encoding, done) =>
        this.#socket.send(encodeMessage(this.#protocol, channel, chunk), done),
    });
  }
}
