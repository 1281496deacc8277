/**
 * Kills a command that runs in a container, and what it started, through /proc: the Engine's API has no way to.
 * Promises to touch nothing but the container's own: without sight of the Engine's PIDs (an agent in a PID namespace
 * of its own) the number may be anybody's. Called by exec.ts.
 */

import { readdir, readFile } from "node:fs/promises";

/** core/kill-process, or a test's. False when there is no such process any more. */
export type KillProcess = (pid: number) => boolean;

export interface CommandProcess {
  /** As the Engine tells it, in its PID namespace. */
  readonly pid: number;
  readonly containerId: string;
}

export async function killTree(
  command: CommandProcess,
  kill: KillProcess,
  proc = "/proc",
): Promise<"killed" | "not-visible"> {
  const cgroup = await readIfThere(`${proc}/${command.pid}/cgroup`);
  if (!cgroup?.includes(command.containerId)) return "not-visible";
  const doomed = new Set([command.pid]);
  const parents = await readParents(proc);
  for (let size = 0; size !== doomed.size; ) {
    size = doomed.size;
    for (const [child, parent] of parents) if (doomed.has(parent)) doomed.add(child);
  }
  // Parents first, so that none of them notices and starts another.
  for (const pid of doomed) kill(pid);
  return "killed";
}

async function readParents(proc: string): Promise<ReadonlyMap<number, number>> {
  const pids = (await readdir(proc)).filter((entry) => /^\d+$/.test(entry));
  const parents = new Map<number, number>();
  for (const pid of pids) {
    const stat = await readIfThere(`${proc}/${pid}/stat`);
    if (stat !== undefined) parents.set(Number(pid), parseParent(stat));
  }
  return parents;
}

/** Field 4 of /proc/<pid>/stat. The name before it may hold spaces and brackets. Exported for its test. */
export function parseParent(stat: string): number {
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}
