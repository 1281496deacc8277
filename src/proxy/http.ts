/**
 * The proxy's small HTTP servers: one function from path to reply, on one address. `listen` throws AddressInUse;
 * `KeptServer` tries again every 5 s, because a port that is taken for a moment must not cost the node its proxy.
 * Used for the health port, the metrics port and health check node ports.
 */

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock, Timer } from "../core/clock.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";

export interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export type Answer = (path: string) => Reply | Promise<Reply>;

export const NOT_FOUND: Reply = { status: 404, type: "text/plain", body: "404 page not found\n" };

export function jsonReply(status: number, body: string, headers = {}): Reply {
  return { status, type: "application/json", body, headers };
}

export interface Listening {
  readonly port: number;
  close(): Promise<void>;
}

export interface ListenAddress {
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
}

export async function listen(at: ListenAddress, answer: Answer): Promise<Listening> {
  const server = createServer(async (request, response) => {
    // Only the path: a full URL or a query asks for the same thing.
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    try {
      const { status, type, body, headers } = await answer(path);
      response.writeHead(status, {
        "Content-Type": type,
        "X-Content-Type-Options": "nosniff",
        "Content-Length": Buffer.byteLength(body),
        ...headers,
      });
      response.end(request.method === "HEAD" ? undefined : body);
    } catch (error) {
      response.writeHead(500, { "Content-Type": "text/plain" }).end(`${messageOf(error)}\n`);
    }
  });
  await bind(server, at);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

function bind(server: Server, { host, port }: ListenAddress): Promise<void> {
  return new Promise((done, fail) => {
    server.once("error", (cause) =>
      fail(
        new LongshoreError(
          "AddressInUse",
          `cannot listen on ${host} port ${port}: ${messageOf(cause)}`,
          { cause },
        ),
      ),
    );
    server.listen({ host, port, ipv6Only: host.includes(":") }, done);
  });
}

const RETRY_MS = 5_000;

export interface KeptServerOptions {
  /** For the log, e.g. "proxy health". */
  readonly name: string;
  readonly at: ListenAddress;
  readonly answer: Answer;
  /** A port that is taken is an error of `start` instead of a warning. */
  readonly hardFail: boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

export class KeptServer {
  readonly #options: KeptServerOptions;
  #listening: Listening | undefined;
  #trying: Promise<void> | undefined;
  #timer: Timer | undefined;
  #isStopped = false;
  #hasWarned = false;

  constructor(options: KeptServerOptions) {
    this.#options = options;
  }

  /** The port it listens on; undefined while it has none. */
  get port(): number | undefined {
    return this.#listening?.port;
  }

  async start(): Promise<void> {
    this.#trying = this.#try();
    await this.#trying;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#trying?.catch(() => undefined);
    await this.#listening?.close();
  }

  async #try(): Promise<void> {
    const { name, at, answer, hardFail, clock, log } = this.#options;
    try {
      this.#listening = await listen(at, answer);
    } catch (err) {
      if (hardFail) throw err;
      if (!this.#hasWarned)
        log.warn({ err, server: name }, "a port of the proxy is taken; trying again");
      this.#hasWarned = true;
      if (this.#isStopped) return;
      this.#timer = clock.after(RETRY_MS, () => {
        this.#trying = this.#try();
      });
      return;
    }
    if (this.#hasWarned) log.info({ server: name, ...at }, "the port of the proxy is ours now");
  }
}
