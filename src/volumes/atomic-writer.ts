/**
 * Shows a payload in a directory so that readers see all of the old or all of the new: upstream's layout, a
 * time-stamped directory, `..data` linking to it and swapped by rename, and a link per visible name into `..data`.
 * Nothing is written when nothing changed; leftovers of an interrupted write are removed by the next.
 * The directory is read-only to containers, so nothing in it is hostile. Called by apply.ts.
 */

import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { directoryMode } from "./ownership.ts";
import type { Payload } from "./payload.ts";

const DATA = "..data";
const DATA_NEXT = "..data_tmp";
const DIRECTORY_MODE = 0o755;
/** For chown(2). */
const UNCHANGED = -1;

export interface WriteOptions {
  /** Milliseconds since the epoch; names the new directory. */
  readonly now: number;
  /** Owns what is written; undefined = the agent's own. */
  readonly group: number | undefined;
}

/** Resolves to true when something was written. */
export async function writeAtomically(
  directory: string,
  payload: Payload,
  options: WriteOptions,
): Promise<boolean> {
  const current = await readLinkOrUndefined(join(directory, DATA));
  const isCurrent =
    current !== undefined && (await holdsExactly(join(directory, current), payload));
  const shown = isCurrent ? current : await writeGeneration(directory, payload, options);
  if (!isCurrent) await swapData(directory, shown);
  await linkVisibleNames(directory, payload);
  await removeStale(directory, payload, shown);
  return !isCurrent;
}

function isAbsence(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

async function readLinkOrUndefined(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

async function holdsExactly(generation: string, payload: Payload): Promise<boolean> {
  try {
    const names = await readdir(generation, { recursive: true, withFileTypes: true });
    if (names.filter((entry) => !entry.isDirectory()).length !== payload.size) return false;
    for (const [path, content] of payload) {
      const file = join(generation, path);
      const { mode, uid } = await lstat(file);
      if ((mode & 0o777) !== content.mode || uid !== (content.uid ?? uid)) return false;
      if (!content.data.equals(await readFile(file))) return false;
    }
    return true;
  } catch (error) {
    if (isAbsence(error)) return false;
    throw error;
  }
}

/** `..2026_11_21_10_30_00.` and a random end; returns the name. */
async function writeGeneration(
  directory: string,
  payload: Payload,
  { now, group }: WriteOptions,
): Promise<string> {
  const stamp = new Date(now).toISOString().slice(0, 19).replace(/[-T:]/g, "_");
  const generation = await mkdtemp(join(directory, `..${stamp}.`));
  await own(generation, DIRECTORY_MODE, group);
  const made = new Set<string>();
  for (const [path, content] of payload) {
    await makeParents(generation, dirname(path), made, group);
    const file = join(generation, path);
    await writeFile(file, content.data, { mode: 0o600, flag: "wx" });
    if (content.uid !== undefined || group !== undefined)
      await chown(file, content.uid ?? UNCHANGED, group ?? UNCHANGED);
    // The mode given at creation is cut by the umask.
    await chmod(file, content.mode);
  }
  return basename(generation);
}

async function own(path: string, mode: number, group: number | undefined): Promise<void> {
  if (group !== undefined) await chown(path, UNCHANGED, group);
  await chmod(path, directoryMode(mode, group));
}

async function makeParents(
  generation: string,
  parent: string,
  made: Set<string>,
  group: number | undefined,
): Promise<void> {
  if (parent === "." || made.has(parent)) return;
  await makeParents(generation, dirname(parent), made, group);
  await mkdir(join(generation, parent));
  await own(join(generation, parent), DIRECTORY_MODE, group);
  made.add(parent);
}

async function swapData(directory: string, generation: string): Promise<void> {
  const next = join(directory, DATA_NEXT);
  await rm(next, { force: true });
  await symlink(generation, next);
  await rename(next, join(directory, DATA));
}

function visibleNames(payload: Payload): ReadonlySet<string> {
  return new Set([...payload.keys()].map((path) => path.split("/", 1)[0] ?? path));
}

async function linkVisibleNames(directory: string, payload: Payload): Promise<void> {
  for (const name of visibleNames(payload)) {
    const link = join(directory, name);
    const target = `${DATA}/${name}`;
    if ((await readLinkOrUndefined(link)) !== target) await symlink(target, link);
  }
}

async function removeStale(directory: string, payload: Payload, shown: string): Promise<void> {
  const visible = visibleNames(payload);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const { name } = entry;
    if (name === DATA || name === shown || visible.has(name)) continue;
    const path = join(directory, name);
    if (name.startsWith("..")) await rm(path, { recursive: true, force: true });
    // A directory was made there by a subPath that named what is not in the volume.
    else if (!entry.isDirectory()) await unlink(path);
  }
}
