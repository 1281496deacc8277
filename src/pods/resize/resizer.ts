/**
 * A resize as it happens: the decision in each turn of a pod, with its events, and the executors that give containers
 * and the pod's cgroup what was decided. Promises that what is allocated is on disk before anything is changed, and
 * that the pod's cgroup holds its containers all the while. Used by worker.ts and apply.ts.
 */

import { type EventSink, involvedPod } from "../../api/events.ts";
import type { Pod } from "../../api/types.ts";
import type { PodCgroupPort } from "../../cgroups/pod-cgroups.ts";
import type { Clock } from "../../core/clock.ts";
import { hasCode, LongshoreError, messageOf } from "../../core/errors.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { PodAction } from "../actions.ts";
import type { NodeFacts } from "../node-facts.ts";
import type { PodRecord } from "../record.ts";
import { inheritedOf } from "../sandbox-config.ts";
import {
  type Allocation,
  describePod,
  RETRY_MS,
  type ResizePending,
  readySandbox,
} from "../snapshot.ts";
import {
  type AllocationDecision,
  applyAllocation,
  computeAllocation,
  initialAllocation,
} from "./allocation.ts";
import { findAhead, type Resize, type Waiting } from "./order.ts";

export interface ResizerOptions {
  readonly maxPods: number;
  readonly node: () => NodeFacts;
  readonly runtime: Pick<Runtime, "updateResources">;
  readonly cgroups: Pick<PodCgroupPort, "resizePod">;
  readonly events: EventSink;
  readonly clock: Clock;
  /** Pods of this node that have not ended, without this one. */
  readonly activeBeside: (podUid: string) => readonly Pod[];
  /** Those whose resize is Deferred. */
  readonly deferred: () => readonly PodRecord[];
  readonly saveCheckpoint: () => Promise<void>;
}

type ResizeAction = Extract<PodAction, { kind: "resize-container" }>;

export class Resizer {
  readonly #options: ResizerOptions;
  /** Containers that took what this allocation gives them. */
  readonly #updated = new WeakMap<Allocation, Set<string>>();
  /** Versions of pods that ask for no more and no less than this allocation: most turns have nothing to decide. */
  readonly #kept = new WeakMap<Allocation, Pod>();

  constructor(options: ResizerOptions) {
    this.#options = options;
  }

  /** Decides what the pod has from now on. True when that changed: it must be saved before it is acted on. */
  decide(record: PodRecord): boolean {
    const { desired } = record;
    if (record.phase !== "sync" || record.verdict !== undefined || record.isApiGone) return false;
    if (record.allocation === undefined) {
      record.allocation = initialAllocation(desired, record.observed);
      record.pod = applyAllocation(desired, record.allocation);
    }
    if (this.#kept.get(record.allocation) === desired) return false;
    const decision = this.#decideOn(record, record.allocation);
    const before = record.resizePending;
    record.resizePending = decision.kind === "pending" ? decision.pending : undefined;
    if (decision.kind === "pending" && decision.pending.message !== before?.message) {
      const { reason, message } = decision.pending;
      this.#tell(desired, desired.metadata.generation, reason, message);
    }
    if (decision.kind === "kept") this.#kept.set(record.allocation, desired);
    if (decision.kind !== "granted") return false;
    record.allocation = decision.allocation;
    record.pod = applyAllocation(desired, record.allocation);
    record.resizeFailure = undefined;
    this.#tell(desired, record.allocation.generation, "Started");
    return true;
  }

  #decideOn(record: PodRecord, allocation: Allocation): AllocationDecision {
    const { maxPods, node, activeBeside, deferred } = this.#options;
    const { desired: pod, uid } = record;
    const allocatable = { ...node().allocatable, pods: maxPods };
    const active = (): readonly Pod[] => activeBeside(uid);
    const decision = computeAllocation({ pod, allocation, active, allocatable });
    if (decision.kind !== "granted") return decision;
    const waiting = deferred().flatMap((other): readonly Waiting[] => {
      if (other === record || other.allocation === undefined) return [];
      const besideOther = (): readonly Pod[] => activeBeside(other.uid);
      return [{ ...resizeOf(other), allocation: other.allocation, active: besideOther }];
    });
    const ahead = findAhead(resizeOf(record), waiting, allocatable);
    if (ahead === undefined) return decision;
    const message = `Node has not enough for this and for the resize of ${describePod(ahead)}, which comes first`;
    return { kind: "pending", pending: { reason: "Deferred", message } };
  }

  resizeContainer(record: PodRecord, action: ResizeAction, signal: AbortSignal): Promise<void> {
    const { allocation } = record;
    const updated = (allocation && this.#updated.get(allocation)) ?? new Set<string>();
    if (allocation !== undefined) this.#updated.set(allocation, updated);
    return this.#attempt(record, signal, async () => {
      const { id, name, resources } = action;
      // Not again and again where it says yes and does nothing.
      if (updated.delete(id))
        throw new LongshoreError("Unsupported", `container ${name} did not keep its new resources`);
      await this.#resizePod(record, "grow", signal);
      await this.#options.runtime.updateResources(id, resources, signal);
      updated.add(id);
    });
  }

  /** The pod's cgroup comes down to what its containers have by now, and that is the end of it. */
  finish(record: PodRecord, signal: AbortSignal): Promise<void> {
    const { allocation } = record;
    return this.#attempt(record, signal, async () => {
      await this.#resizePod(record, "exact", signal);
      if (allocation === undefined) return;
      record.allocation = { ...allocation, isDone: true };
      record.resizeFailure = undefined;
      this.#tell(record.pod, allocation.generation, "Completed");
      await this.#options.saveCheckpoint();
    });
  }

  async #resizePod(record: PodRecord, how: "grow" | "exact", signal: AbortSignal): Promise<void> {
    const sandbox = readySandbox(record.observed);
    if (inheritedOf(sandbox).cgroupParent === undefined) return;
    await this.#options.cgroups.resizePod(record.pod, how, signal);
  }

  /** What fails is told and tried again after a while; the pod runs on with what it has. */
  async #attempt(record: PodRecord, signal: AbortSignal, step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (signal.aborted || hasCode(error, "EngineUnreachable")) throw error;
      // A container that went meanwhile needs nothing any more.
      if (hasCode(error, "EngineNotFound")) return;
      const message = messageOf(error);
      if (record.resizeFailure?.message !== message)
        this.#tell(record.pod, record.allocation?.generation, "Error", message);
      record.resizeFailure = { message, retryAt: this.#options.clock.now() + RETRY_MS };
    }
  }

  /** An event in the kubelet's form. */
  #tell(
    pod: Pod,
    generation: number | undefined,
    what: ResizePending["reason"] | "Started" | "Completed" | "Error",
    error?: string,
  ): void {
    const { initContainers = [], containers } = pod.spec;
    const list = (of: typeof containers) =>
      of.map(({ name, resources = {} }) => ({ name, resources }));
    const summary = {
      ...(initContainers.length === 0 ? {} : { initContainers: list(initContainers) }),
      containers: list(containers),
      ...{ generation, error },
    };
    const isWaiting = what === "Deferred" || what === "Infeasible";
    const message = `Pod resize ${isWaiting ? what : what.toLowerCase()}: ${JSON.stringify(summary)}`;
    const type = error === undefined ? "Normal" : "Warning";
    this.#options.events.record(involvedPod(pod), type, `Resize${what}`, message);
  }
}

function resizeOf({ desired, pod: allocated, status }: PodRecord): Resize {
  const pending = status.conditions?.find(({ type }) => type === "PodResizePending");
  const since = pending?.lastTransitionTime;
  return { desired, allocated, since: since === undefined ? undefined : Date.parse(since) };
}
