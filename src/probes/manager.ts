/**
 * PodProbes: one worker per probe of each container instance, kept by pod UID. Starts and stops them as pods says,
 * holds liveness and readiness back until the startup probe passed, reports failures as events in the kubelet's
 * words and changes through `onChange`. Results live in memory; after a restart of
 * the agent an instance counts as what `ProbeTarget.initial` says until its probes have spoken.
 */

import type { EventSink } from "../api/events.ts";
import { involvedPod } from "../api/events.ts";
import type { Container as ContainerSpec, Pod, Probe } from "../api/types.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { runProbe } from "./handlers/run-probe.ts";
import type { PodProbes, ProbeKind, ProbeReport, ProbeResults, ProbeTarget } from "./probes.ts";
import type { ProbeOutcome } from "./verdict.ts";
import { ProbeWorker } from "./worker.ts";

export interface ProbeManagerOptions {
  readonly runtime: Pick<Runtime, "execSync">;
  readonly clock: Clock;
  /** [0, 1). */
  readonly random: () => number;
  readonly events: EventSink;
  readonly log: Logger;
  /** A result of this pod changed; must not throw. */
  readonly onChange: (podUid: string) => void;
}

interface Instance {
  readonly containerId: string;
  readonly workers: Map<ProbeKind, ProbeWorker>;
}

interface PodEntry {
  pod: Pod;
  podIp: string;
  isTerminating: boolean;
  readonly instances: Map<string, Instance>;
  /** Runs of probes by container, kind and result. */
  readonly totals: Map<string, number>;
}

const KINDS = ["startup", "liveness", "readiness"] as const satisfies readonly ProbeKind[];
const TITLE: Readonly<Record<ProbeKind, string>> = {
  startup: "Startup",
  liveness: "Liveness",
  readiness: "Readiness",
};

const RESULT: Readonly<Record<ProbeOutcome["kind"], string>> = {
  ...{ success: "successful", warning: "successful", failure: "failed", error: "unknown" },
};

function probeOf(spec: ContainerSpec, kind: ProbeKind): Probe | undefined {
  return spec[`${kind}Probe`];
}

function hasPassedBefore({ initial }: ProbeTarget, kind: ProbeKind): boolean {
  if (initial === undefined) return false;
  if (kind === "startup") return initial.isStarted;
  return kind === "readiness" && initial.isReady;
}

export class ProbeManager implements PodProbes {
  readonly #options: ProbeManagerOptions;
  readonly #pods = new Map<string, PodEntry>();
  /** Workers that were told to stop and may still be in their last turn. */
  readonly #stopping = new Set<Promise<void>>();

  constructor(options: ProbeManagerOptions) {
    this.#options = options;
  }

  sync(pod: Pod, podIp: string, targets: readonly ProbeTarget[]): void {
    const { uid } = pod.metadata;
    const entry = this.#pods.get(uid) ?? {
      pod,
      podIp,
      isTerminating: false,
      instances: new Map<string, Instance>(),
      totals: new Map<string, number>(),
    };
    this.#pods.set(uid, entry);
    entry.pod = pod;
    entry.podIp = podIp;
    const wanted = new Set(targets.map(({ containerId }) => containerId));
    for (const [id, instance] of entry.instances) {
      if (wanted.has(id)) continue;
      for (const kind of instance.workers.keys()) this.#stopWorker(instance, kind);
      entry.instances.delete(id);
    }
    for (const target of targets) this.#addInstance(entry, target);
  }

  stopPod(podUid: string, keep?: "readiness"): void {
    const entry = this.#pods.get(podUid);
    if (entry === undefined) return;
    entry.isTerminating = true;
    for (const instance of entry.instances.values()) {
      for (const kind of [...instance.workers.keys()])
        if (kind !== keep) this.#stopWorker(instance, kind);
    }
    if (keep === undefined) this.#pods.delete(podUid);
  }

  results(podUid: string, spec: ContainerSpec, containerId: string): ProbeResults {
    const workers = this.#pods.get(podUid)?.instances.get(containerId)?.workers;
    const passed = (kind: ProbeKind): boolean =>
      probeOf(spec, kind) === undefined || workers?.get(kind)?.state.result === "success";
    const isTerminating = this.#pods.get(podUid)?.isTerminating === true;
    const isStarted = passed("startup") || isTerminating;
    const results = { isStarted, isReady: isStarted && passed("readiness") };
    for (const kind of ["startup", "liveness"] as const) {
      const state = workers?.get(kind)?.state;
      if (state?.result === "failure")
        return { ...results, failure: { kind, message: state.message } };
    }
    return results;
  }

  report(podUid: string): readonly ProbeReport[] {
    return [...(this.#pods.get(podUid)?.instances.values() ?? [])].flatMap(
      ({ containerId, workers }) =>
        [...workers.values()].map((worker) => ({ containerId, ...worker.report() })),
    );
  }

  /** How often the probes of the pods that are here have run, with upstream's labels. */
  totals(): readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly value: number;
  }[] {
    return [...this.#pods.values()].flatMap(({ pod, totals }) => {
      const { name, namespace = "", uid } = pod.metadata;
      return [...totals].map(([key, value]) => {
        const [container = "", probe_type = "", result = ""] = key.split("/");
        const labels = { container, probe_type, result, pod: name, namespace, pod_uid: uid };
        return { labels, value };
      });
    });
  }

  async stop(): Promise<void> {
    for (const podUid of [...this.#pods.keys()]) this.stopPod(podUid);
    await Promise.all(this.#stopping);
  }

  #addInstance(entry: PodEntry, target: ProbeTarget): void {
    if (entry.instances.has(target.containerId)) return;
    const instance: Instance = { containerId: target.containerId, workers: new Map() };
    entry.instances.set(target.containerId, instance);
    for (const kind of KINDS) {
      const probe = probeOf(target.spec, kind);
      if (probe === undefined || (entry.isTerminating && kind !== "readiness")) continue;
      const worker = this.#createWorker(entry, instance, target, kind, probe);
      instance.workers.set(kind, worker);
      worker.start();
    }
  }

  #createWorker(
    entry: PodEntry,
    instance: Instance,
    target: ProbeTarget,
    kind: ProbeKind,
    probe: Probe,
  ): ProbeWorker {
    const { clock, random, onChange } = this.#options;
    const hasPassedStartup = (): boolean =>
      target.spec.startupProbe === undefined ||
      entry.isTerminating ||
      instance.workers.get("startup")?.state.result === "success";
    return new ProbeWorker({
      kind,
      probe,
      startedAt: target.startedAt,
      isAdopted: target.initial !== undefined,
      hasPassed: hasPassedBefore(target, kind),
      clock,
      random,
      mayRun: () => kind === "startup" || hasPassedStartup(),
      run: (signal) => this.#run(entry, target, kind, probe, signal),
      onChange: () => {
        if (kind === "startup" && hasPassedStartup())
          for (const [other, worker] of instance.workers) if (other !== kind) worker.poke();
        onChange(entry.pod.metadata.uid);
      },
    });
  }

  async #run(
    entry: PodEntry,
    target: ProbeTarget,
    kind: ProbeKind,
    probe: Probe,
    signal: AbortSignal,
  ): Promise<ProbeOutcome> {
    const { runtime, clock } = this.#options;
    const { spec, containerId } = target;
    const context = { runtime, clock, podIp: entry.podIp, spec, containerId };
    let outcome: ProbeOutcome;
    try {
      outcome = await runProbe(probe, context, signal);
    } catch (error) {
      outcome = { kind: "error", message: messageOf(error) };
    }
    if (signal.aborted) return outcome;
    const key = `${spec.name}/${TITLE[kind]}/${RESULT[outcome.kind]}`;
    entry.totals.set(key, (entry.totals.get(key) ?? 0) + 1);
    this.#report(entry.pod, spec.name, kind, outcome);
    return outcome;
  }

  #report(pod: Pod, container: string, kind: ProbeKind, outcome: ProbeOutcome): void {
    const { log, events } = this.#options;
    const fields = { pod: pod.metadata.name, container, probe: kind, outcome: outcome.kind };
    log.debug(fields, "probe ran");
    if (outcome.kind === "success") return;
    const isInit = pod.spec.initContainers?.some(({ name }) => name === container) === true;
    const about = involvedPod(
      pod,
      `spec.${isInit ? "initContainers" : "containers"}{${container}}`,
    );
    const words = {
      warning: ["ProbeWarning", "warning"],
      failure: ["Unhealthy", "failed"],
      error: ["Unhealthy", "errored and resulted in unknown state"],
    }[outcome.kind];
    const [reason = "", verb = ""] = words;
    events.record(about, "Warning", reason, `${TITLE[kind]} probe ${verb}: ${outcome.message}`);
  }

  #stopWorker(instance: Instance, kind: ProbeKind): void {
    const stopping = instance.workers.get(kind)?.stop();
    instance.workers.delete(kind);
    if (stopping === undefined) return;
    this.#stopping.add(stopping);
    void stopping.finally(() => this.#stopping.delete(stopping));
  }
}
