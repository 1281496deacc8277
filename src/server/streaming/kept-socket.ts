/**
 * What every use of a WebSocket needs: the handshake (ws refuses some of Kubernetes' names), reading that can be held
 * up (with pongs meanwhile, so that kubectl does not give up), the idle limit, an end with a close code.
 */

import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { Clock, Timer } from "../../core/clock.ts";
import { LongshoreError } from "../../core/errors.ts";

const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;
/** kubectl gives up 61 s after the last pong; while paused none are sent unasked. */
const PONG_INTERVAL_MS = 5_000;
/** kubelet's streamingConnectionIdleTimeout. */
const IDLE_LIMIT_MS = 4 * 60 * 60_000;
const CLOSE_PATIENCE_MS = 5_000;
const CLOSE_NORMAL = 1000;

export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** Answers the handshake. ws answers a malformed one itself, and the promise then stays unresolved: so it is a callback. */
export function acceptWebSocket(
  upgrade: UpgradeRequest,
  /** To echo; undefined when the client named none. */
  protocol: string | undefined,
  onOpen: (socket: WebSocket) => void,
): void {
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    clientTracking: false,
    maxPayload: MAX_MESSAGE_BYTES,
  });
  delete upgrade.request.headers["sec-websocket-protocol"];
  if (protocol !== undefined)
    server.on("headers", (headers) => headers.push(`Sec-WebSocket-Protocol: ${protocol}`));
  server.handleUpgrade(upgrade.request, upgrade.socket, upgrade.head, onOpen);
}

export class KeptSocket {
  readonly #socket: WebSocket;
  readonly #clock: Clock;
  readonly #gone = new AbortController();
  readonly #closed = Promise.withResolvers<void>();
  #pongs: Timer | undefined;
  #idle: Timer | undefined;
  #lastActivity: number;

  constructor(socket: WebSocket, clock: Clock, onMessage: (message: Buffer) => void) {
    this.#socket = socket;
    this.#clock = clock;
    this.#lastActivity = clock.monotonic();
    socket.on("message", (data) => {
      this.#touch();
      onMessage(data as Buffer);
    });
    socket.on("ping", () => {
      this.#touch();
      // Output waits for the client by itself: this much are pongs that it asks for and does not read.
      if (socket.bufferedAmount > MAX_UNREAD_BYTES) this.terminate();
    });
    socket.on("pong", () => this.#touch());
    // `close` follows each error, and is where it is dealt with.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#pongs?.cancel();
      this.#idle?.cancel();
      this.#gone.abort(new LongshoreError("Aborted", "the client closed the connection"));
      this.#closed.resolve();
    });
    this.#watchIdle();
  }

  /** Fires when the client is gone or the idle limit is over. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** A string goes as text. `done` follows when the kernel has it, and never on a lost connection: `gone` tells of that. */
  send(message: Buffer | string, done?: () => void): void {
    this.#touch();
    this.#socket.send(message, { binary: typeof message !== "string" }, (error) => {
      // Whoever writes waits for it: output that nobody gets any more is not to run through at full speed.
      if (error === undefined || error === null) done?.();
    });
  }

  /** Holds reading up until `resume`. */
  pause(): void {
    this.#socket.pause();
    this.#schedulePong();
  }

  resume(): void {
    this.#pongs?.cancel();
    this.#pongs = undefined;
    if (this.#socket.isPaused) this.#socket.resume();
  }

  /** Resolves when the connection is down. */
  async close(code = CLOSE_NORMAL, reason = ""): Promise<void> {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    // A paused socket would never see the answer to the close frame.
    this.resume();
    this.#socket.close(code, reason);
    const patience = this.#clock.after(CLOSE_PATIENCE_MS, () => this.terminate());
    await this.#closed.promise;
    patience.cancel();
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #schedulePong(): void {
    this.#pongs?.cancel();
    this.#pongs = this.#clock.after(PONG_INTERVAL_MS, () => {
      if (this.#socket.readyState !== this.#socket.OPEN) return;
      this.#socket.pong();
      this.#schedulePong();
    });
  }

  #touch(): void {
    this.#lastActivity = this.#clock.monotonic();
  }

  #watchIdle(): void {
    const idleMs = this.#clock.monotonic() - this.#lastActivity;
    if (idleMs >= IDLE_LIMIT_MS) {
      this.terminate();
      return;
    }
    this.#idle = this.#clock.after(IDLE_LIMIT_MS - idleMs, () => this.#watchIdle());
  }
}
