/** Removes the cgroups of pods that nothing runs in, of either version and driver. Called by `longshore cleanup`. */

import { readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";

const TREES: readonly string[] = ["kubepods", "kubepods.slice"];
const STAYS: readonly unknown[] = ["EBUSY", "ENOTEMPTY"];

/** @param root of the cgroup file systems, `/sys/fs/cgroup`. What another agent's processes are in stays. */
export async function removeCgroups(root: string): Promise<void> {
  for (const entry of await readdir(root, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    if (TREES.includes(entry.name)) await removeEmpty(join(root, entry.name));
    else
      for (const tree of TREES) {
        const names = await readdir(join(root, entry.name));
        if (names.includes(tree)) await removeEmpty(join(root, entry.name, tree));
      }
  }
}

async function removeEmpty(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeEmpty(join(directory, entry.name));
  }
  try {
    await rmdir(directory);
  } catch (error) {
    if (!STAYS.includes((error as NodeJS.ErrnoException).code)) throw error;
  }
}
