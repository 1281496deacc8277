/**
 * What is to be done for all pods of the node together, apart from their workers: take on what only the runtime still
 * knows, keep the QoS cgroups, save the checkpoint. Each is a key of one queue, so that none runs twice at once. Owned by
 * manager.ts, which says when one is due.
 */

import type { Pod } from "../api/types.ts";
import { jitteredDelay } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import { WorkQueue } from "../core/workqueue.ts";
import type { PodNetwork } from "../network/network.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { PodVolumes } from "../volumes/volumes.ts";
import { type CheckpointPort, computeCheckpoint, EMPTY_CHECKPOINT } from "./checkpoint.ts";
import type { PodFeed } from "./feed.ts";
import { findOrphans } from "./orphans.ts";
import type { PodRecord } from "./record.ts";

export interface ChoresOptions {
  readonly records: ReadonlyMap<string, PodRecord>;
  /** A pod of which there is no object any more. */
  readonly onOrphan: (pod: Pod) => void;
  readonly checkpoint: CheckpointPort;
  readonly pods: PodFeed;
  readonly runtime: Pick<Runtime, "list">;
  readonly network: Pick<PodNetwork, "collect"> & { readonly isReady: boolean };
  readonly volumes: Pick<PodVolumes, "listPodUids">;
  readonly cgroups: { sync(signal: AbortSignal): Promise<void> };
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

type Chore = "orphans" | "checkpoint" | "cgroups";

const PERIOD_MS = 60_000;
const SYNC_POLL_MS = 1_000;
/** Several pods that start or end together need a chore once. */
const DELAY_MS = { orphans: 0, checkpoint: 200, cgroups: 1_000 } as const;
const RETRY = { initialMs: 500, maxMs: 10_000 };

export class Chores {
  readonly #options: ChoresOptions;
  readonly #queue: WorkQueue;
  readonly #failures = new Map<string, number>();
  #restored = EMPTY_CHECKPOINT;

  constructor(options: ChoresOptions) {
    this.#options = options;
    const { clock, random, log } = options;
    const work = {
      orphans: (signal: AbortSignal) => this.#takeOrphans(signal),
      cgroups: async (signal: AbortSignal) => {
        await options.cgroups.sync(signal);
        return PERIOD_MS;
      },
      checkpoint: async () => {
        await this.saveCheckpoint();
        return undefined;
      },
    };
    this.#queue = new WorkQueue({
      clock,
      concurrency: Object.keys(work).length,
      handle: async (key, signal) => {
        const again = await work[key as Chore](signal);
        this.#failures.delete(key);
        return again;
      },
      onError: (key, error) => {
        const attempt = this.#failures.get(key) ?? 0;
        this.#failures.set(key, attempt + 1);
        log.warn({ chore: key, attempt, err: error }, "a chore failed; it will be tried again");
        return jitteredDelay(attempt, RETRY, random);
      },
    });
  }

  /** What the agent before this one remembered. */
  async restore(): Promise<typeof EMPTY_CHECKPOINT> {
    this.#restored = await this.#options.checkpoint.load();
    return this.#restored;
  }

  start(): void {
    this.due("orphans");
    this.due("cgroups");
  }

  due(chore: Chore): void {
    this.#queue.add(chore, DELAY_MS[chore]);
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
    await this.saveCheckpoint();
  }

  /** What was restored counts until it is known which pods still exist. */
  saveCheckpoint(): Promise<void> {
    const { checkpoint, pods, records } = this.#options;
    const before = pods.isSynced ? EMPTY_CHECKPOINT : this.#restored;
    return checkpoint.save(computeCheckpoint(records.values(), before));
  }

  /** Pods that only the runtime or the state directory still know; only certain once the sources are. */
  async #takeOrphans(signal: AbortSignal): Promise<number> {
    const { pods, runtime, volumes, network, records, onOrphan } = this.#options;
    if (!network.isReady) return SYNC_POLL_MS;
    const isSynced = pods.isSynced;
    const state = await runtime.list(signal);
    const isKnown = (podUid: string): boolean => records.has(podUid) || !pods.isComplete(podUid);
    for (const pod of findOrphans(state, await volumes.listPodUids(), isKnown)) onOrphan(pod);
    await network.collect(state.sandboxes, signal);
    return isSynced ? PERIOD_MS : SYNC_POLL_MS;
  }
}
