/**
 * What is there: types of directory entries and the mount table. Reads only, and does not follow links below the
 * pod's directory. The input of plan.ts, gathered anew in each turn.
 */

import type { Stats } from "node:fs";
import { lstat, readFile, stat } from "node:fs/promises";
import { type MountEntry, parseMountinfo } from "./mountinfo.ts";
import type { DesiredVolume, EntryKind, ObservedVolume } from "./plan.ts";

export async function readMounts(): Promise<readonly MountEntry[]> {
  return parseMountinfo(await readFile("/proc/self/mountinfo", "utf8"));
}

function isAbsence(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOENT" || code === "ENOTDIR";
}

function kindOf(stats: Stats): EntryKind {
  if (stats.isDirectory()) return "directory";
  if (stats.isFile()) return "file";
  if (stats.isSocket()) return "socket";
  if (stats.isCharacterDevice()) return "char-device";
  if (stats.isBlockDevice()) return "block-device";
  return "other";
}

export async function readEntry(path: string, follow: boolean): Promise<EntryKind> {
  try {
    return kindOf(await (follow ? stat(path) : lstat(path)));
  } catch (error) {
    if (isAbsence(error)) return "absent";
    throw error;
  }
}

export async function observeVolume(
  desired: DesiredVolume,
  mounts: readonly MountEntry[],
  contentHash: string | undefined,
): Promise<ObservedVolume> {
  const mount = mounts.findLast(({ mountPoint }) => mountPoint === desired.path);
  // Looking at it may wait for its server.
  if (mount !== undefined && desired.kind === "nfs") return { entry: "directory", mount };
  const entry = await readEntry(desired.path, desired.kind === "host-path");
  const isGiven = desired.kind === "host-path" && desired.group !== undefined && entry !== "absent";
  const stats = isGiven ? await stat(desired.path) : undefined;
  return {
    entry,
    ...(mount === undefined ? {} : { mount }),
    ...(stats === undefined ? {} : { root: { gid: stats.gid, mode: stats.mode & 0o7777 } }),
    ...(contentHash === undefined ? {} : { contentHash }),
  };
}
