/**
 * Single requests to the API server: headers, the deadline of an answer, retries that the server asks for, errors in `Api*`
 * codes, and the word to whoever counts them. Used by http-client.ts.
 */

import type { IncomingMessage } from "node:http";
import { text as readText } from "node:stream/consumers";
import { sleep, withDeadline } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { LongshoreError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { CALL_DEADLINE_MS } from "./client.ts";
import type { ClusterCredentials } from "./credentials.ts";
import { parseStatus, retryAfterMs, statusError } from "./http-errors.ts";
import { type Exchange, HttpTransport } from "./http-transport.ts";

export interface ApiClientOptions {
  readonly credentials: ClusterCredentials;
  readonly clock: Clock;
  /** Gives [0, 1); spreads the ends of watches. */
  readonly random: () => number;
  readonly log: Logger;
  /** e.g. "longshore/0.1.0". */
  readonly userAgent: string;
  /** Told of each request that was answered, or not (code `<error>`). */
  readonly onExchange?: (exchange: ApiExchange) => void;
}

/** One request as client-go counts it. */
export interface ApiExchange {
  readonly method: string;
  readonly host: string;
  readonly code: string;
  /** To the head of the answer. */
  readonly seconds: number;
}

const MAX_RETRIES = 2;
/** How long the server may take to accept a stream. */
const ACCEPT_MS = 30_000;

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
  readonly contentType?: string;
}

export class HttpCalls {
  readonly #options: ApiClientOptions;
  readonly #transport: HttpTransport;

  constructor(options: ApiClientOptions) {
    this.#options = options;
    this.#transport = new HttpTransport(options.credentials);
  }

  close(): void {
    this.#transport.close();
  }

  /** What an error of a stream means. */
  failure(error: unknown, doing: string, signal: AbortSignal): unknown {
    return this.#transport.failure(error, doing, signal);
  }

  /** The body of the answer. */
  call<R>(call: Call, signal: AbortSignal): Promise<R> {
    const doing = `${call.method} ${call.path}`;
    return withDeadline(
      {
        clock: this.#options.clock,
        ms: CALL_DEADLINE_MS,
        signal,
        code: "ApiTimeout",
        message: `${doing}: no answer within ${CALL_DEADLINE_MS / 1000} s`,
      },
      (inner) => this.#callWithRetries(call, doing, inner),
    );
  }

  async #callWithRetries<R>(call: Call, doing: string, signal: AbortSignal): Promise<R> {
    for (let attempt = 0; ; attempt++) {
      const { status, retryAfter, text } = await this.#exchange(call, doing, signal);
      if (status < 300) return parseBody<R>(text, doing);
      if (status === 401) this.#options.credentials.expire();
      const waitMs = attempt < MAX_RETRIES ? retryAfterMs(status, retryAfter) : undefined;
      if (waitMs === undefined) throw statusError(status, parseStatus(text), doing);
      this.#options.log.debug({ call: doing, status, waitMs }, "the API server asks to wait");
      await sleep(this.#options.clock, waitMs, signal);
    }
  }

  async #exchange(
    call: Call,
    doing: string,
    signal: AbortSignal,
  ): Promise<{ status: number; retryAfter: string | undefined; text: string }> {
    const response = await this.#send(
      {
        method: call.method,
        path: call.path,
        headers: this.#headers(call.body && (call.contentType ?? "application/json")),
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
        ownSocket: false,
      },
      signal,
    );
    try {
      const text = await readText(response);
      const retryAfter = response.headers["retry-after"];
      return { status: response.statusCode ?? 0, retryAfter, text };
    } catch (error) {
      throw this.#transport.failure(error, doing, signal);
    }
  }

  async #send(exchange: Exchange, signal: AbortSignal): Promise<IncomingMessage> {
    const { clock, onExchange, credentials } = this.#options;
    const startedAt = clock.monotonic();
    const tell = (code: string): void => {
      const seconds = (clock.monotonic() - startedAt) / 1000;
      onExchange?.({ method: exchange.method, host: credentials.server.host, code, seconds });
    };
    try {
      const response = await this.#transport.send(exchange, signal);
      tell(String(response.statusCode));
      return response;
    } catch (error) {
      if (!signal.aborted) tell("<error>");
      throw error;
    }
  }

  /** A stream on a connection of its own, which lives as long as `signal`. */
  openStream(path: string, doing: string, signal: AbortSignal): Promise<IncomingMessage> {
    const deadline = {
      clock: this.#options.clock,
      ms: ACCEPT_MS,
      signal,
      code: "ApiTimeout",
      message: `${doing}: not accepted within ${ACCEPT_MS / 1000} s`,
    } as const;
    return withDeadline(deadline, async () => {
      const exchange = { method: "GET", path, headers: this.#headers(), ownSocket: true };
      // With the signal of the whole stream: it must outlive this deadline.
      const response = await this.#send(exchange, signal);
      if (response.statusCode === 200) return response;
      if (response.statusCode === 401) this.#options.credentials.expire();
      throw statusError(response.statusCode ?? 0, parseStatus(await readText(response)), doing);
    });
  }

  #headers(contentType?: string): Record<string, string> {
    return {
      accept: "application/json",
      "user-agent": this.#options.userAgent,
      ...(contentType === undefined ? {} : { "content-type": contentType }),
    };
  }
}

function parseBody<R>(text: string, doing: string): R {
  try {
    return JSON.parse(text) as R;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // Not as cause: the message of a SyntaxError quotes the text, which may be a Secret.
    throw new LongshoreError("ApiServerError", `${doing}: the answer is not JSON`);
  }
}
