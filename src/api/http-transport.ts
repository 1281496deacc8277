/**
 * One HTTP exchange over node:http(s): sockets, TLS material, connect errors. Calls share a keep-alive agent; streams get
 * a socket of their own, so that watches never starve calls. Knows nothing of Kubernetes. Used by http-client.ts.
 */

import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { ClusterCredentials, TlsMaterial } from "./credentials.ts";

export interface Exchange {
  readonly method: string;
  /** Path and query below the server's own prefix. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** A socket of its own that is closed with the response, in place of the shared ones. */
  readonly ownSocket: boolean;
}

/** Idle connections are closed after this long; API servers keep theirs for longer. */
const IDLE_MS = 90_000;
/** A silent peer is probed after this long. */
const TCP_KEEP_ALIVE_MS = 15_000;

export class HttpTransport {
  readonly #credentials: ClusterCredentials;
  readonly #prefix: string;
  #shared: { readonly tls: TlsMaterial; readonly agent: HttpAgent } | undefined;

  constructor(credentials: ClusterCredentials) {
    this.#credentials = credentials;
    this.#prefix = credentials.server.pathname.replace(/\/$/, "");
  }

  /** Resolves with the response's head; its body is still to be read. Throws ApiUnreachable or Aborted. */
  async send(exchange: Exchange, signal: AbortSignal): Promise<IncomingMessage> {
    const { tls, authorization } = await this.#credentials.current(signal);
    const headers: Record<string, string> = {
      ...exchange.headers,
      ...(authorization === undefined ? {} : { authorization }),
      ...(exchange.body === undefined
        ? {}
        : { "content-length": String(Buffer.byteLength(exchange.body)) }),
    };
    const agent: HttpAgent | false = exchange.ownSocket ? false : this.#agent(tls);
    for (;;) {
      const options = { method: exchange.method, headers, agent, signal };
      const request = this.#open(`${this.#prefix}${exchange.path}`, options, tls);
      try {
        return await response(request, exchange.body);
      } catch (error) {
        // The server closed an idle connection just as we took it up: nothing was processed.
        const isStale = request.reusedSocket && (error as { code?: string }).code === "ECONNRESET";
        if (!isStale) throw this.failure(error, `${exchange.method} ${exchange.path}`, signal);
      }
    }
  }

  /** What went wrong on the wire, in our words. */
  failure(error: unknown, doing: string, signal: AbortSignal): LongshoreError {
    if (error instanceof LongshoreError) return error;
    if (signal.aborted) {
      return signal.reason instanceof LongshoreError
        ? signal.reason
        : new LongshoreError("Aborted", `${doing}: stopped`);
    }
    return new LongshoreError(
      "ApiUnreachable",
      `${doing}: the API server at ${this.#credentials.server.origin} cannot be reached: ${words(error)}`,
      { cause: error },
    );
  }

  close(): void {
    this.#shared?.agent.destroy();
    this.#shared = undefined;
    this.#credentials.close();
  }

  #open(
    path: string,
    options: {
      method: string;
      headers: Record<string, string>;
      agent: HttpAgent | false;
      signal: AbortSignal;
    },
    tls: TlsMaterial,
  ): ClientRequest {
    const { server } = this.#credentials;
    const url = new URL(`${server.origin}${path}`);
    return server.protocol === "http:"
      ? httpRequest(url, options)
      : httpsRequest(url, { ...options, ...tls });
  }

  /** The shared agent. When certificates rotate, calls go to a new one and the old one's sockets idle out. */
  #agent(tls: TlsMaterial): HttpAgent {
    if (this.#shared?.tls === tls) return this.#shared.agent;
    const options = { keepAlive: true, keepAliveMsecs: TCP_KEEP_ALIVE_MS, timeout: IDLE_MS };
    const agent =
      this.#credentials.server.protocol === "http:"
        ? new HttpAgent(options)
        : new HttpsAgent(options);
    this.#shared = { tls, agent };
    return agent;
  }
}

function response(request: ClientRequest, body: string | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on("socket", (socket) => {
      socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
      socket.setNoDelay(true);
    });
    request.on("response", resolve);
    // Stays for the life of the request: errors after the head reach the reader of the body as well.
    request.on("error", reject);
    request.end(body);
  });
}

/** Adds the remedy to the TLS failures that people meet. */
function words(error: unknown): string {
  const { code = "" } = error as { code?: string };
  const isCertificate = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS/.test(code);
  const hint = isCertificate ? "; check certificate-authority and server in the kubeconfig" : "";
  // A refused connection to a name with several addresses is an AggregateError without a message.
  return `${messageOf(error) || code}${hint}`;
}
