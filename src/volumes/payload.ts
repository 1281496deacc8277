/**
 * The files that a volume shows, as a value: relative path → bytes and mode. Pure. Made by kinds/*, checked here,
 * compared by hash, written by atomic-writer.ts. Paths come from users and are refused when they would lead out of
 * the volume or collide with the writer's own names (which start with "..").
 */

import { createHash } from "node:crypto";
import { LongshoreError } from "../core/errors.ts";
import { fileMode } from "./ownership.ts";

export interface FileContent {
  readonly data: Buffer;
  readonly mode: number;
  /** Absent = the agent's own. */
  readonly uid?: number;
}

export type Payload = ReadonlyMap<string, FileContent>;

const MAX_PATH = 4096;
const MAX_NAME = 255;
const PAGE = 4096;
const MIN_TMPFS_BYTES = 1024 * 1024;

function refuse(path: string, why: string): never {
  const shown = JSON.stringify(path.slice(0, 200));
  throw new LongshoreError("VolumeInvalid", `invalid path ${shown} in a volume: ${why}`);
}

/** The path without empty and "." elements. Throws VolumeInvalid as upstream's validatePath. */
export function checkPath(path: string): string {
  if (path === "") refuse(path, "must not be empty");
  if (path.startsWith("/")) refuse(path, "must be relative");
  if (path.includes("\0")) refuse(path, "must not contain a zero byte");
  if (path.length > MAX_PATH) refuse(path, `must be at most ${MAX_PATH} characters long`);
  if (path.startsWith("..")) refuse(path, "must not start with '..'");
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (names.includes("..")) refuse(path, "must not contain '..'");
  if (names.length === 0 || names[0]?.startsWith("..")) refuse(path, "must name a file");
  if (names.some((name) => Buffer.byteLength(name) > MAX_NAME))
    refuse(path, `must not have an element longer than ${MAX_NAME} bytes`);
  return names.join("/");
}

/** A payload with clean paths and modes that let the group read; two files of which one would be the other's directory are refused. */
export function createPayload(
  files: Iterable<readonly [string, FileContent]>,
  group?: number,
): Payload {
  const payload = new Map<string, FileContent>();
  for (const [path, content] of files) {
    payload.set(checkPath(path), { ...content, mode: fileMode(content.mode & 0o777, group) });
  }
  for (const path of payload.keys()) {
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
      if (payload.has(path.slice(0, at))) refuse(path, `${path.slice(0, at)} is a file`);
    }
  }
  return payload;
}

export function hashPayload(payload: Payload): string {
  const hash = createHash("sha256");
  for (const path of [...payload.keys()].sort()) {
    const content = payload.get(path);
    hash.update(`${path.length}:${path}:${content?.mode}:${content?.uid}:${content?.data.length}:`);
    hash.update(content?.data ?? "");
  }
  return hash.digest("hex");
}

/** Limit for a tmpfs that must hold two generations of the payload at once: a power of two, at least 1 MiB. */
export function tmpfsBytes(payload: Payload): number {
  let bytes = 0;
  for (const content of payload.values())
    bytes += PAGE * (2 + Math.ceil(content.data.length / PAGE));
  let limit = MIN_TMPFS_BYTES;
  while (limit < bytes * 3) limit *= 2;
  return limit;
}
