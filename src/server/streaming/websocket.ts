/**
 * Remote commands over a WebSocket, all five sub-protocols and none. Answers the handshake itself (ws refuses some of
 * Kubernetes' names), passes back-pressure on (pause, and pongs while paused so that kubectl does not give up), ends
 * with the status on channel 3 and close code 1000. Called by exec.ts.
 */

import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { PassThrough, Writable } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { Clock, Timer } from "../../core/clock.ts";
import { assertNever, LongshoreError } from "../../core/errors.ts";
import {
  CHANNEL,
  decodeMessage,
  encodeMessage,
  parseResize,
  type TerminalSize,
} from "./channels.ts";
import type { WebSocketProtocol } from "./negotiate.ts";
import {
  type RemoteCommandConnection,
  type RemoteCommandOptions,
  swallow,
} from "./remote-command.ts";
import { type CommandOutcome, formatOutcome } from "./status.ts";

const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;
/** kubectl gives up 61 s after the last pong; while paused none are sent unasked. */
const PONG_INTERVAL_MS = 5_000;
/** kubelet's streamingConnectionIdleTimeout. */
const IDLE_LIMIT_MS = 4 * 60 * 60_000;
const CLOSE_PATIENCE_MS = 5_000;
const CLOSE_NORMAL = 1000;
const CLOSE_BAD_DATA = 1007;

export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** Answers the handshake. ws answers a malformed one itself, and the promise then stays unresolved: so it is a callback. */
export function acceptWebSocket(
  upgrade: UpgradeRequest,
  protocol: WebSocketProtocol,
  onOpen: (socket: WebSocket) => void,
): void {
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    clientTracking: false,
    maxPayload: MAX_MESSAGE_BYTES,
  });
  delete upgrade.request.headers["sec-websocket-protocol"];
  if (protocol.name !== undefined)
    server.on("headers", (headers) => headers.push(`Sec-WebSocket-Protocol: ${protocol.name}`));
  server.handleUpgrade(upgrade.request, upgrade.socket, upgrade.head, onOpen);
}

export class WebSocketCommand implements RemoteCommandConnection {
  readonly stdin = new PassThrough();
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly #socket: WebSocket;
  readonly #protocol: WebSocketProtocol;
  readonly #options: RemoteCommandOptions;
  readonly #clock: Clock;
  readonly #gone = new AbortController();
  readonly #closed = Promise.withResolvers<void>();
  #onResize: ((size: TerminalSize) => void) | undefined;
  /** The last one that came before anybody listened: clients send theirs before the command has started. */
  #earlySize: TerminalSize | undefined;
  #pongs: Timer | undefined;
  #idle: Timer | undefined;
  #lastActivity: number;

  constructor(
    socket: WebSocket,
    protocol: WebSocketProtocol,
    options: RemoteCommandOptions,
    clock: Clock,
  ) {
    this.#socket = socket;
    this.#protocol = protocol;
    this.#options = options;
    this.#clock = clock;
    this.#lastActivity = clock.monotonic();
    this.stdout = options.stdout ? this.#output(CHANNEL.stdout) : swallow();
    this.stderr = options.stderr ? this.#output(CHANNEL.stderr) : swallow();
    if (!options.stdin) this.stdin.end();
    this.#listen();
    this.#watchIdle();
    // Some clients wait for a first message on the lowest channel that can be read.
    const lowest = options.stdout
      ? CHANNEL.stdout
      : options.stderr
        ? CHANNEL.stderr
        : CHANNEL.error;
    this.#socket.send(encodeMessage(protocol, lowest, Buffer.alloc(0)));
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  onResize(listener: (size: TerminalSize) => void): void {
    this.#onResize = listener;
    if (this.#earlySize !== undefined) listener(this.#earlySize);
    this.#earlySize = undefined;
  }

  async finish(outcome: CommandOutcome): Promise<void> {
    const text = formatOutcome(outcome, this.#protocol.statusForm);
    if (this.#socket.readyState === this.#socket.OPEN) {
      if (text !== undefined)
        this.#socket.send(encodeMessage(this.#protocol, CHANNEL.error, Buffer.from(text)));
      // A paused socket would never see the answer to the close frame.
      this.#resume();
      this.#socket.close(CLOSE_NORMAL);
      const patience = this.#clock.after(CLOSE_PATIENCE_MS, () => this.#socket.terminate());
      await this.#closed.promise;
      patience.cancel();
    }
  }

  #listen(): void {
    this.stdin.on("drain", () => this.#resume());
    this.stdin.on("close", () => this.#resume());
    this.#socket.on("message", (data) => this.#onMessage(data as Buffer));
    this.#socket.on("ping", () => this.#touch());
    this.#socket.on("pong", () => this.#touch());
    // `close` follows each error, and is where it is dealt with.
    this.#socket.on("error", () => undefined);
    this.#socket.on("close", () => {
      this.#pongs?.cancel();
      this.#idle?.cancel();
      this.#gone.abort(new LongshoreError("Aborted", "the client closed the connection"));
      this.stdin.end();
      this.#closed.resolve();
    });
  }

  #onMessage(message: Buffer): void {
    this.#touch();
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
        this.#socket.close(CLOSE_BAD_DATA, decoded.reason);
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
    if (channel !== CHANNEL.stdin || !takesInput) return;
    if (this.stdin.write(data)) return;
    this.#socket.pause();
    this.#schedulePong();
  }

  #resume(): void {
    this.#pongs?.cancel();
    this.#pongs = undefined;
    if (this.#socket.isPaused) this.#socket.resume();
  }

  #schedulePong(): void {
    this.#pongs?.cancel();
    this.#pongs = this.#clock.after(PONG_INTERVAL_MS, () => {
      if (this.#socket.readyState !== this.#socket.OPEN) return;
      this.#socket.pong();
      this.#schedulePong();
    });
  }

  #output(channel: 1 | 2): Writable {
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        this.#touch();
        const message = encodeMessage(this.#protocol, channel, chunk);
        this.#socket.send(message, { binary: typeof message !== "string" }, (error) =>
          done(error ?? null),
        );
      },
    });
  }

  #touch(): void {
    this.#lastActivity = this.#clock.monotonic();
  }

  #watchIdle(): void {
    const idleMs = this.#clock.monotonic() - this.#lastActivity;
    if (idleMs >= IDLE_LIMIT_MS) {
      this.#socket.terminate();
      return;
    }
    this.#idle = this.#clock.after(IDLE_LIMIT_MS - idleMs, () => this.#watchIdle());
  }
}
