/**
 * One look at what the node and its pods use, taken when somebody asks and kept for a second: nobody asks, nothing is
 * read. The look before gives the rate of the processors. Cgroups are found by the processes of the containers; a
 * process that is not in its container's cgroup any more is somebody else's and left out. Used by kubelet-server.ts.
 */

import { readdirSync, readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import type { Clock } from "../../core/clock.ts";
import type { PodDirectory, PodView } from "../../pods/directory.ts";
import type { Container, ContainerUsage } from "../../runtime/runtime.ts";
import { type Machine, readEngineUsage, readMachine, readPodsUsage } from "./machine.ts";
import type { ReadText } from "./read-text.ts";
import {
  type InterfaceUsage,
  parseCgroupPaths,
  parseInterfaces,
  readNodeUsage,
  readUsage,
  type Usage,
} from "./usage.ts";

export interface Measured {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly usage: Usage;
  /** Of the time since the look before, where there was one. */
  readonly nanoCores?: number;
}

/** Of a container: its writable layer and its logs. */
export interface ContainerDisk extends ContainerUsage {
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface ContainerStats extends Measured {
  readonly container: Container;
  /** Where it was asked for, and is known. */
  readonly disk?: ContainerDisk;
  readonly cgroup: string;
}

export interface PodStats {
  readonly view: PodView;
  /** Of the pod's cgroup, else the sum of its containers. */
  readonly total: Measured | undefined;
  readonly cgroup: string;
  readonly containers: readonly ContainerStats[];
  readonly interfaces: readonly InterfaceUsage[];
  readonly volumes: readonly VolumeStats[];
}

export interface FsStats {
  readonly availableBytes: number;
  readonly capacityBytes: number;
  readonly usedBytes: number;
  readonly inodesFree: number;
  readonly inodes: number;
  readonly inodesUsed: number;
}

/** Of a volume of a pod. */
export interface VolumeStats extends FsStats {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** The PersistentVolumeClaim it is of. */
  readonly claim?: string;
}

export interface NodeStats {
  readonly at: number;
  readonly node: Measured | undefined;
  /** Of the agent. */
  readonly kubelet: Measured | undefined;
  /** Of all pods, and of the Engine, where they have cgroups. */
  readonly podsTotal: Measured | undefined;
  readonly engine: Measured | undefined;
  readonly bootedAt: number;
  readonly machine: Machine;
  readonly interfaces: readonly InterfaceUsage[];
  readonly fs: FsStats | undefined;
  /** Where the Engine keeps images, layers and logs. */
  readonly engineFs: FsStats | undefined;
  readonly pods: readonly PodStats[];
}

const FRESH_MS = 1_000;

export class StatsCollector {
  readonly #pods: PodDirectory;
  readonly #clock: Clock;
  readonly #rootDir: string;
  readonly #volumeUsage: (podUid: string) => Promise<readonly VolumeStats[]>;
  readonly #engineDir: () => Promise<string | undefined>;
  readonly #read: ReadText;
  #last:
    | { readonly asked: number; readonly isBrief: boolean; readonly stats: Promise<NodeStats> }
    | undefined;
  /** Processor time by what was measured. */
  #before = new Map<string, { readonly at: number; readonly cpuNanos: number }>();
  #now = new Map<string, { readonly at: number; readonly cpuNanos: number }>();

  constructor(options: {
    readonly pods: PodDirectory;
    readonly clock: Clock;
    readonly rootDir: string;
    readonly volumeUsage: (podUid: string) => Promise<readonly VolumeStats[]>;
    /** Undefined while the Engine cannot be asked. */
    readonly engineDir: () => Promise<string | undefined>;
    readonly read?: ReadText;
  }) {
    this.#pods = options.pods;
    this.#clock = options.clock;
    this.#rootDir = options.rootDir;
    this.#volumeUsage = options.volumeUsage;
    this.#engineDir = options.engineDir;
    this.#read = options.read ?? readText;
  }

  /** @param isBrief processor and memory of the containers are enough, which costs less. */
  collect(isBrief = false): Promise<NodeStats> {
    const asked = this.#clock.monotonic();
    const last = this.#last;
    const isFresh = last !== undefined && asked - last.asked < FRESH_MS;
    if (isFresh && (isBrief || !last.isBrief)) return last.stats;
    const stats = this.#collect(isBrief);
    this.#last = { asked, isBrief, stats };
    return stats;
  }

  /** The agent's own process, for process_* metrics. */
  readProcess(): {
    readonly processStat: string | undefined;
    readonly bootedAt: number;
    readonly openFiles: number | undefined;
    readonly maxFiles: number | undefined;
  } {
    const limit = /^Max open files +(\d+)/m.exec(this.#read("/proc/self/limits") ?? "")?.[1];
    const booted = /^btime (\d+)$/m.exec(this.#read("/proc/stat") ?? "")?.[1];
    return {
      processStat: this.#read("/proc/self/stat"),
      bootedAt: Number(booted ?? 0) * 1000,
      openFiles: countOpenFiles(),
      maxFiles: limit === undefined ? undefined : Number(limit),
    };
  }

  async #collect(isBrief: boolean): Promise<NodeStats> {
    this.#before = this.#now;
    this.#now = new Map();
    const views = this.#pods.list();
    const volumes = await Promise.all(views.map(({ pod }) => this.#volumeUsage(pod.metadata.uid)));
    const pods = views.map((view, index) => this.#collectPod(view, volumes[index] ?? [], isBrief));
    const stat = this.#read("/proc/stat") ?? "";
    const engineDir = await this.#engineDir();
    return {
      at: this.#clock.now(),
      node: this.#measure("node", readNodeUsage(this.#read)),
      kubelet: this.#measure("kubelet", this.#usageOf("self")?.usage),
      bootedAt: Number(/^btime (\d+)$/m.exec(stat)?.[1] ?? 0) * 1000,
      podsTotal: this.#measure("pods", readPodsUsage(this.#read)),
      engine: this.#measure("runtime", readEngineUsage(this.#read)),
      machine: readMachine(this.#read),
      interfaces: parseInterfaces(this.#read("/proc/self/net/dev") ?? ""),
      fs: await readFs(this.#rootDir),
      engineFs: engineDir === undefined ? undefined : await readFs(engineDir),
      pods,
    };
  }

  #collectPod(view: PodView, volumes: readonly VolumeStats[], isBrief: boolean): PodStats {
    const containers: ContainerStats[] = [];
    let parent: ReadonlyMap<string, string> | undefined;
    const running = view.containers.filter(({ state, pid }) => state === "running" && pid > 0);
    for (const container of running) {
      const found = this.#usageOf(container.pid, isBrief);
      if (found === undefined || !found.cgroup.includes(container.id)) continue;
      const measured = this.#measure(container.id, found.usage);
      if (measured === undefined) continue;
      containers.push({ ...measured, container, cgroup: found.cgroup });
      parent ??= parentOf(found.paths, view.pod.metadata.uid);
    }
    const first = running.find(({ id }) => containers.some((one) => one.container.id === id));
    const { uid } = view.pod.metadata;
    const own = parent === undefined ? undefined : readUsage(parent, this.#read, isBrief);
    return {
      ...{ view, containers, volumes },
      cgroup: parent?.get("memory") ?? parent?.get("") ?? "",
      total: this.#measure(uid, own ?? sum(containers.map(({ usage }) => usage))),
      interfaces:
        first === undefined || view.pod.spec.hostNetwork === true
          ? []
          : parseInterfaces(this.#read(`/proc/${first.pid}/net/dev`) ?? ""),
    };
  }

  #usageOf(pid: number | "self", isBrief = false) {
    const paths = parseCgroupPaths(this.#read(`/proc/${pid}/cgroup`) ?? "");
    const usage = readUsage(paths, this.#read, isBrief);
    const cgroup = paths.get("memory") ?? paths.get("") ?? "";
    return usage === undefined ? undefined : { usage, cgroup, paths };
  }

  #measure(key: string, usage: Usage | undefined): Measured | undefined {
    if (usage === undefined) return undefined;
    const at = this.#clock.now();
    const { cpuNanos } = usage;
    this.#now.set(key, { at, cpuNanos });
    const before = this.#before.get(key);
    if (before === undefined || at <= before.at || cpuNanos < before.cpuNanos) return { at, usage };
    const nanoCores = Math.round(((cpuNanos - before.cpuNanos) / (at - before.at)) * 1000);
    return { at, usage, nanoCores };
  }
}

/** The pod's cgroup is above its containers', where the agent has made one. */
function parentOf(
  paths: ReadonlyMap<string, string>,
  uid: string,
): ReadonlyMap<string, string> | undefined {
  const parents = [...paths].map(([name, path]) => [name, path.replace(/\/[^/]*$/, "")] as const);
  const path = paths.get("memory") ?? paths.get("") ?? "";
  const isPods = [uid, uid.replaceAll("-", "_")].some((name) => path.includes(`pod${name}`));
  return isPods ? new Map(parents) : undefined;
}

/** What several containers do not have together. */
const NO_SUM = /^(cpuShares|cpuPeriodMicros|cpuQuotaMicros|maxMemoryBytes)$/;

function sum(usages: readonly Usage[]): Usage | undefined {
  const [first, ...rest] = usages;
  if (first === undefined) return undefined;
  const total: Record<string, number> = {};
  for (const usage of [first, ...rest])
    for (const [name, value] of Object.entries(usage))
      if (typeof value === "number" && !NO_SUM.test(name)) total[name] = (total[name] ?? 0) + value;
  return total as unknown as Usage;
}

function countOpenFiles(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Of a container that ended meanwhile, or a file that this kernel lacks.
    return undefined;
  }
}

async function readFs(path: string): Promise<FsStats | undefined> {
  try {
    const { bsize, blocks, bavail, bfree, files, ffree } = await statfs(path);
    return {
      ...{ availableBytes: bavail * bsize, capacityBytes: blocks * bsize },
      ...{ usedBytes: (blocks - bfree) * bsize, inodesFree: ffree, inodes: files },
      inodesUsed: files - ffree,
    };
  } catch {
    return undefined;
  }
}
