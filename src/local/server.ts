/**
 * What people on the node may ask the running agent: JSON answers on the Unix socket `<root-dir>/longshore.sock`, which
 * only root may open. A table of routes, filled by agent.ts; knows nothing of what they answer. Replaces the socket
 * that a killed agent left, refuses to start beside a living one.
 */

import { chmod, unlink } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";

export interface LocalAnswer {
  readonly status: number;
  /** Made into JSON. An error has a `message`. */
  readonly body: unknown;
}

/** By path. */
export type LocalRoutes = Readonly<
  Record<string, (query: URLSearchParams) => Promise<LocalAnswer>>
>;

export interface LocalServerOptions {
  readonly rootDir: string;
  readonly routes: LocalRoutes;
  readonly log: Logger;
}

export function socketPathOf(rootDir: string): string {
  return join(rootDir, "longshore.sock");
}

export class LocalServer {
  readonly #options: LocalServerOptions;
  readonly #path: string;
  readonly #server: Server;

  constructor(options: LocalServerOptions) {
    this.#options = options;
    this.#path = socketPathOf(options.rootDir);
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  /** Throws AddressInUse when another agent answers there. Any other trouble costs only this socket: a warning. */
  async start(): Promise<void> {
    try {
      if (await isAnswered(this.#path))
        throw new LongshoreError(
          "AddressInUse",
          `another agent runs with --root-dir ${this.#options.rootDir}: stop it first, or give this one a directory of its own`,
        );
      await this.#listen();
      await chmod(this.#path, 0o600);
    } catch (error) {
      if (error instanceof LongshoreError) throw error;
      this.#options.log.warn(
        { err: error, socket: this.#path },
        "the local socket cannot be served: longshore explain and status do not work",
      );
    }
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  async #listen(): Promise<void> {
    try {
      await unlink(this.#path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    // Until the chmod it has the mode 0755: connecting takes the right to write, which only the owner has.
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ path: this.#path }, () => resolve());
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, body } = await this.#route(request);
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(`${JSON.stringify(body)}\n`);
  }

  /** Never rejects. */
  async #route({ method, url = "/" }: IncomingMessage): Promise<LocalAnswer> {
    if (method !== "GET") return { status: 405, body: { message: `${method} is not answered` } };
    const [path = "", query = ""] = url.split("?");
    const route = Object.hasOwn(this.#options.routes, path)
      ? this.#options.routes[path]
      : undefined;
    if (route === undefined)
      return { status: 404, body: { message: `this agent does not know ${path}` } };
    try {
      return await route(new URLSearchParams(query));
    } catch (error) {
      this.#options.log.error({ err: error, path }, "a local request failed");
      return { status: 500, body: { message: messageOf(error) } };
    }
  }
}

/** Whether a living process listens there; what a killed one left refuses. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
