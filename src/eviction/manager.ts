/**
 * Looks every ten seconds at the pods that limit their use of the disk, one after the other, and has those evicted that
 * use more. Keeps nothing: after a restart of the agent what is too big is found anew. Pods without such a limit cost
 * nothing. Made and stopped by agent-pods.ts.
 */

import type { Pod, PodStatus } from "../api/types.ts";
import { sleep } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Container } from "../runtime/runtime.ts";
import { computeEviction, type Eviction, hasSizeLimit, hasStorageLimit } from "./evictions.ts";
import { type MeasureOptions, measurePod } from "./measure.ts";

interface EvictablePods {
  list(): readonly {
    readonly pod: Pod;
    readonly status: PodStatus;
    readonly containers: readonly Container[];
  }[];
  /** Ends a pod for good, if it may be. */
  evict(podUid: string, eviction: Eviction): void;
}

export interface EvictionManagerOptions extends MeasureOptions {
  readonly pods: EvictablePods;
  readonly clock: Clock;
  readonly log: Logger;
}

const PERIOD_MS = 10_000;

export class EvictionManager {
  readonly #options: EvictionManagerOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: EvictionManagerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await sleep(this.#options.clock, PERIOD_MS, signal);
      } catch (error) {
        if (!hasCode(error, "Aborted")) throw error;
        return;
      }
      for (const view of this.#options.pods.list()) await this.#look(view, signal);
    }
  }

  async #look(
    { pod, status, containers }: ReturnType<EvictablePods["list"]>[number],
    signal: AbortSignal,
  ): Promise<void> {
    const isOver = status.phase === "Succeeded" || status.phase === "Failed";
    if (signal.aborted || isOver || pod.metadata.deletionTimestamp !== undefined) return;
    const { uid } = pod.metadata;
    try {
      if (!hasSizeLimit(pod) && !hasStorageLimit(pod)) return;
      const usage = await measurePod(this.#options, { pod, containers }, signal);
      const eviction = computeEviction(pod, usage);
      if (eviction !== undefined) this.#options.pods.evict(uid, eviction);
    } catch (error) {
      if (signal.aborted) return;
      this.#options.log.warn({ podUid: uid, err: error }, "a pod's use of the disk is not known");
    }
  }
}
