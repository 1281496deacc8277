/**
 * What pods do, told as it happens to who counts it (server/stats/agent-metrics.ts), and the times from a pod's
 * appearance to its first run. Owned by PodManager.
 */

import type { Pod, PodStatus } from "../api/types.ts";
import type { Clock } from "../core/clock.ts";

export type ContainerType = "init_container" | "container" | "ephemeral_container";

export interface PodObserver {
  /** One turn of a pod's worker: its first, a later one, or one of a pod that ends. */
  turned(operation: "create" | "sync" | "kill", seconds: number): void;
  /** From the appearance of a pod to its first turn. */
  workerStarted(seconds: number): void;
  /**
   * All containers of a pod run for the first time since it appeared.
   * @param sliSeconds since the creation of its object, without pulls; undefined = the object tells no time
   */
  podStarted(seconds: number, sliSeconds: number | undefined): void;
  sandboxStarted(isFailed: boolean): void;
  containerStarted(type: ContainerType, failure: string | undefined): void;
  evicted(signal: string): void;
}

interface Pending {
  /** Monotonic milliseconds. */
  readonly seenAt: number;
  readonly createdAt: number;
  isTurned: boolean;
  pullMs: number;
}

export class StartTimes {
  readonly #clock: Clock;
  readonly #observer: PodObserver;
  readonly #pending = new Map<string, Pending>();

  constructor(clock: Clock, observer: PodObserver) {
    this.#clock = clock;
    this.#observer = observer;
  }

  /** A pod that this agent has not seen before. One that ran already is adopted, not started. */
  seen({ metadata, status }: Pod): void {
    if (status?.startTime !== undefined) return;
    const createdAt = Date.parse(metadata.creationTimestamp ?? "");
    const seenAt = this.#clock.monotonic();
    this.#pending.set(metadata.uid, { seenAt, createdAt, isTurned: false, pullMs: 0 });
  }

  /** True for the first turn of a pod that is to start. */
  turn(podUid: string): boolean {
    const pending = this.#pending.get(podUid);
    if (pending === undefined || pending.isTurned) return false;
    pending.isTurned = true;
    this.#observer.workerStarted((this.#clock.monotonic() - pending.seenAt) / 1000);
    return true;
  }

  pulled(podUid: string, tookMs: number): void {
    const pending = this.#pending.get(podUid);
    if (pending !== undefined) pending.pullMs += tookMs;
  }

  look(podUid: string, { phase, containerStatuses = [] }: PodStatus): void {
    const pending = this.#pending.get(podUid);
    const runs = containerStatuses.every(({ state }) => state?.running ?? state?.terminated);
    if (pending === undefined || phase === undefined || phase === "Pending") return;
    const isOver = phase === "Failed" || phase === "Succeeded";
    if (!isOver && !runs) return;
    this.#pending.delete(podUid);
    // It was refused, or ended before anybody saw it run: as upstream, no start.
    if (isOver) return;
    const { seenAt, createdAt, pullMs } = pending;
    // The object's time has whole seconds, and another clock.
    const sinceMs = Math.max(0, this.#clock.now() - createdAt - pullMs);
    const sli = Number.isNaN(createdAt) ? undefined : sinceMs / 1000;
    this.#observer.podStarted((this.#clock.monotonic() - seenAt) / 1000, sli);
  }

  forget(podUid: string): void {
    this.#pending.delete(podUid);
  }
}
