/**
 * Removes a directory tree that a hostile container may have filled. Every directory is opened by name without
 * following links and worked on through its descriptor, so a planted or swapped link leads nowhere; a directory on
 * another mount is refused by its mount ID (a bind mount of the same device too). Called by apply.ts only.
 */

import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, opendir, readFile, rename, rmdir, unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { LongshoreError } from "../core/errors.ts";

/** Deeper directories are moved up to the top first, so that neither descriptors nor the stack run out. */
const MAX_DEPTH = 40;
/** Entries may be missed while a directory shrinks under readdir; more rounds than this means somebody adds. */
const MAX_ROUNDS = 5;
const OPEN_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

interface Removal {
  readonly mountId: string;
  readonly top: string;
  readonly signal: AbortSignal;
  moved: number;
}

function errno(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function viaDescriptor(handle: FileHandle): string {
  return `/proc/self/fd/${handle.fd}`;
}

async function mountIdOf(handle: FileHandle): Promise<string> {
  const text = await readFile(`/proc/self/fdinfo/${handle.fd}`, "utf8");
  const id = /^mnt_id:\s*(\d+)$/m.exec(text)?.[1];
  if (id === undefined) throw new LongshoreError("Bug", "fdinfo without mnt_id");
  return id;
}

async function openDirectory(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, OPEN_FLAGS);
  } catch (error) {
    if (errno(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Throws Aborted when the caller gave up. */
export function checkNotAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new LongshoreError("Aborted", "stopped while working on volumes");
}

/** Absent is success. Throws VolumeNotReady when something is mounted inside or keeps appearing. */
export async function removeTree(path: string, signal: AbortSignal): Promise<void> {
  const parent = await openDirectory(dirname(path));
  if (parent === undefined) return;
  try {
    const top = `${viaDescriptor(parent)}/${basename(path)}`;
    const mountId = await mountIdOf(parent);
    await removeDirectory(top, 0, { mountId, top, signal, moved: 0 });
  } finally {
    await parent.close();
  }
}

async function removeDirectory(path: string, depth: number, removal: Removal): Promise<void> {
  const handle = await openDirectory(path);
  if (handle === undefined) return;
  try {
    if ((await mountIdOf(handle)) !== removal.mountId)
      throw new LongshoreError("VolumeNotReady", `${path}: something is still mounted there`);
    for (let fruitless = 0; fruitless < MAX_ROUNDS; fruitless++) {
      const moved = removal.moved;
      await removeEntries(handle, depth, removal);
      if (await tryRmdir(path)) return;
      if (removal.moved > moved) fruitless = 0;
    }
  } finally {
    await handle.close();
  }
  throw new LongshoreError("VolumeNotReady", `${path} does not get empty; something writes there`);
}

async function removeEntries(handle: FileHandle, depth: number, removal: Removal): Promise<void> {
  const here = viaDescriptor(handle);
  for await (const entry of await opendir(here)) {
    checkNotAborted(removal.signal);
    const path = `${here}/${entry.name}`;
    if (await tryUnlink(path)) continue;
    if (depth < MAX_DEPTH) await removeDirectory(path, depth + 1, removal);
    else await moveUp(path, removal);
  }
}

async function moveUp(path: string, removal: Removal): Promise<void> {
  // A name that cannot be guessed: the container may have left any other there.
  await rename(path, `${removal.top}/.removing-${randomUUID()}`);
  removal.moved++;
}

/** True when it was a file or is gone; false for a directory. */
async function tryUnlink(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (errno(error) === "ENOENT") return true;
    if (errno(error) === "EISDIR" || errno(error) === "EPERM") return false;
    throw error;
  }
}

async function tryRmdir(path: string): Promise<boolean> {
  try {
    await rmdir(path);
    return true;
  } catch (error) {
    if (errno(error) === "ENOENT") return true;
    if (errno(error) === "ENOTEMPTY" || errno(error) === "EEXIST") return false;
    throw error;
  }
}
