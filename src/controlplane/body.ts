/** Request bodies: read whole within a limit and parsed as what their media type says. Called by server.ts. */

import type { IncomingMessage } from "node:http";
import { load, YAMLException } from "js-yaml";
import { messageOf } from "../core/errors.ts";
import { decodeProtobuf, PROTOBUF_MEDIA_TYPE } from "./protobuf.ts";
import { badRequest, StatusError } from "./status-error.ts";

const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** Undefined for an empty body. Throws 400, 413 and 415. */
export async function readBody(request: IncomingMessage): Promise<unknown> {
  const bytes = await readBytes(request);
  if (bytes.length === 0) return undefined;
  return parseBody(bytes, request.headers["content-type"] ?? "application/json");
}

export function parseBody(bytes: Buffer, contentType: string): unknown {
  const media = contentType.split(";")[0]?.trim() ?? "";
  if (media === PROTOBUF_MEDIA_TYPE) return decodeProtobuf(bytes);
  if (media === "application/yaml") return parse(() => load(bytes.toString("utf8")));
  if (media === "application/json" || media === "" || media.endsWith("patch+json"))
    return parse(() => JSON.parse(bytes.toString("utf8")));
  const accepted = `application/json, application/yaml, ${PROTOBUF_MEDIA_TYPE}`;
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted}`;
  throw new StatusError(415, "UnsupportedMediaType", message);
}

function parse(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof YAMLException)) throw error;
    throw badRequest(`couldn't get version/kind; json parse error: ${messageOf(error)}`);
  }
}

async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) {
      const message = `Request entity too large: limit is ${MAX_BODY_BYTES}`;
      throw new StatusError(413, "RequestEntityTooLarge", message);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
