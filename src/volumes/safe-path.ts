/**
 * Opens what a relative path names inside a volume that a hostile container may rearrange meanwhile. Walks by
 * descriptors, one name at a time and following no link itself: links are read and walked in turn, `..` goes back to a
 * descriptor already held, so no step can leave the volume, whatever is renamed under way. Used by sub-path.ts.
 */

import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readlink } from "node:fs/promises";
import { LongshoreError } from "../core/errors.ts";

/** Linux: a descriptor that only names; opening one has no effect on devices and pipes. */
const O_PATH = 0o10000000;
const NAME_ONLY = O_PATH | constants.O_NOFOLLOW;
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Links followed and directories made; more means that somebody turns links round under us. */
const MAX_DETOURS = 255;

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

function hasErrno(error: unknown, ...codes: readonly string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? "");
}

/** The caller closes it. What is missing is made as directories with the mode of the volume's root. */
export async function openBelow(root: string, path: string): Promise<FileHandle> {
  const held = [await open(root, O_PATH)];
  try {
    await walk(held, namesOf(path));
    return held.pop() as FileHandle;
  } finally {
    for (const handle of held) await handle.close();
  }
}

/** Leaves what the names lead to on top of `held`, whose bottom is the volume's root. */
async function walk(held: FileHandle[], pending: string[]): Promise<void> {
  const root = held[0] as FileHandle;
  const rootNames = namesOf(await readlink(`/proc/self/fd/${root.fd}`));
  const rootMode = (await root.stat()).mode & 0o7777;
  let detours = 0;
  for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
    if (name === "..") {
      if (held.length === 1) refuse();
      await held.pop()?.close();
      continue;
    }
    const entry = `/proc/self/fd/${held.at(-1)?.fd}/${name}`;
    const opened = await openEntry(entry);
    if (opened !== undefined && !(await isLink(opened))) {
      held.push(opened);
      continue;
    }
    await opened?.close();
    if (++detours > MAX_DETOURS) refuse();
    if (opened === undefined) {
      await makeDirectory(entry, rootMode);
      pending.unshift(name);
    } else {
      const target = await readTarget(entry);
      if (target === undefined) pending.unshift(name);
      else if (!target.startsWith("/")) pending.unshift(...namesOf(target));
      else pending.unshift(...(await backToRoot(held, rootNames, namesOf(target))));
    }
  }
}

function refuse(): never {
  throw new LongshoreError("ContainerConfigInvalid", "a link leads out of the volume");
}

/** A link to the volume's own path on the host is walked from the root. */
async function backToRoot(
  held: FileHandle[],
  rootNames: readonly string[],
  target: readonly string[],
): Promise<readonly string[]> {
  if (!rootNames.every((name, at) => target[at] === name)) refuse();
  while (held.length > 1) await held.pop()?.close();
  return target.slice(rootNames.length);
}

async function isLink(handle: FileHandle): Promise<boolean> {
  return (await handle.stat()).isSymbolicLink();
}

async function openEntry(entry: string): Promise<FileHandle | undefined> {
  try {
    return await open(entry, NAME_ONLY);
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** undefined when it is no link any more. */
async function readTarget(entry: string): Promise<string | undefined> {
  try {
    return await readlink(entry);
  } catch (error) {
    if (hasErrno(error, "ENOENT", "EINVAL")) return undefined;
    throw error;
  }
}

/** What somebody else put there meanwhile is left as it is, for the walk to look at. */
async function makeDirectory(entry: string, mode: number): Promise<void> {
  try {
    await mkdir(entry, { mode });
    const made = await open(entry, DIRECTORY);
    try {
      // The mode given at creation is cut by the umask.
      await made.chmod(mode);
    } finally {
      await made.close();
    }
  } catch (error) {
    if (!hasErrno(error, "EEXIST", "ENOENT", "ENOTDIR", "ELOOP")) throw error;
  }
}
