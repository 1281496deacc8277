/**
 * One turn of a pod: observe → status → plan → apply, round after round until there is nothing to do, and the moves
 * from one phase to the next. Never two turns of the same pod at once (manager.ts's queue sees to it). Errors are
 * thrown to that queue, which tries again; whatever was half done is seen by the next observation.
 */

import { type EventSink, involvedPod } from "../api/events.ts";
import type { Container as ContainerSpec } from "../api/types.ts";
import type { PodCgroupPort } from "../cgroups/pod-cgroups.ts";
import type { Clock } from "../core/clock.ts";
import { classOf, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { PodProbes, ProbeResults, ProbeTarget } from "../probes/probes.ts";
import type { Container, Runtime, RuntimeState } from "../runtime/runtime.ts";
import type { PodVolumes } from "../volumes/volumes.ts";
import type { PodAction } from "./actions.ts";
import type { ApplyAction } from "./apply.ts";
import { recordBackoffs } from "./backoff-events.ts";
import { containersOf, isLasting } from "./containers.ts";
import { imageStateOf } from "./image-volumes.ts";
import type { ImageManager } from "./images.ts";
import type { NodeFacts } from "./node-facts.ts";
import { beginOomKills, needsCount, noteOomKills, withOomKills } from "./oom-kills.ts";
import type { Operations } from "./operations.ts";
import { isFinished } from "./phases/sync.ts";
import { computePodActions } from "./plan.ts";
import type { PodFilePort } from "./pod-files.ts";
import type { PodRecord } from "./record.ts";
import type { Resizer } from "./resize/resizer.ts";
import { hasRecursiveReadOnly } from "./sandbox-config.ts";
import {
  containerStatusesOf,
  newestOf,
  type PodSnapshot,
  reachableIps,
  readySandbox,
} from "./snapshot.ts";
import { factsOf } from "./starter.ts";
import { computePodStatus, isTerminalPhase } from "./status.ts";
import type { StatusWriter } from "./status-writer.ts";
import { readTerminationMessages } from "./termination-messages.ts";

export interface WorkerOptions {
  readonly runtime: Pick<Runtime, "list" | "logs">;
  readonly volumes: PodVolumes;
  readonly probes: PodProbes;
  readonly images: ImageManager;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeName: string;
  readonly node: () => NodeFacts;
  readonly computeSpecHash: (container: ContainerSpec) => string;
  readonly files: PodFilePort;
  readonly cgroups: Pick<PodCgroupPort, "countOomKills">;
  readonly apply: ApplyAction;
  readonly statuses: StatusWriter;
  readonly operations: Operations;
  readonly resizer: Pick<Resizer, "decide">;
  /** Resolves when what is noted in the records is on disk. */
  readonly saveCheckpoint: () => Promise<void>;
  readonly syncFrequencyMs: number;
}

/** A pod of a hundred containers needs two rounds for each; a plan that never ends gives others a chance. */
const MAX_ROUNDS = 20;
const VOLUME_RETRY_MS = 2_000;

export class PodWorker {
  readonly #options: WorkerOptions;
  /** Computed once for each version of a pod, not in each round. */
  readonly #specHashes = new WeakMap<ContainerSpec, string>();

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  /** Returns the milliseconds until the pod should be looked at again; undefined = only after an event. */
  async sync(record: PodRecord, signal: AbortSignal): Promise<number | undefined> {
    const failure = this.#options.operations.takeError(record.uid);
    if (failure !== undefined) throw failure;
    this.#choosePhase(record);
    if (record.phase === "sync") await this.#ensureVolumes(record, signal);
    let isStale = true;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      this.#choosePhase(record);
      const snapshot = await this.#observe(record, isStale, signal);
      this.#publish(record, snapshot);
      if (this.#choosePhase(record, snapshot)) continue;
      const plan = computePodActions({
        ...snapshot,
        isStatusWritten: this.#options.statuses.isWritten(record),
      });
      record.lastPlan = { ...plan, at: snapshot.now };
      if (plan.actions.length === 0) {
        if (this.#advance(record)) continue;
        return this.#nextLook(record, plan.waitMs);
      }
      await this.#applyAll(record, plan.actions, signal);
      isStale = plan.actions.some(changesRuntime);
    }
    return 0;
  }

  /** Leaves `sync` when the pod is to end. True when the phase changed. */
  #choosePhase(record: PodRecord, snapshot?: PodSnapshot): boolean {
    if (record.phase !== "sync") return false;
    const mustEnd =
      record.isApiGone ||
      record.verdict !== undefined ||
      record.pod.metadata.deletionTimestamp !== undefined ||
      isTerminalPhase(record.status.phase) ||
      (snapshot !== undefined && isFinished(snapshot));
    if (!mustEnd) return false;
    record.phase = "terminating";
    this.#options.images.forgetPod(record.uid);
    return true;
  }

  /** From terminating to terminated once nothing of the pod runs any more. */
  #advance(record: PodRecord): boolean {
    const { sandboxes, containers } = record.observed;
    if (record.phase !== "terminating") return false;
    if (containers.some(({ state }) => state === "running")) return false;
    if (sandboxes.some(({ state }) => state === "ready")) return false;
    record.phase = "terminated";
    this.#options.probes.stopPod(record.uid);
    return true;
  }

  #nextLook(record: PodRecord, waitMs: number | undefined): number | undefined {
    if (record.phase === "terminated") return waitMs;
    return Math.min(waitMs ?? Number.POSITIVE_INFINITY, this.#options.syncFrequencyMs);
  }

  async #applyAll(
    record: PodRecord,
    actions: readonly PodAction[],
    signal: AbortSignal,
  ): Promise<void> {
    const { apply, log } = this.#options;
    const run = (action: PodAction): Promise<void> => {
      log.debug({ podUid: record.uid, action: action.kind }, "pod action");
      return apply(record, action, signal);
    };
    // Removals wait for nothing of each other, and a pod may have many.
    const isRemoval = ({ kind }: PodAction): boolean => kind === "remove-container";
    const outcomes = await Promise.allSettled(actions.filter(isRemoval).map(run));
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    for (const action of actions) {
      if (isRemoval(action)) continue;
      // Each may take seconds, in which somebody may have deleted the pod.
      if (this.#choosePhase(record)) return;
      await run(action);
    }
  }

  /** @param isStale whether the runtime may hold something else than at the last look of this turn. */
  async #observe(record: PodRecord, isStale: boolean, signal: AbortSignal): Promise<PodSnapshot> {
    const { runtime, clock } = this.#options;
    if (isStale) {
      const observedAt = clock.now();
      const listed = await runtime.list(signal, record.uid);
      await this.#countOomKills(record, listed);
      record.observed = withOomKills(listed, record.oomKills);
      record.observedAt = observedAt;
    }
    await readTerminationMessages(this.#options, record, signal);
    const isAllocated = this.#options.resizer.decide(record);
    const snapshot = this.#snapshot(record);
    if (isAllocated) await this.#options.saveCheckpoint();
    return snapshot;
  }

  async #countOomKills(record: PodRecord, listed: RuntimeState): Promise<void> {
    record.oomKills = beginOomKills(record.oomKills, listed, record.status);
    if (!needsCount(record.oomKills, listed)) return;
    const running = listed.containers.filter(({ state }) => state === "running");
    const ids = running.map(({ id }) => id);
    const kills = await this.#options.cgroups.countOomKills(record.pod, ids);
    record.oomKills = noteOomKills(record.oomKills, listed, kills, record.status);
  }

  #snapshot(record: PodRecord): PodSnapshot {
    const { clock, images, statuses, operations } = this.#options;
    const { hostIps, recursiveReadOnlyHandlers } = this.#options.node();
    const { pod, uid } = record;
    const ids = record.observed.containers.map(({ id }) => id);
    operations.retain(uid, new Set(ids));
    if (record.phase === "terminating") record.endingSince ??= clock.now();
    const specs = containersOf(pod.spec).map(({ spec }) => spec);
    return {
      pod,
      allocation: record.allocation,
      resizePending: record.resizePending,
      resizeFailure: record.resizeFailure,
      phase: record.phase,
      now: clock.now(),
      observed: record.observed,
      previous: record.status,
      hostIps,
      hasRecursiveReadOnly: hasRecursiveReadOnly(
        readySandbox(record.observed),
        recursiveReadOnlyHandlers,
      ),
      probes: this.#probe(record),
      operations: new Map(ids.map((id) => [id, operations.of(uid, id)])),
      endingSince: record.endingSince,
      specHashes: new Map(specs.map((spec) => [spec.name, this.#specHash(spec)])),
      images: new Map(specs.map((spec) => [spec.name, imageStateOf(images, pod, spec)])),
      startFailures: record.startFailures,
      backoff: record.backoff,
      replaced: record.replaced,
      messages: record.messages,
      volumes: record.volumes,
      sandboxRetryAt: record.sandboxRetryAt,
      startTime: record.startTime,
      verdict: record.verdict,
      isApiGone: record.isApiGone,
      isStatusWritten: statuses.isWritten(record),
      isDeleteSent: record.isDeleteSent,
    };
  }

  #specHash(spec: ContainerSpec): string {
    const known = this.#specHashes.get(spec) ?? this.#options.computeSpecHash(spec);
    this.#specHashes.set(spec, known);
    return known;
  }

  /** Tells the probes what runs and reads what they know of it. A pod that ends is only asked whether it is ready. */
  #probe(record: PodRecord): ReadonlyMap<string, ProbeResults> {
    const { probes, node, operations } = this.#options;
    const { pod, uid, observed, phase } = record;
    const running = containersOf(pod.spec).flatMap((container) => {
      const last = newestOf(observed, container.spec.name);
      return isLasting(container) && last?.state === "running"
        ? [{ spec: container.spec, last }]
        : [];
    });
    if (phase !== "terminated") {
      const ips = reachableIps(observed, node().hostIps);
      const targets = running.flatMap(({ spec, last }): readonly ProbeTarget[] => {
        const hook = operations.of(uid, last.id)["post-start"];
        if (hook !== undefined && hook.status !== "done") return [];
        const target = { spec, containerId: last.id, startedAt: last.startedAt };
        // One that has had its hook from us was not adopted.
        return [hook === undefined ? { ...target, ...reportedBefore(record, last) } : target];
      });
      probes.sync(pod, ips[0] ?? "", targets);
    }
    if (phase === "terminating") probes.stopPod(uid, "readiness");
    return new Map(running.map(({ spec, last }) => [last.id, probes.results(uid, spec, last.id)]));
  }

  async #ensureVolumes(record: PodRecord, signal: AbortSignal): Promise<void> {
    const { volumes, node, nodeName, events } = this.#options;
    try {
      const facts = factsOf(record, nodeName, node());
      record.mounted = await volumes.ensure(record.pod, facts, signal);
      record.volumes = { kind: "ready" };
      record.isMounted = true;
    } catch (error) {
      if (signal.aborted || classOf(error) === "bug") throw error;
      const message = messageOf(error);
      events.record(involvedPod(record.pod), "Warning", "FailedMount", message);
      // What was mounted before is still there, though perhaps not up to date: the pod goes on with it.
      if (record.isMounted) return;
      record.volumes = { kind: "waiting", message, waitMs: VOLUME_RETRY_MS };
    }
  }

  #publish(record: PodRecord, snapshot: PodSnapshot): void {
    const before = record.status;
    record.status = computePodStatus(snapshot);
    recordBackoffs(this.#options.events, record, before);
    this.#options.statuses.publish(record);
  }
}

/** What others do to it comes as an event, which brings the next turn. */
function changesRuntime({ kind }: PodAction): boolean {
  return kind !== "ensure-image" && kind !== "fail-pod";
}

/** What the status already says of the readiness of this instance. */
function reportedBefore({ status }: PodRecord, { id }: Container): Pick<ProbeTarget, "initial"> {
  const told = containerStatusesOf(status).find(
    ({ containerID }) => containerID === `docker://${id}`,
  );
  if (told === undefined) return {};
  return { initial: { isReady: told.ready, isStarted: told.started === true } };
}
