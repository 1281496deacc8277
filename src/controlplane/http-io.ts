/** Bodies in and answers out: JSON with its limits, errors as metav1.Status, raw answers on an upgraded socket. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { messageOf } from "../core/errors.ts";
import { badRequest, StatusError } from "./status-error.ts";

/** etcd's limit of a request, which clients know. */
const MAX_BODY_BYTES = 3 * 1024 * 1024;

export async function readBody(request: IncomingMessage): Promise<unknown> {
  if (/protobuf|cbor/.test(request.headers["content-type"] ?? "")) {
    // Nothing here decodes protobuf; kubectl create with a generator (not -f) sends it and fails with this.
    const accepted = "accepted media types include: application/json";
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
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch (error) {
    throw badRequest(`the body of the request is not JSON: ${messageOf(error)}`);
  }
}

export interface Answer {
  readonly contentType: string;
  readonly body: object | string;
}

export function send(response: ServerResponse, code: number, answer: Answer): void {
  const { body, contentType } = answer;
  response.writeHead(code, { "content-type": contentType });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}

export function json(body: object): Answer {
  return { contentType: "application/json", body };
}

/** Any thrown value as the Status that clients understand. */
export function statusErrorOf(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  return new StatusError(500, "InternalError", `Internal error occurred: ${messageOf(error)}`);
}

/** An error on a connection that asked for an upgrade, where there is no ServerResponse. */
export function sendRaw(socket: Duplex, error: StatusError): void {
  const body = JSON.stringify(error.body);
  const head = [
    `HTTP/1.1 ${error.body.code} ${error.body.reason}`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
