/**
 * The HTTPS side: every request is authenticated, authorized and handed to REST, a watch, a connect handler or the
 * documents of discovery; every failure becomes a metav1.Status. Nothing a client sends ends the process.
 * Started and stopped by controlplane.ts.
 */

import { type IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Clock } from "../core/clock.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { authenticate, authorize } from "./authentication.ts";
import { readBody } from "./body.ts";
import { discoveryReply } from "./discovery.ts";
import type { ConnectHandler, ConnectRequest, Document, Extensions } from "./extension.ts";
import { type Form, formOf, shapeList, shapeObject } from "./negotiate.ts";
import { readObject } from "./object-input.ts";
import type { KubeObject } from "./objects.ts";
import { openapiReply } from "./openapi.ts";
import type { KeyPair } from "./pki.ts";
import { parseResourcePath } from "./request-path.ts";
import { Rest, type RestCall } from "./rest.ts";
import { answerReview } from "./reviews.ts";
import { badRequest, methodNotAllowed, pathNotFound, StatusError } from "./status-error.ts";
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
  readonly randomUid: () => string;
  readonly log: Logger;
  readonly extensions: Extensions;
}

const MAX_HEADER_BYTES = 1024 * 1024;
/** Longer than clients keep idle connections, so that they and not we close them. */
const KEEP_ALIVE_MS = 120_000;

export class ApiServer {
  readonly #options: ServerOptions;
  readonly #rest: Rest;
  readonly #server: Server;
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
        maxHeaderSize: MAX_HEADER_BYTES,
        keepAliveTimeout: KEEP_ALIVE_MS,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.on(
      "upgrade",
      (request, socket, head) => void this.#upgrade(request, socket, head),
    );
  }

  /** The port it listens on. Throws AddressInUse. */
  start(): Promise<number> {
    const { address, port } = this.#options;
    return new Promise((resolve, reject) => {
      // Later ones (no more file descriptors) are over with their connection; unheard they would end the process.
      this.#server.on("error", (cause) => {
        const message = `listening on ${address}:${port}: ${cause.message}`;
        reject(new LongshoreError("AddressInUse", message, { cause }));
      });
      this.#server.listen(port, address, () => {
        const bound = this.#server.address();
        resolve(bound !== null && typeof bound === "object" ? bound.port : port);
      });
    });
  }

  /** Cuts watches and streams; resolves when nothing is open. */
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
      const { body } = this.#failureOf(error, request);
      if (response.headersSent) response.destroy();
      else sendJson(response, body.code, body);
    }
  }

  async #dispatch(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { path, call, verb } = this.#admitRequest(request);
    if (call === undefined) return this.#sendDocument(request, path, response);
    const connect = this.#connectOf(call, request);
    if (connect !== undefined) return connect.handler.serve(connect.request, response);
    const form = formOf(request.headers.accept, call.query);
    if (verb === "watch") return serveWatch(this.#options, call, form, response);
    const body = verb === "get" || verb === "list" ? undefined : await readBody(request);
    const contentType = request.headers["content-type"] ?? "";
    const answer = this.#run({ verb, call, form, body, contentType });
    sendJson(response, answer.code, answer.body);
  }

  #run(job: Job): Answer {
    const { verb, call, body, form } = job;
    const { subresource, type } = call.path;
    const now = this.#options.clock.now();
    const shape = (object: KubeObject, code = 200): Answer => ({
      code,
      body: shapeObject(form, type, object, now),
    });
    const isPost = verb === "create" && subresource !== undefined;
    if (isPost && subresource === "binding")
      return { code: 201, body: this.#rest.bind(call, body) };
    if (isPost && subresource === "eviction")
      return { code: 201, body: this.#rest.evict(call, body) };
    checkVerb(verb, call);
    switch (verb) {
      case "get":
        return shape(this.#rest.get(call));
      case "list":
        return { code: 200, body: shapeList(form, { type, ...this.#rest.list(call) }, now) };
      case "create":
        return shape(this.#review(call, body) ?? this.#rest.create(call, body), 201);
      case "update":
        return shape(this.#rest.update(call, body));
      case "patch":
        return shape(this.#rest.patch(call, job.contentType, body));
      case "delete":
        return { code: 200, body: this.#rest.delete(call, body) };
      case "deletecollection": {
        const page = this.#rest.deleteCollection(call, body);
        return { code: 200, body: shapeList({ kind: "object" }, { type, ...page }, now) };
      }
      default:
        throw methodNotAllowed();
    }
  }

  #sendDocument(request: IncomingMessage, path: string, response: ServerResponse): void {
    const { method, headers } = request;
    const found =
      method === "GET"
        ? (this.#options.extensions.documents?.(path) ?? documentAt(path, headers.accept ?? ""))
        : undefined;
    if (found === undefined) throw pathNotFound();
    send(response, 200, found.contentType, found.body);
  }

  #review({ user, path: { type } }: RestCall, body: unknown): KubeObject | undefined {
    if (!type.kind.endsWith("Review")) return undefined;
    return answerReview(type.kind, readObject(type, body), user, this.#options.extensions);
  }

  /** Authenticates and authorizes. `call` is undefined for paths that are no resource. */
  #admitRequest(request: IncomingMessage): {
    readonly path: string;
    readonly verb: string;
    readonly call: RestCall | undefined;
  } {
    const { extensions, clock } = this.#options;
    const user = authenticate(request, extensions.tokens ?? [], clock.now());
    const url = URL.parse(request.url ?? "/", "https://localhost");
    if (url === null) throw badRequest("the request's URL cannot be parsed");
    const { pathname: path, searchParams: query } = url;
    const resource = parseResourcePath(path);
    const { authorize: authorizer } = extensions;
    if (resource === undefined) {
      const verb = (request.method ?? "GET").toLowerCase();
      authorize(authorizer, user, { verb, path });
      return { path, verb, call: undefined };
    }
    const call = { user, path: resource, query };
    const verb = verbOf(request.method ?? "GET", call);
    const { rest: _, ...attributes } = resource;
    const fieldSelector = query.get("fieldSelector");
    const labelSelector = query.get("labelSelector");
    authorize(authorizer, user, {
      ...attributes,
      verb,
      path,
      ...(fieldSelector === null ? {} : { fieldSelector }),
      ...(labelSelector === null ? {} : { labelSelector }),
    });
    return { path, verb, call };
  }

  #connectOf(
    call: RestCall,
    request: IncomingMessage,
  ): { readonly handler: ConnectHandler; readonly request: ConnectRequest } | undefined {
    const { subresource, type, name, namespace, rest } = call.path;
    if (subresource === undefined || name === undefined) return undefined;
    const handler = this.#options.extensions.connect?.[`${type.plural}/${subresource}`];
    if (handler === undefined) return undefined;
    const { user, query } = call;
    const parent = this.#rest.get(call);
    const place = namespace === undefined ? {} : { namespace };
    const about = { user, type, subresource, name, parent, rest, query, request, ...place };
    return { handler, request: about };
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    this.#upgraded.add(socket);
    const before = (socket as TLSSocket).bytesWritten;
    // A connection that breaks is closed by Node; there is nobody left to tell.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#upgraded.delete(socket));
    try {
      const { call } = this.#admitRequest(request);
      const connect = call === undefined ? undefined : this.#connectOf(call, request);
      if (connect?.handler.upgrade === undefined)
        throw badRequest("this path does not take upgraded connections");
      await connect.handler.upgrade(connect.request, socket, head);
    } catch (error) {
      const { body } = this.#failureOf(error, request);
      // What has begun to stream cannot be answered any more.
      if ((socket as TLSSocket).bytesWritten > before) socket.destroy();
      else refuseUpgrade(request, socket, body);
    }
  }

  #failureOf(error: unknown, request: IncomingMessage): StatusError {
    if (error instanceof StatusError) return error;
    const path = (request.url ?? "").split("?")[0];
    this.#options.log.error({ err: error, method: request.method, path }, "a request failed");
    return new StatusError(500, "InternalError", `Internal error occurred: ${messageOf(error)}`);
  }
}

interface Answer {
  readonly code: number;
  readonly body: object;
}

interface Job {
  readonly verb: string;
  readonly call: RestCall;
  readonly form: Form;
  readonly body: unknown;
  readonly contentType: string;
}

function checkVerb(verb: string, { path }: RestCall): void {
  const { type, subresource, rest } = path;
  const verbs =
    subresource === undefined
      ? type.verbs
      : type.subresources.find(({ name, isConnect }) => name === subresource && !isConnect)?.verbs;
  if (verbs === undefined || rest !== "") throw pathNotFound();
  if (!(verbs as readonly string[]).includes(verb)) throw methodNotAllowed();
}

function verbOf(method: string, { path, query }: RestCall): string {
  const isWatch = ["true", "1"].includes(query.get("watch") ?? "");
  if (method === "GET" && path.subresource === undefined && isWatch) return "watch";
  if (method === "GET") return path.name === undefined ? "list" : "get";
  if (method === "DELETE") return path.name === undefined ? "deletecollection" : "delete";
  if (method === "POST" && (path.name === undefined || path.subresource !== undefined))
    return "create";
  if (path.name === undefined) throw methodNotAllowed();
  if (method === "PUT") return "update";
  if (method === "PATCH") return "patch";
  throw methodNotAllowed();
}

function documentAt(path: string, accept: string): Document | undefined {
  if (["/healthz", "/livez", "/readyz"].includes(path))
    return { contentType: "text/plain", body: "ok" };
  const discovery = discoveryReply(path, accept);
  if (discovery === undefined) return openapiReply(path, accept);
  return { contentType: discovery.contentType, body: JSON.stringify(discovery.body) };
}

function sendJson(response: ServerResponse, code: number, body: object): void {
  send(response, code, "application/json", JSON.stringify(body));
}

function send(
  response: ServerResponse,
  code: number,
  type: string,
  body: string | Uint8Array,
): void {
  response.writeHead(code, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(body);
}

/** Answers on a socket that Node has given away. */
function refuseUpgrade(request: IncomingMessage, socket: Duplex, body: { code: number }): void {
  if (socket.destroyed) return;
  const response = new ServerResponse(request);
  response.assignSocket(socket as TLSSocket);
  response.shouldKeepAlive = false;
  response.on("finish", () => socket.end());
  sendJson(response, body.code, body);
}
