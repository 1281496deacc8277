/**
 * The HTTPS side: client certificates in, authorization, dispatch to REST, watches, discovery and connect handlers,
 * and every failure as a metav1.Status. Never exits on what a client sends. Started by controlplane.ts.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { TLSSocket } from "node:tls";
import type { Clock } from "../core/clock.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { discoveryDocument } from "./discovery.ts";
import type { Extensions, User } from "./extension.ts";
import type { KeyPair } from "./pki.ts";
import { decodeProtobuf, PROTOBUF_MEDIA_TYPE } from "./protobuf.ts";
import { parseResourcePath, type ResourcePath } from "./request-path.ts";
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

const MAX_BODY_BYTES = 3 * 1024 * 1024;

export class ApiServer {
  readonly #options: ServerOptions;
  readonly #rest: Rest;
  readonly #server: Server;

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
      },
      (request, response) => void this.#serve(request, response),
    );
  }

  /** The port it listens on. */
  start(): Promise<number> {
    const { address, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once("error", (cause) =>
        reject(
          new LongshoreError("AddressInUse", `listening on ${address}:${port}: ${cause.message}`, {
            cause,
          }),
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
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#dispatch(request, response);
    } catch (error) {
      if (!(error instanceof StatusError))
        this.#options.log.error({ err: error, path: request.url }, "a request failed");
      const failure =
        error instanceof StatusError
          ? error
          : new StatusError(500, "InternalError", `Internal error occurred: ${messageOf(error)}`);
      if (response.headersSent) response.destroy();
      else send(response, failure.body.code, failure.body);
    }
  }

  async #dispatch(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const user = userOf(request);
    const url = new URL(request.url ?? "/", "https://localhost");
    const path = parseResourcePath(url.pathname);
    if (path === undefined) {
      const document = discoveryDocument(url.pathname);
      if (document === undefined) throw pathNotFound();
      return send(response, 200, document);
    }
    const call: RestCall = { user, path, query: url.searchParams };
    const verb = verbOf(request.method ?? "", call);
    this.#authorize(call, verb, url.pathname);
    if (path.subresource !== undefined && (await this.#connect(call, request, response))) return;
    const body = ["create", "update", "patch", "delete"].includes(verb)
      ? await readBody(request)
      : undefined;
    if (verb === "watch") return serveWatch(this.#options, call, response);
    const mediaType = (request.headers["content-type"] ?? "").split(";")[0] ?? "";
    send(response, verb === "create" ? 201 : 200, this.#run(verb, call, mediaType, body));
  }

  #run(verb: string, call: RestCall, mediaType: string, body: unknown): object {
    const { subresource } = call.path;
    if (subresource === "binding" && verb === "create") return this.#rest.bind(call, body);
    if (subresource !== undefined && subresource !== "status") throw pathNotFound();
    switch (verb) {
      case "get":
        return this.#rest.get(call);
      case "list":
        return this.#rest.list(call);
      case "create":
        if (subresource !== undefined || call.path.name !== undefined) throw methodNotAllowed();
        return this.#rest.create(call, body);
      case "update":
        return this.#rest.update(call, body);
      case "patch":
        return this.#rest.patch(call, mediaType, body);
      case "delete":
        return this.#rest.delete(call, body);
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

  async #connect(
    call: RestCall,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<boolean> {
    const { subresource = "", type, name = "", namespace, rest } = call.path;
    const handler = this.#options.extensions.connect?.[`${type.plural}/${subresource}`];
    if (handler === undefined) return false;
    const parent = this.#rest.get(call);
    const place: Pick<ResourcePath, "namespace"> = namespace === undefined ? {} : { namespace };
    const { user, query } = call;
    await handler.serve(
      { user, type, subresource, name, parent, rest, query, request, ...place },
      response,
    );
    return true;
  }
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

async function readBody(request: IncomingMessage): Promise<unknown> {
  const mediaType = (request.headers["content-type"] ?? "").split(";")[0] ?? "";
  const isProtobuf = mediaType === PROTOBUF_MEDIA_TYPE;
  if (!isProtobuf && /protobuf|cbor/.test(mediaType)) {
    const accepted = `accepted media types include: application/json, ${PROTOBUF_MEDIA_TYPE}`;
    const message = `the body of the request was in an unknown format - ${accepted}`;
    throw new StatusError(415, "UnsupportedMediaType", message);
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > MAX_BODY_BYTES)
      throw new StatusError(413, "RequestEntityTooLarge", `limit is ${MAX_BODY_BYTES}`);
    chunks.push(chunk as Buffer);
  }
  if (size === 0) return undefined;
  if (isProtobuf) return decodeProtobuf(Buffer.concat(chunks));
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch (error) {
    throw badRequest(`the body of the request is not JSON: ${messageOf(error)}`);
  }
}

function send(response: ServerResponse, code: number, body: object | string): void {
  const isText = typeof body === "string";
  response.writeHead(code, { "content-type": isText ? "text/plain" : "application/json" });
  response.end(isText ? body : JSON.stringify(body));
}
