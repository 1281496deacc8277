/**
 * What the volumes of pods use. Asking never walks a tree: a volume with a file system of its own is asked for its
 * totals, of the others the last measurement is told, and one that is older than volumeStatsAggPeriod (a minute) is made anew behind, one tree
 * at a time. Kept by volume-manager.ts, whose `usage` the server's statistics and the eviction read.
 */

import { statfs } from "node:fs/promises";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { DesiredVolume } from "./plan.ts";
import { measureTree, type TreeUsage } from "./tree-usage.ts";

export interface VolumeUsage extends TreeUsage {
  readonly name: string;
  readonly claim?: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly capacityBytes: number;
  readonly availableBytes: number;
  readonly inodes: number;
  readonly inodesFree: number;
}

export interface Measurable {
  readonly name: string;
  readonly path: string;
  readonly how: "file-system" | "tree";
  /** The PersistentVolumeClaim that it is of. */
  readonly claim?: string;
}

/** undefined for what is the host's, which upstream does not measure either. */
export function measurableOf(desired: DesiredVolume): Measurable | undefined {
  const { name, path, kind } = desired;
  if (kind === "host-path") return undefined;
  const isOwn = kind === "memory" || (kind === "files" && desired.onTmpfs);
  return { name, path, how: isOwn ? "file-system" : "tree" };
}

interface Tree {
  readonly startedAt: number;
  readonly usage?: TreeUsage & { readonly at: number };
}

export class VolumeUsages {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #periodMs: number | undefined;
  readonly #pods = new Map<string, readonly Measurable[]>();
  readonly #trees = new Map<string, Tree>();
  readonly #stopping = new AbortController();
  #walking: Promise<void> = Promise.resolve();

  constructor(options: {
    readonly clock: Clock;
    readonly log: Logger;
    /** How old a measurement may be; undefined = none is made. */
    readonly statsPeriodMs?: number | undefined;
  }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#periodMs = options.statsPeriodMs;
  }

  set(podUid: string, volumes: readonly Measurable[]): void {
    this.#pods.set(podUid, volumes);
  }

  forget(podUid: string): void {
    for (const { path } of this.#pods.get(podUid) ?? []) this.#trees.delete(path);
    this.#pods.delete(podUid);
  }

  /** Those of the pod's volumes that are known; a tree is from its first measurement on. */
  async read(podUid: string): Promise<readonly VolumeUsage[]> {
    const volumes = this.#periodMs === undefined ? [] : (this.#pods.get(podUid) ?? []);
    const read = await Promise.all(volumes.map((volume) => this.#readOne(volume)));
    return read.filter((usage) => usage !== undefined);
  }

  /** Ends what is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#walking;
  }

  async #readOne({ name, path, how, claim }: Measurable): Promise<VolumeUsage | undefined> {
    const tree = how === "tree" ? this.#lastOf(path) : undefined;
    if (how === "tree" && tree === undefined) return undefined;
    // Its pod may have gone meanwhile.
    const totals = await statfs(path).catch(() => undefined);
    if (totals === undefined) return undefined;
    const { bsize, blocks, bavail, bfree, files, ffree } = totals;
    return {
      name,
      ...(claim === undefined ? {} : { claim }),
      at: tree?.at ?? this.#clock.now(),
      capacityBytes: blocks * bsize,
      availableBytes: bavail * bsize,
      usedBytes: tree?.usedBytes ?? (blocks - bfree) * bsize,
      inodes: files,
      inodesFree: ffree,
      inodesUsed: tree?.inodesUsed ?? files - ffree,
    };
  }

  #lastOf(path: string): (TreeUsage & { readonly at: number }) | undefined {
    const known = this.#trees.get(path);
    const now = this.#clock.monotonic();
    if (known === undefined || now - known.startedAt >= (this.#periodMs ?? 0)) {
      this.#trees.set(path, { ...known, startedAt: now });
      this.#walking = this.#walking.then(() => this.#measure(path, now));
    }
    return known?.usage;
  }

  /** Never rejects. */
  async #measure(path: string, startedAt: number): Promise<void> {
    const { signal } = this.#stopping;
    // Of a pod that has gone since.
    if (signal.aborted || !this.#trees.has(path)) return;
    try {
      const usage = await measureTree(path, this.#clock, signal);
      if (this.#trees.has(path))
        this.#trees.set(path, { startedAt, usage: { ...usage, at: this.#clock.now() } });
    } catch (error) {
      if (!signal.aborted) this.#log.debug({ path, why: messageOf(error) }, "volume not measured");
    }
  }
}
