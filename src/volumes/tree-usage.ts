/**
 * What a tree on disk takes, as du counts it: blocks, each file once whatever its links, nothing of other file systems.
 * Follows no link and holds a descriptor of each directory it is in, since containers rename things meanwhile; pauses
 * now and then, so that a huge tree costs time and not the machine. Used by usage.ts.
 */

import { constants } from "node:fs";
import { type FileHandle, lstat, open, opendir } from "node:fs/promises";
import { sleep } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";

export interface TreeUsage {
  readonly usedBytes: number;
  readonly inodesUsed: number;
}

interface Walk {
  readonly device: number;
  readonly seen: Set<string>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  usedBytes: number;
  inodesUsed: number;
}

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** What is deeper is not counted: a descriptor is held for each level. */
const MAX_DEPTH = 200;
const ENTRIES_AT_ONCE = 2_000;
const PAUSE_MS = 50;
const BLOCK = 512;

/** Rejects with Aborted when it is given up, and with the error of the root when that cannot be read. */
export async function measureTree(
  root: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<TreeUsage> {
  const top = await open(root, DIRECTORY);
  try {
    const { dev: device, blocks } = await top.stat();
    const walk = { device, seen: new Set<string>(), clock, signal };
    const counted: Walk = { ...walk, usedBytes: blocks * BLOCK, inodesUsed: 1 };
    await countBelow(top, counted, 0);
    return { usedBytes: counted.usedBytes, inodesUsed: counted.inodesUsed };
  } finally {
    await top.close();
  }
}

async function countBelow(directory: FileHandle, walk: Walk, depth: number): Promise<void> {
  const here = `/proc/self/fd/${directory.fd}`;
  for await (const { name } of await opendir(here)) {
    const path = `${here}/${name}`;
    const stats = await lstat(path).catch(moved);
    if (stats === undefined || stats.dev !== walk.device) continue;
    if (stats.nlink > 1 && !stats.isDirectory()) {
      if (walk.seen.has(String(stats.ino))) continue;
      walk.seen.add(String(stats.ino));
    }
    walk.usedBytes += stats.blocks * BLOCK;
    walk.inodesUsed++;
    if (walk.inodesUsed % ENTRIES_AT_ONCE === 0) await sleep(walk.clock, PAUSE_MS, walk.signal);
    if (!stats.isDirectory() || depth >= MAX_DEPTH) continue;
    const below = await open(path, DIRECTORY).catch(moved);
    try {
      if (below !== undefined) await countBelow(below, walk, depth + 1);
    } finally {
      await below?.close();
    }
  }
}

/** Somebody took it away or put something else there since it was listed. */
function moved(error: NodeJS.ErrnoException): undefined {
  if (!["ENOENT", "ENOTDIR", "ELOOP"].includes(error.code ?? "")) throw error;
  return undefined;
}
