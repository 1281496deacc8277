/** What there is of the machine beside its use: processors, processes, the Engine and the cgroup of all pods. */

import type { ReadText } from "./read-text.ts";
import { parseCgroupPaths, readUsage, type Usage } from "./usage.ts";

export interface Machine {
  readonly cores: number;
  readonly physicalCores: number;
  readonly sockets: number;
  readonly swapBytes: number;
  /** How many processes and threads there may be, and are. */
  readonly maxTasks: number | undefined;
  readonly tasks: number | undefined;
}

export function readMachine(read: ReadText): Machine {
  const cores = (read("/proc/stat") ?? "").match(/^cpu\d/gm)?.length ?? 0;
  const info = read("/proc/cpuinfo") ?? "";
  const sockets = new Set(info.match(/^physical id\s*: \d+$/gm));
  const blocks = info.split("\n\n").map((block) => ({
    socket: /^physical id\s*: (\d+)$/m.exec(block)?.[1],
    core: /^core id\s*: (\d+)$/m.exec(block)?.[1],
  }));
  const physical = new Set(
    blocks.flatMap(({ socket, core }) => (core === undefined ? [] : [`${socket}/${core}`])),
  );
  const number = (path: string): number => Number(read(path) ?? Number.NaN);
  const maxTasks = Math.min(
    number("/proc/sys/kernel/pid_max"),
    number("/proc/sys/kernel/threads-max"),
  );
  const tasks = /^\S+ \S+ \S+ \d+\/(\d+)/.exec(read("/proc/loadavg") ?? "")?.[1];
  return {
    cores,
    physicalCores: physical.size === 0 ? cores : physical.size,
    sockets: Math.max(1, sockets.size),
    swapBytes:
      Number(/^SwapTotal:\s+(\d+) kB$/m.exec(read("/proc/meminfo") ?? "")?.[1] ?? 0) * 1024,
    maxTasks: Number.isNaN(maxTasks) ? undefined : maxTasks,
    tasks: tasks === undefined ? undefined : Number(tasks),
  };
}

/** The cgroup of all pods, whichever driver made it; undefined where there is none. */
export function readPodsUsage(read: ReadText): Usage | undefined {
  const own = parseCgroupPaths(read("/proc/self/cgroup") ?? "");
  for (const name of ["/kubepods", "/kubepods.slice"]) {
    const usage = readUsage(new Map([...own.keys()].map((key) => [key, name])), read);
    if (usage !== undefined) return usage;
  }
  return undefined;
}

/** Of the Engine's daemon, where it has a cgroup of its own. */
export function readEngineUsage(read: ReadText): Usage | undefined {
  const pid = /^\d+/.exec(read("/run/docker.pid") ?? "")?.[0];
  if (pid === undefined) return undefined;
  const paths = parseCgroupPaths(read(`/proc/${pid}/cgroup`) ?? "");
  const path = paths.get("memory") ?? paths.get("") ?? "/";
  const own = parseCgroupPaths(read("/proc/self/cgroup") ?? "");
  if (path === "/" || path === (own.get("memory") ?? own.get(""))) return undefined;
  return readUsage(paths, read);
}
