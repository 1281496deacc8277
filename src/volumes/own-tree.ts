/**
 * Gives a tree to a group, as the kubelet does for fsGroup: the group of everything, the modes of files and directories.
 * Walks by descriptors and follows no link, since containers may be at work in it. Called by apply.ts for local
 * volumes; those of the pod's own belong to the group from their making.
 */

import { constants } from "node:fs";
import { chmod, chown, type FileHandle, lchown, open, opendir } from "node:fs/promises";
import { ownedMode } from "./ownership.ts";
import { checkNotAborted } from "./remove-tree.ts";

const O_PATH = 0o10000000;
/** For chown(2). */
const UNCHANGED = -1;

export async function ownTree(root: string, group: number, signal: AbortSignal): Promise<void> {
  const top = await open(root, O_PATH | constants.O_DIRECTORY);
  try {
    await ownBelow(top, group, signal);
    // Last: what the root's group is tells whether it was done.
    await ownOne(top, group);
  } finally {
    await top.close();
  }
}

async function ownBelow(directory: FileHandle, group: number, signal: AbortSignal): Promise<void> {
  const here = `/proc/self/fd/${directory.fd}`;
  for await (const { name } of await opendir(here)) {
    checkNotAborted(signal);
    const entry = await openEntry(`${here}/${name}`);
    if (entry === undefined) continue;
    try {
      const stats = await entry.stat();
      if (stats.isSymbolicLink()) await lchown(`${here}/${name}`, UNCHANGED, group).catch(gone);
      else {
        if (stats.isDirectory()) await ownBelow(entry, group, signal);
        await ownOne(entry, group);
      }
    } finally {
      await entry.close();
    }
  }
}

/** Through the descriptor, which is of no link. */
async function ownOne(entry: FileHandle, group: number): Promise<void> {
  const path = `/proc/self/fd/${entry.fd}`;
  const stats = await entry.stat();
  await chown(path, UNCHANGED, group);
  await chmod(path, ownedMode(stats.mode & 0o7777, stats.isDirectory()));
}

async function openEntry(path: string): Promise<FileHandle | undefined> {
  return open(path, O_PATH | constants.O_NOFOLLOW).catch(gone);
}

function gone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
  return undefined;
}
