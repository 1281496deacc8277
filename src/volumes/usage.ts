/**
 * What the volumes of pods use. Asking never walks a tree: a volume with a file system of its own is asked for its
 * totals, of the others the last measurement is told, and one that is older than volumeStatsAggPeriod (a minute) is
 * made anew behind, one tree and one file server at a time. Kept by volume-manager.ts, whose `usage` the server's
 * statistics and the eviction read.
 */

import { statfs } from "node:fs/promises";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { ClaimedVolume } from "./claims.ts";
import type { DesiredVolume } from "./plan.ts";
import type { FileSystemTotals, RemoteMounts } from "./remote-mounts.ts";
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
  /** `remote`: a file system whose server may not answer. */
  readonly how: "file-system" | "tree" | "remote";
  /** The PersistentVolumeClaim that it is of. */
  readonly claim?: string;
}

/**
 * undefined for what is the host's, which upstream does not measure either.
 * @param isRemote whether it lies on a mount of a file server's
 */
export function measurableOf(
  desired: DesiredVolume,
  claimed: ClaimedVolume | undefined,
  isRemote: boolean,
): Measurable | undefined {
  const { name, path, kind } = desired;
  const ofClaim = claimed === undefined ? {} : { claim: claimed.claim };
  if (kind === "nfs") return { name, path, how: "remote", ...ofClaim };
  if (kind === "host-path") {
    const isLocal = claimed?.kind === "host" && claimed.isOwned;
    const how = isRemote ? "remote" : "file-system";
    return isLocal ? { name, path, how, ...ofClaim } : undefined;
  }
  const isOwn = kind === "memory" || (kind === "files" && desired.onTmpfs);
  return { name, path, how: isOwn ? "file-system" : "tree" };
}

interface Measured {
  readonly at: number;
  /** Absent for a file system: all that is used in it. */
  readonly tree?: TreeUsage;
  /** Absent for a tree: they are read when it is asked for. */
  readonly totals?: FileSystemTotals;
}

interface Measurement {
  /** Monotonic milliseconds; undefined while it waits or goes on. */
  readonly endedAt: number | undefined;
  readonly last?: Measured;
}

type Remote = Pick<RemoteMounts, "totals">;

export class VolumeUsages {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #remote: Remote;
  readonly #periodMs: number | undefined;
  readonly #pods = new Map<string, readonly Measurable[]>();
  readonly #measurements = new Map<string, Measurement>();
  readonly #stopping = new AbortController();
  readonly #busy = { tree: Promise.resolve(), remote: Promise.resolve() };

  constructor(options: {
    readonly clock: Clock;
    readonly log: Logger;
    readonly remote: Remote;
    /** How old a measurement may be; undefined = none is made. */
    readonly statsPeriodMs?: number | undefined;
  }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#remote = options.remote;
    this.#periodMs = options.statsPeriodMs;
  }

  set(podUid: string, volumes: readonly Measurable[]): void {
    this.#pods.set(podUid, volumes);
  }

  forget(podUid: string): void {
    for (const { path } of this.#pods.get(podUid) ?? []) this.#measurements.delete(path);
    this.#pods.delete(podUid);
  }

  /** Those of the pod's volumes that are known; what has to be measured is from the first time on. */
  async read(podUid: string): Promise<readonly VolumeUsage[]> {
    const volumes = this.#periodMs === undefined ? [] : (this.#pods.get(podUid) ?? []);
    const read = await Promise.all(volumes.map((volume) => this.#readOne(volume)));
    return read.filter((usage) => usage !== undefined);
  }

  /** Ends what is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([this.#busy.tree, this.#busy.remote]);
  }

  async #readOne({ name, path, how, claim }: Measurable): Promise<VolumeUsage | undefined> {
    const measured = how === "file-system" ? { at: this.#clock.now() } : this.#lastOf(path, how);
    if (measured === undefined) return undefined;
    const { at, tree } = measured;
    // Its pod may have gone meanwhile.
    const totals = measured.totals ?? (await statfs(path).catch(() => undefined));
    if (totals === undefined) return undefined;
    const { bsize, blocks, bavail, bfree, files, ffree } = totals;
    return {
      name,
      ...(claim === undefined ? {} : { claim }),
      at,
      capacityBytes: blocks * bsize,
      availableBytes: bavail * bsize,
      usedBytes: tree?.usedBytes ?? (blocks - bfree) * bsize,
      inodes: files,
      inodesFree: ffree,
      inodesUsed: tree?.inodesUsed ?? files - ffree,
    };
  }

  #lastOf(path: string, how: "tree" | "remote"): Measured | undefined {
    const known = this.#measurements.get(path);
    const now = this.#clock.monotonic();
    const { endedAt } = known ?? { endedAt: Number.NEGATIVE_INFINITY };
    // Where all together take longer than the period, none waits twice.
    if (endedAt !== undefined && now - endedAt >= (this.#periodMs ?? 0)) {
      this.#measurements.set(path, { ...known, endedAt: undefined });
      this.#busy[how] = this.#busy[how].then(() => this.#measure(path, how));
    }
    return known?.last;
  }

  /** Never rejects. */
  async #measure(path: string, how: "tree" | "remote"): Promise<void> {
    const { signal } = this.#stopping;
    // Of a pod that has gone since.
    if (signal.aborted || !this.#measurements.has(path)) return;
    let measured: { readonly last?: Measured } = {};
    try {
      const found =
        how === "tree"
          ? { tree: await measureTree(path, this.#clock, signal) }
          : { totals: await this.#remote.totals(path, signal) };
      measured = { last: { ...found, at: this.#clock.now() } };
    } catch (error) {
      if (!signal.aborted) this.#log.debug({ path, why: messageOf(error) }, "volume not measured");
    }
    const known = this.#measurements.get(path);
    if (known === undefined) return;
    this.#measurements.set(path, { ...known, ...measured, endedAt: this.#clock.monotonic() });
  }
}
