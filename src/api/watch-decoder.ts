/**
 * Bytes of a watch stream → events. JSON objects one a line, cut anywhere by the network. Called by http-client.ts.
 */

import { LongshoreError } from "../core/errors.ts";
import type { WatchEvent } from "./client.ts";
import { type MetaStatus, statusError } from "./http-errors.ts";
import type { StoredObject } from "./types.ts";

/** A line longer than this is no object of an API server (etcd's limit is 1.5 MiB). */
const MAX_LINE_BYTES = 64 * 1024 * 1024;

/** Splits a stream of bytes into lines, without the empty ones. */
export class LineSplitter {
  #rest: Buffer[] = [];
  #restBytes = 0;

  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const line = Buffer.concat([...this.#rest, chunk.subarray(start, end)]).toString("utf8");
      this.#rest = [];
      this.#restBytes = 0;
      start = end + 1;
      if (line.trim() !== "") lines.push(line);
    }
    if (start === chunk.length) return lines;
    this.#rest.push(chunk.subarray(start));
    this.#restBytes += chunk.length - start;
    if (this.#restBytes > MAX_LINE_BYTES) {
      throw new LongshoreError("ApiServerError", "a watch event of more than 64 MiB");
    }
    return lines;
  }
}

/** One line of a watch. Throws the mapped error of an ERROR event (ApiExpired for 410). */
export function decodeWatchLine<T extends StoredObject>(
  line: string,
  doing: string,
): WatchEvent<T> {
  const { type, object } = parseLine(line, doing);
  switch (type) {
    case "ADDED":
    case "MODIFIED":
      return { kind: "applied", object: object as T };
    case "DELETED":
      return { kind: "deleted", object: object as T };
    case "BOOKMARK":
      return { kind: "bookmark", resourceVersion: (object as T).metadata.resourceVersion };
    case "ERROR": {
      const status = object as MetaStatus;
      throw statusError(status.code ?? 500, status, doing);
    }
    default:
      throw new LongshoreError("ApiServerError", `${doing}: unknown watch event ${String(type)}`);
  }
}

function parseLine(line: string, doing: string): { type?: unknown; object: unknown } {
  try {
    const event = JSON.parse(line) as { type?: unknown; object?: unknown } | null;
    if (event !== null && typeof event.object === "object" && event.object !== null) {
      return { type: event.type, object: event.object };
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new LongshoreError("ApiServerError", `${doing}: the server sent a line that is no event`);
}
