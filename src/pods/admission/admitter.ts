/**
 * Admission as it happens: a pod is judged when it comes, beside those that run or are about to; what is refused gets its
 * verdict and an event, who gives way to a critical pod gets his. Promises that no pod is refused for what the Node was
 * some seconds ago: such a refusal is settled in the pod's first turn, by the Node as it is then. Used by manager.ts.
 */

import { type EventSink, involvedPod } from "../../api/events.ts";
import { keyOf, type Store } from "../../api/store.ts";
import type { Pod } from "../../api/types.ts";
import { classOf, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { findIgnored } from "../ignored.ts";
import type { NodeFacts } from "../node-facts.ts";
import type { PodObserver } from "../observer.ts";
import type { PodRecord } from "../record.ts";
import { toSoundPod } from "../shape.ts";
import type { Verdict } from "../snapshot.ts";
import { isTerminalPhase } from "../status.ts";
import { type Admission, computeAdmission } from "./admission.ts";
import { isCritical } from "./preemption.ts";

export interface AdmitterOptions {
  readonly nodeName: string;
  readonly maxPods: number;
  readonly node: () => NodeFacts;
  /** Reads the Node anew; `node` tells of it afterwards. */
  readonly refreshNode: (signal: AbortSignal) => Promise<void>;
  readonly pods: Pick<Store<Pod>, "list">;
  readonly events: EventSink;
  readonly log: Logger;
  readonly records: ReadonlyMap<string, PodRecord>;
  readonly observer: Pick<PodObserver, "evicted">;
  /** A pod got a verdict while it runs. */
  readonly onEnded: (podUid: string) => void;
}

/** Reasons that a label, a taint or a device set a moment ago may have made untrue. */
const OF_THE_NODE = /^(NodeAffinity|TaintToleration|OutOf.*\/.*)$/;

export class Admitter {
  readonly #options: AdmitterOptions;
  readonly #unsettled = new Set<string>();
  /** What was said to be without effect: once for all pods. */
  readonly #told = new Set<string>();

  constructor(options: AdmitterOptions) {
    this.#options = options;
  }

  /** @param problem what is wrong with the shape of the object. A pod that was taken before is not asked again. */
  admit(record: PodRecord, problem: string | undefined): void {
    const { uid, pod } = record;
    if (isTerminalPhase(pod.status?.phase)) return;
    if (problem !== undefined) {
      this.#refuse(record, "InvalidPodSpec", problem);
      return;
    }
    if (pod.status?.startTime !== undefined) return;
    const admission = this.#judge(record);
    if (admission.kind === "refused" && OF_THE_NODE.test(admission.verdict.reason))
      this.#unsettled.add(uid);
    else this.#decide(record, admission);
  }

  /** To be called before a turn of the pod. */
  async settle(record: PodRecord, signal: AbortSignal): Promise<void> {
    if (!this.#unsettled.has(record.uid)) return;
    try {
      await this.#options.refreshNode(signal);
    } catch (error) {
      // Without the API server what is known has to do: a static pod does not wait for it.
      if (signal.aborted || classOf(error) === "bug") throw error;
    }
    this.#unsettled.delete(record.uid);
    this.#decide(record, this.#judge(record));
  }

  #judge({ uid, pod }: PodRecord): Admission {
    const { node, nodeName: name, maxPods } = this.#options;
    const facts = node();
    const allocatable = { ...facts.allocatable, pods: maxPods };
    const active = this.activeBeside(uid);
    try {
      return computeAdmission({ pod, node: { ...facts, name, allocatable }, active });
    } catch (error) {
      // A spec of a shape that no API server stores must not hold up the others.
      const message = `cannot be judged: ${messageOf(error)}`;
      return { kind: "refused", verdict: { reason: "InvalidPodSpec", message } };
    }
  }

  /** Pods of this node that have not ended, without this one, each with what is allocated to it. */
  activeBeside(uid: string): readonly Pod[] {
    const { records, pods } = this.#options;
    const known = [...records.values()].filter(
      (other) =>
        other.uid !== uid &&
        other.phase !== "terminated" &&
        other.verdict === undefined &&
        !this.#unsettled.has(other.uid) &&
        !isTerminalPhase(other.status.phase),
    );
    // After a restart those that run already may come later than a new one.
    const coming = pods
      .list()
      .filter(
        ({ metadata, status }) =>
          !records.has(metadata.uid) && metadata.uid !== uid && status?.startTime,
      )
      .filter(({ status }) => !isTerminalPhase(status?.phase));
    return [...known.map((other) => other.pod), ...coming.map((other) => toSoundPod(other).pod)];
  }

  #decide(record: PodRecord, admission: Admission): void {
    if (admission.kind === "refused")
      this.#refuse(record, admission.verdict.reason, admission.verdict.message);
    else {
      for (const { metadata } of admission.preempted) this.#preempt(metadata.uid);
      this.#tellIgnored(record);
    }
  }

  #tellIgnored({ pod }: PodRecord): void {
    const { node, log } = this.#options;
    for (const what of findIgnored(pod.spec, node())) {
      if (!this.#told.has(what)) log.warn({ pod: keyOf(pod) }, `without effect on pods: ${what}`);
      this.#told.add(what);
    }
  }

  #refuse(record: PodRecord, reason: string, message: string): void {
    record.verdict = { reason, message: `Pod was rejected: ${message}` };
    this.#options.events.record(involvedPod(record.pod), "Warning", reason, message);
  }

  /** For what the pod itself does while it runs. As with the kubelet its containers get a second. */
  evict(
    podUid: string,
    { signal, message }: { readonly signal: string; readonly message: string },
  ): void {
    const record = this.#options.records.get(podUid);
    if (record === undefined || record.phase !== "sync" || record.verdict !== undefined) return;
    if (isCritical(record.pod)) return;
    this.#options.observer.evicted(signal);
    this.#end(record, { reason: "Evicted", message, graceSeconds: 1 });
  }

  #preempt(podUid: string): void {
    const record = this.#options.records.get(podUid);
    if (record === undefined) return;
    const message = "Preempted in order to admit critical pod";
    this.#end(record, { reason: "Preempting", message });
  }

  #end(record: PodRecord, verdict: Verdict): void {
    record.verdict = verdict;
    const { reason, message } = verdict;
    this.#options.events.record(involvedPod(record.pod), "Warning", reason, message);
    this.#options.onEnded(record.uid);
  }
}
