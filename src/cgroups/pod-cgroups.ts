/**
 * The cgroups above those of containers: `kubepods` with what all pods may use, the two classes, one for each pod. The
 * Engine makes the containers' own inside a pod's. Where they cannot be made it says so once, and pods run without:
 * their containers' own limits still hold (D11). Called by pods/starter.ts before a sandbox, and by manager.ts, whose
 * periodical turn removes what is of no pod.
 */

import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { computeQosClass } from "../api/pod-resources.ts";
import type { Pod } from "../api/types.ts";
import type { Clock } from "../core/clock.ts";
import type { Exec } from "../core/exec.ts";
import type { Logger } from "../core/logger.ts";
import {
  BEST_EFFORT,
  BURSTABLE,
  type CgroupDriver,
  type CgroupName,
  cgroupPath,
  containerDirectory,
  engineParent,
  NODE_CGROUP,
  podCgroup,
  podUidOf,
} from "./names.ts";
import { SystemdSlices } from "./systemd.ts";
import { computeShares } from "./units.ts";
import {
  type CgroupFile,
  type CgroupValues,
  computeClassShares,
  computePodValues,
  type Limits,
  parseLimits,
  toFiles,
  widest,
} from "./values.ts";

/** What the containers of a pod are made with. */
export interface PodPlacement {
  /** As the Engine names it. */
  readonly cgroupParent?: string;
  /** Of each container, where the pod has no cgroup that could hold it. */
  readonly pidsLimit?: number;
}

export interface PodCgroupPort {
  /** Makes the pod's cgroup, or says what stands in for it. Never throws for what the host cannot do. */
  ensurePod(pod: Pod, signal: AbortSignal): Promise<PodPlacement>;
  /**
   * Gives the cgroup of a pod that runs what its resources are now; `grow` leaves limits that are wider already, which
   * its containers may still have. Throws what the host says.
   */
  resizePod(pod: Pod, how: "grow" | "exact", signal: AbortSignal): Promise<void>;
  /**
   * How often the kernel killed a process for want of memory in containers of the pod that have ended.
   * @param running IDs of its containers that run
   * @returns undefined where it cannot be told: on version 1 the count of a container goes with it
   */
  countOomKills(pod: Pod, running: readonly string[]): Promise<number | undefined>;
  /** Weighs the classes anew and removes the cgroups of pods that ended. */
  sync(signal: AbortSignal): Promise<void>;
}

export interface PodCgroupsOptions {
  /** Of the cgroup file systems, `/sys/fs/cgroup`. */
  readonly root: string;
  readonly driver: CgroupDriver;
  readonly version: 1 | 2;
  readonly exec: Exec;
  readonly log: Logger;
  /** Processes of each pod; undefined = unlimited. */
  readonly podPidsLimit: number | undefined;
  /** What all pods together may use; undefined = not known, nothing is limited. */
  readonly node: () => { readonly cpuMillis: number; readonly memoryBytes: number } | undefined;
  /** Pods that have not ended. */
  readonly pods: () => readonly Pod[];
  readonly clock: Clock;
  /** Told how long each took: create, update or destroy. */
  readonly onOperation: (operation: "create" | "update" | "destroy", seconds: number) => void;
}

/** What pods' cgroups are made in: the others follow when the Engine makes a container. */
const CONTROLLERS = ["cpu", "memory", "pids", "hugetlb"];
/** Of version 2: containers also need these, and get only what is passed down. */
const PASSED_DOWN = [...CONTROLLERS, "cpuset", "io"];

const MISSING: readonly unknown[] = ["ENOENT", "EACCES"];
const UNLIMITED = /^(-1|max|max \d+)$/;
const LIMIT_FILES = /^(cpu\.cfs_quota_us|cpu\.max|memory\.limit_in_bytes|memory\.max)$/;

const GONE: readonly unknown[] = ["ENOENT", "ENODEV"];
const TOLERATED: readonly unknown[] = ["EBUSY", "ENOENT", "ENOTEMPTY", "EROFS", "EPERM", "EACCES"];

export class PodCgroups implements PodCgroupPort {
  readonly #options: PodCgroupsOptions;
  readonly #slices: SystemdSlices;
  #isWarned = false;
  /** Whether what all pods may use is set, which does not change. */
  #isPrepared = false;

  constructor(options: PodCgroupsOptions) {
    this.#options = options;
    this.#slices = new SystemdSlices(options.exec, options.version);
  }

  async ensurePod(pod: Pod, signal: AbortSignal): Promise<PodPlacement> {
    const { driver, podPidsLimit } = this.#options;
    const name = podCgroup(pod.metadata.uid, computeQosClass(pod.spec));
    const isMade = await this.#attempt(signal, () =>
      this.#timed("create", async () => {
        await this.#ensureClasses(signal);
        await this.#ensure(name, computePodValues(pod.spec, podPidsLimit), signal);
      }),
    );
    if (isMade) return { cgroupParent: engineParent(driver, name) };
    return podPidsLimit === undefined ? {} : { pidsLimit: podPidsLimit };
  }

  async sync(signal: AbortSignal): Promise<void> {
    await this.#attempt(signal, async () => {
      await this.#timed("update", () => this.#ensureClasses(signal));
      await this.#timed("destroy", () => this.#collect(signal));
    });
  }

  async #timed(
    operation: "create" | "update" | "destroy",
    work: () => Promise<void>,
  ): Promise<void> {
    const { clock, onOperation } = this.#options;
    const startedAt = clock.monotonic();
    await work();
    onOperation(operation, (clock.monotonic() - startedAt) / 1000);
  }

  /** What the host cannot do is told once, and is no failure of a pod. */
  async #attempt(signal: AbortSignal, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (signal.aborted) throw error;
      const message =
        "cgroups of pods cannot be made: only the limits of single containers hold, and pods weigh by their number of containers";
      if (!this.#isWarned) this.#options.log.warn({ err: error }, message);
      this.#isWarned = true;
      return false;
    }
  }

  async resizePod(pod: Pod, how: "grow" | "exact", signal: AbortSignal): Promise<void> {
    const name = podCgroup(pod.metadata.uid, computeQosClass(pod.spec));
    const wanted = computePodValues(pod.spec, this.#options.podPidsLimit);
    const values = how === "exact" ? wanted : widest(wanted, await this.#readLimits(name));
    await this.#timed("update", () => this.#ensure(name, values, signal));
  }

  async countOomKills(pod: Pod, running: readonly string[]): Promise<number | undefined> {
    const { root, driver, version } = this.#options;
    if (version === 1) return undefined;
    const name = podCgroup(pod.metadata.uid, computeQosClass(pod.spec));
    const own = join(root, cgroupPath(driver, name));
    const directories = [own, ...running.map((id) => join(own, containerDirectory(driver, id)))];
    const counts = await Promise.all(directories.map(readOomKills));
    // One that ends meanwhile is looked at when it is known to have ended.
    if (counts.includes(undefined)) return undefined;
    const [all = 0, ...live] = counts as number[];
    return all - live.reduce((sum, count) => sum + count, 0);
  }

  async #collect(signal: AbortSignal): Promise<void> {
    const { driver } = this.#options;
    for (const above of [NODE_CGROUP, BURSTABLE, BEST_EFFORT]) {
      for (const directory of await this.#list(above)) {
        const uid = podUidOf(driver, directory);
        if (uid === undefined || this.#isLive(uid)) continue;
        const name = [...above, `pod${uid}`];
        // To stop a slice is to kill what runs in it, and not every pod may be known yet.
        if ((await this.#list(name)).length === 0) await this.#remove(name, signal);
      }
    }
  }

  #isLive(podUid: string): boolean {
    return this.#options.pods().some(({ metadata }) => metadata.uid === podUid);
  }

  async #ensureClasses(signal: AbortSignal): Promise<void> {
    const share = this.#isPrepared ? undefined : this.#options.node();
    if (share !== undefined) {
      const values = { cpuShares: computeShares(share.cpuMillis), memoryBytes: share.memoryBytes };
      await this.#ensure(NODE_CGROUP, values, signal);
      this.#isPrepared = true;
    }
    const specs = this.#options.pods().map(({ spec }) => spec);
    const burstable = computeClassShares(specs, "Burstable");
    await this.#ensure(BURSTABLE, { cpuShares: burstable }, signal);
    await this.#ensure(BEST_EFFORT, { cpuShares: computeShares(0) }, signal);
  }

  async #ensure(name: CgroupName, values: CgroupValues, signal: AbortSignal): Promise<void> {
    const { driver, version } = this.#options;
    const files = toFiles(version, values);
    if (driver === "cgroupfs") {
      for (const directory of await this.#mounts(CONTROLLERS))
        await mkdir(join(directory, cgroupPath(driver, name)), { recursive: true });
      if (version === 2) await this.#passDown(name);
      for (const file of files) await this.#write(name, file);
      return;
    }
    await this.#slices.ensure(engineParent(driver, name), values, signal);
    // systemd knows no huge pages.
    for (const file of files) {
      if (file.controller === "hugetlb") await this.#write(name, file);
    }
  }

  /** Directories of the hierarchies: one of version 2, one for each mounted controller of version 1. */
  async #mounts(controllers: readonly string[]): Promise<readonly string[]> {
    const { root, version } = this.#options;
    if (version === 2) return [root];
    const present = await readdir(root);
    return controllers
      .filter((controller) => present.includes(controller))
      .map((controller) => join(root, controller));
  }

  async #write(name: CgroupName, { controller, name: file, text }: CgroupFile): Promise<void> {
    const { root, driver, version } = this.#options;
    const directory = version === 2 ? root : join(root, controller);
    const path = join(directory, cgroupPath(driver, name), file);
    try {
      await writeFile(path, text);
    } catch (error) {
      // A kernel without this controller says either; no limit holds without it too.
      const isMissing = MISSING.includes((error as NodeJS.ErrnoException).code);
      if (!isMissing || !(controller === "hugetlb" || UNLIMITED.test(text))) throw error;
    }
  }

  async #readLimits(name: CgroupName): Promise<Limits> {
    const { root, driver, version } = this.#options;
    const files = toFiles(version, { cpuShares: 0 });
    const texts = new Map<string, string>();
    for (const { controller, name: file } of files.filter((one) => LIMIT_FILES.test(one.name))) {
      const directory = version === 2 ? root : join(root, controller);
      const text = await readFile(join(directory, cgroupPath(driver, name), file), "utf8");
      texts.set(controller, text.trim());
    }
    return parseLimits(texts.get("cpu") ?? "", texts.get("memory") ?? "");
  }

  /** A cgroup of version 2 has the controllers that each one above it passes down. */
  async #passDown(name: CgroupName): Promise<void> {
    const { root, driver } = this.#options;
    for (let depth = 0; depth <= name.length; depth++) {
      const directory = join(root, cgroupPath(driver, name.slice(0, depth)));
      const available = (await readFile(join(directory, "cgroup.controllers"), "utf8")).trim();
      const wanted = available.split(" ").filter((word) => PASSED_DOWN.includes(word));
      const text = wanted.map((word) => `+${word}`).join(" ");
      if (text !== "") await writeFile(join(directory, "cgroup.subtree_control"), text);
    }
  }

  /** The cgroups right below one. */
  async #list(name: CgroupName): Promise<readonly string[]> {
    const { driver, root } = this.#options;
    const [first = root] = await this.#mounts(["cpu"]);
    const entries = await readdir(join(first, cgroupPath(driver, name)), { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  }

  async #remove(name: CgroupName, signal: AbortSignal): Promise<void> {
    const { driver, root, version } = this.#options;
    if (driver === "systemd") await this.#slices.stop(engineParent(driver, name), signal);
    const mounts =
      version === 2 ? [root] : (await readdir(root)).map((controller) => join(root, controller));
    for (const directory of mounts) {
      try {
        await rmdir(join(directory, cgroupPath(driver, name)));
      } catch (error) {
        // Still in use, or gone: the next turn looks again.
        if (!TOLERATED.includes((error as NodeJS.ErrnoException).code)) throw error;
      }
    }
  }
}

/** Of a cgroup of version 2, everything below it included; undefined when it is gone. */
async function readOomKills(directory: string): Promise<number | undefined> {
  try {
    const text = await readFile(join(directory, "memory.events"), "utf8");
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  } catch (error) {
    if (!GONE.includes((error as NodeJS.ErrnoException).code)) throw error;
    return undefined;
  }
}
