/**
 * The HTTPS side: client certificates in, authorization, dispatch to REST, watches, discovery and connect handlers,
 * and every failure as a metav1.Status. Never exits on what a client sends. Started by controlplane.ts.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Clock } from "../core/clock.ts";
import { LongshoreError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { discoveryReply } from "./discovery.ts";
import type { ConnectHandler, ConnectRequest, Extensions, User } from "./extension.ts";
import { type Answer, json, readBody, send, sendRaw, statusErrorOf } from "./http-io.ts";
import { openapiReply } from "./openapi.ts";
import type { KeyPair } from "./pki.ts";
import { type Presentation, presentationOf, presentList, presentObject } from "./present.ts";
import { parseResourcePath } from "./request-path.ts";
import { Rest, type RestCall } from "./rest.ts";
import {
  badRequest,
  forbidden,
  methodNotAllowed,
  pathNotFound,
  StatusError,
} from "./status-error.ts";
import type { Store } from "./store.ts";
import { serveWatch } from "./watch.ts";

export interface ServerOptions {
  readonly address: string;
  readonly port: number;
  readonly ca: string;
  readonly serving: KeyPair;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly extensions: Extensions;
}

const HEALTH = ["/healthz", "/livez", "/readyz"];

export class ApiServer {
  readonly #options: ServerOptions;
  readonly #rest: Rest;
  readonly #server: Server;
  /** Upgraded connections, which the server itself no longer counts. */
  readonly #upgraded = new Set<Duplex>();

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#rest = new Rest({ ...options, admission: options.extensions.admission ?? [] });
    this.#server = createServer(
      {
        ...options.serving,
        ca: options.ca,
        requestCert: true,
        rejectUnauthorized: false,
        maxHeaderSize: 1024 * 1024,
        keepAliveTimeout: 120_000,
        requestTimeout: 0,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.on(
      "upgrade",
      (request, socket, head) => void this.#upgrade(request, socket, head),
    );
    this.#server.on("tlsClientError", (error) => {
      options.log.debug({ err: error }, "a client did not finish its TLS handshake");
    });
  }

  /** The port it listens on. */
  start(): Promise<number> {
    const { address, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once("error", (cause) =>
        reject(
          new LongshoreError(
            "AddressInUse",
            `the API server cannot listen on ${address}:${port} (${cause.message}); stop what does, or choose another --port`,
            { cause },
          ),
        ),
      );
      this.#server.listen(port, address, () => {
        const bound = this.#server.address();
        resolve(bound !== null && typeof bound === "object" ? bound.port : port);
      });
    });
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
      for (const socket of this.#upgraded) socket.destroy();
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#dispatch(request, response);
    } catch (error) {
      const failure = statusErrorOf(error);
      if (!(error instanceof StatusError))
        this.#options.log.error({ err: error, path: request.url }, "a request failed");
      if (response.headersSent) response.destroy();
      else send(response, failure.body.code, json(failure.body));
    }
  }

  async #dispatch(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const user = userOf(request);
    const url = new URL(request.url ?? "/", "https://localhost");
    const accept = request.headers.accept ?? "";
    const path = parseResourcePath(url.pathname);
    if (path === undefined) return send(response, 200, documentAt(url.pathname, accept));
    const call: RestCall = { user, path, query: url.searchParams };
    const verb = verbOf(request.method ?? "", call);
    this.#authorize(call, verb, url.pathname);
    const handler = this.#connectHandler(call);
    if (handler !== undefined) return handler.serve(this.#connect(call, request), response);
    const presentation = presentationOf(accept, call.query, this.#options.clock.now());
    if (verb === "watch") return serveWatch(this.#options, { call, presentation }, response);
    const hasBody = !["get", "list"].includes(verb);
    const body = hasBody ? await readBody(request) : undefined;
    const mediaType = (request.headers["content-type"] ?? "").split(";")[0] ?? "";
    const answer = this.#run({ verb, call, mediaType, body, presentation });
    send(response, verb === "create" ? 201 : 200, answer);
  }

  #run(todo: Todo): Answer {
    const { verb, call, mediaType, body, presentation } = todo;
    const { subresource, type, name } = call.path;
    if (subresource === "binding" && verb === "create") return json(this.#rest.bind(call, body));
    if (subresource === "eviction" && verb === "create") return json(this.#rest.evict(call, body));
    if (subresource !== undefined && subresource !== "status") throw pathNotFound();
    switch (verb) {
      case "get":
        return presentObject(type, this.#rest.get(call), presentation);
      case "list":
        return presentList(type, this.#rest.list(call), presentation);
      case "create":
        if (subresource !== undefined || name !== undefined) throw methodNotAllowed();
        return presentObject(type, this.#rest.create(call, body), presentation);
      case "update":
        return presentObject(type, this.#rest.update(call, body), presentation);
      case "patch":
        return presentObject(type, this.#rest.patch(call, mediaType, body), presentation);
      case "delete":
        return presentObject(type, this.#rest.delete(call, body), presentation);
      case "deletecollection":
        return presentList(type, this.#rest.deleteCollection(call, body), presentation);
      default:
        throw methodNotAllowed();
    }
  }

  #authorize(call: RestCall, verb: string, pathname: string): void {
    const { user, path, query } = call;
    if (user.groups.includes("system:masters")) return;
    const { rest: _, ...attributes } = path;
    const fieldSelector = query.get("fieldSelector");
    const decision = this.#options.extensions.authorize?.(user, {
      ...attributes,
      verb,
      path: pathname,
      ...(fieldSelector === null ? {} : { fieldSelector }),
    });
    if (decision?.kind === "allow") return;
    const why = `User "${user.name}" cannot ${verb} resource "${path.type.plural}" in API group "${path.type.group}"`;
    throw forbidden(
      path.type,
      path.name ?? "",
      decision === undefined || decision.message === "" ? why : `${why}: ${decision.message}`,
    );
  }

  #connectHandler(call: RestCall): ConnectHandler | undefined {
    const { subresource, type } = call.path;
    if (subresource === undefined) return undefined;
    return this.#options.extensions.connect?.[`${type.plural}/${subresource}`];
  }

  /** Throws 404 when what the subresource belongs to does not exist. */
  #connect(call: RestCall, request: IncomingMessage): ConnectRequest {
    const { user, query, path } = call;
    const { subresource = "", type, name = "", namespace, rest } = path;
    const parent = this.#rest.get(call);
    const place = namespace === undefined ? {} : { namespace };
    return { user, type, subresource, name, parent, rest, query, request, ...place };
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    this.#upgraded.add(socket);
    socket.on("close", () => this.#upgraded.delete(socket));
    // Both ends of a stream may go at any time; the handler sees it as the end of its socket.
    socket.on("error", () => socket.destroy());
    try {
      const user = userOf(request);
      const url = new URL(request.url ?? "/", "https://localhost");
      const path = parseResourcePath(url.pathname);
      if (path === undefined) throw pathNotFound();
      const call: RestCall = { user, path, query: url.searchParams };
      this.#authorize(call, verbOf(request.method ?? "", call), url.pathname);
      const handler = this.#connectHandler(call);
      if (handler?.upgrade === undefined) throw badRequest("this resource knows no upgrade");
      await handler.upgrade(this.#connect(call, request), socket, head);
    } catch (error) {
      if (!(error instanceof StatusError))
        this.#options.log.debug({ err: error, path: request.url }, "a stream ended with an error");
      if (socket.writable) sendRaw(socket, statusErrorOf(error));
    }
  }
}

interface Todo {
  readonly verb: string;
  readonly call: RestCall;
  readonly mediaType: string;
  readonly body: unknown;
  readonly presentation: Presentation;
}

/** What is no resource: health, version, discovery, OpenAPI. */
function documentAt(path: string, accept: string): Answer {
  if (HEALTH.includes(path)) return { contentType: "text/plain", body: "ok" };
  const answer = discoveryReply(path, accept) ?? openapiReply(path, accept);
  if (answer === undefined) throw pathNotFound();
  return answer;
}

function userOf(request: IncomingMessage): User {
  const socket = request.socket as TLSSocket;
  if (!socket.authorized) throw new StatusError(401, "Unauthorized", "Unauthorized");
  const { CN, O } = socket.getPeerCertificate().subject as { CN?: string; O?: string | string[] };
  return {
    name: CN ?? "",
    groups: [...(O === undefined ? [] : [O].flat()), "system:authenticated"],
  };
}

function verbOf(method: string, call: RestCall): string {
  const { name } = call.path;
  const isWatch = ["true", "1"].includes(call.query.get("watch") ?? "");
  if (method === "GET") return isWatch ? "watch" : name === undefined ? "list" : "get";
  if (method === "DELETE") return name === undefined ? "deletecollection" : "delete";
  const verb = { POST: "create", PUT: "update", PATCH: "patch" }[method];
  if (verb === undefined) throw methodNotAllowed();
  return verb;
}
