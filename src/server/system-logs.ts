/**
 * GET /logs: the files of the node's /var/log, folders as upstream's list of links. A symbolic link that leaves the
 * folder is not followed: a pod that may write there would read the node's files with it. Called by kubelet-server.ts.
 */

import { constants, createReadStream } from "node:fs";
import { type FileHandle, open, readdir, realpath } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { NOT_FOUND, type Reply } from "./reply.ts";

/** @param path decoded segments without dots; the last is empty for a folder. */
export async function serveSystemLogs(
  root: string,
  path: readonly string[],
  response: ServerResponse,
): Promise<Reply | undefined> {
  const found = await resolveIn(root, join(root, ...path));
  if (found === undefined) return NOT_FOUND;
  const file = await openFile(found);
  if (file === undefined) return NOT_FOUND;
  const stat = await file.stat();
  const isNamedAsFolder = path.length === 0 || path.at(-1) === "";
  if (stat.isFile() && !isNamedAsFolder) {
    response.writeHead(200, {
      "Content-Type": "text/plain; charset=utf-8",
      "Last-Modified": stat.mtime.toUTCString(),
      "X-Content-Type-Options": "nosniff",
    });
    await pipeline(createReadStream("", { fd: file }), response).catch(() => response.destroy());
    return undefined;
  }
  await file.close();
  if (!stat.isDirectory()) return NOT_FOUND;
  if (!isNamedAsFolder) {
    response.writeHead(301, { Location: `${encodeURIComponent(path.at(-1) ?? "")}/` }).end();
    return undefined;
  }
  const entries = await readdir(found, { withFileTypes: true });
  const links = entries
    .map((entry) => `${entry.name}${entry.isDirectory() ? "/" : ""}`)
    .sort()
    .map((name) => `<a href="${encodeURI(name)}">${escapeHtml(name)}</a>\n`);
  response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
  response.end(`<!doctype html>\n<pre>\n${links.join("")}</pre>\n`);
  return undefined;
}

async function resolveIn(root: string, path: string): Promise<string | undefined> {
  try {
    const [top, found] = await Promise.all([realpath(root), realpath(path)]);
    return found === top || found.startsWith(`${top}/`) ? found : undefined;
  } catch {
    // Not there, or a part of it is no folder.
    return undefined;
  }
}

/** Never waits: a pipe without a writer is opened too, and then refused. */
async function openFile(path: string): Promise<FileHandle | undefined> {
  const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;
  try {
    return await open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
  } catch {
    return undefined;
  }
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);
}
