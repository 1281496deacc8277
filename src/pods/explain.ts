/**
 * The answer to "why is it not running": one pod as its worker sees it, as a value for people and programs
 * (`longshore explain pod`). Pure; times are RFC 3339, words are Kubernetes'. Holds no environment, arguments or
 * annotations, so no secret. The agent serves it on its local socket; cli/explain.ts makes text of it.
 */

import type { Container as ContainerSpec, ContainerStatus } from "../api/types.ts";
import { formatTime } from "../core/clock.ts";
import type { ProbeKind, ProbeReport } from "../probes/probes.ts";
import type { PodAction } from "./actions.ts";
import { specOf } from "./containers.ts";
import type { PodRecord } from "./record.ts";
import { remainingBackoff } from "./restart.ts";
import {
  containerStatusesOf,
  endedAt,
  type ImageState,
  instancesOf,
  isDead,
  type WorkerPhase,
} from "./snapshot.ts";
import type { StatusWrite } from "./status-writer.ts";

/** Why the last turn of a pod failed; gone after one that did not. */
export interface TurnFailure {
  /** Failed turns in a row. */
  readonly count: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly message: string;
}

/** What the manager knows of one pod. */
export interface PodFacts {
  readonly record: PodRecord;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly imageOf: (spec: ContainerSpec) => ImageState;
  /** Result of findIgnored. */
  readonly ignored: readonly string[];
  readonly probes: readonly ProbeReport[];
  readonly statusWrite: StatusWrite;
  readonly turn: { readonly isRunning: boolean; readonly dueInMs: number | undefined };
  readonly failure: TurnFailure | undefined;
}

export interface PodExplanation {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly now: string;
  readonly phase: string;
  readonly reason?: string;
  readonly message?: string;
  readonly workerPhase: WorkerPhase;
  /** Those that are not True. */
  readonly conditions: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason?: string;
    readonly message?: string;
  }[];
  readonly sandboxes: readonly {
    readonly id: string;
    readonly state: string;
    readonly attempt: number;
    readonly ips: readonly string[];
    readonly createdAt: string;
  }[];
  readonly volumes: { readonly state: string; readonly message?: string };
  readonly containers: readonly ContainerExplanation[];
  readonly next: {
    readonly why: string;
    /** What is being done now, or would be in the next turn. */
    readonly actions: readonly string[];
    readonly isRunning: boolean;
    /** When the pod is looked at again without an event. */
    readonly at?: string;
  };
  /** What the spec asks for and the host cannot give, one sentence for each. */
  readonly ignored: readonly string[];
  readonly lastError?: { readonly message: string; readonly at: string; readonly count: number };
  readonly status: {
    readonly state: "written" | "pending";
    readonly since?: string;
    readonly error?: string;
  };
}

export interface ContainerExplanation {
  readonly name: string;
  readonly state: "waiting" | "running" | "terminated";
  readonly reason?: string;
  readonly message?: string;
  readonly since?: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly lastExit?: { readonly exitCode: number; readonly reason: string; readonly at: string };
  /** Crash back-off that is left. */
  readonly backOff?: { readonly delaySeconds: number; readonly until: string };
  /** When a start that failed is tried again. */
  readonly retryAt?: string;
  readonly image: {
    readonly name: string;
    readonly state: ImageState["kind"];
    readonly id?: string;
    readonly message?: string;
    readonly retryAt?: string;
  };
  readonly probes: readonly ProbeExplanation[];
}

export interface ProbeExplanation {
  readonly kind: ProbeKind;
  readonly result: "success" | "failure" | "unknown";
  readonly streak: number;
  /** As many in a row change the result: failureThreshold of a probe that fails, else successThreshold. */
  readonly threshold: number;
  readonly last?: { readonly at: string; readonly outcome: string; readonly message: string };
}

export type ExplainAnswer =
  | { readonly status: 200; readonly body: PodExplanation }
  | { readonly status: 404 | 409 | 503; readonly body: { readonly message: string } };

/**
 * The pod that a person means by `NAMESPACE/NAME`, by `NAME` or by a UID.
 * @param facts undefined = the agent does not run pods yet, because of `problems`
 */
export function explainPod(
  facts: readonly PodFacts[] | undefined,
  wanted: string,
  problems: readonly string[],
): ExplainAnswer {
  if (facts === undefined) {
    const message = `the agent runs no pods yet: ${problems.join("; ") || "it is starting"}`;
    return { status: 503, body: { message } };
  }
  const named = facts.filter((one) => namesOf(one).includes(wanted));
  const live = named.filter(({ record }) => !record.isApiGone);
  const [found, ...others] = live.length > 0 ? live : named;
  if (found === undefined) {
    const message = `pod ${wanted} is not on this node, which has ${facts.length} pods`;
    return { status: 404, body: { message } };
  }
  if (others.length === 0) return { status: 200, body: computePodExplanation(found) };
  const candidates = [found, ...others].map(
    ({ record: { pod, uid } }) => `${pod.metadata.namespace}/${pod.metadata.name} (uid ${uid})`,
  );
  const message = `${wanted} may be ${candidates.join(" or ")}: name one as NAMESPACE/NAME or by its uid`;
  return { status: 409, body: { message } };
}

function namesOf({ record: { pod, uid } }: PodFacts): readonly string[] {
  const { namespace, name } = pod.metadata;
  return [uid, name, `${namespace}/${name}`];
}

export function computePodExplanation(facts: PodFacts): PodExplanation {
  const { record, now, failure, statusWrite } = facts;
  const { pod, uid, status, volumes, observed } = record;
  const { since, ...write } = statusWrite;
  return {
    namespace: pod.metadata.namespace,
    name: pod.metadata.name,
    uid,
    now: formatTime(now),
    phase: status.phase ?? "Pending",
    ...textOf(status),
    workerPhase: record.phase,
    conditions: (status.conditions ?? [])
      .filter((condition) => condition.status !== "True")
      .map((condition) => ({
        type: condition.type,
        status: condition.status,
        ...textOf(condition),
      })),
    sandboxes: observed.sandboxes.map(({ id, state, attempt, ips, createdAt }) => ({
      ...{ id, state, attempt, ips },
      createdAt: formatTime(createdAt),
    })),
    volumes: { state: volumes.kind, ...textOf("message" in volumes ? volumes : {}) },
    containers: containerStatusesOf(status).map((one) => explainContainer(facts, one)),
    next: explainNext(facts),
    ignored: [
      ...(record.problem === undefined ? [] : [`the newest spec: ${record.problem}`]),
      ...facts.ignored,
    ],
    ...(failure === undefined ? {} : { lastError: { ...failure, at: formatTime(failure.at) } }),
    status: { ...write, ...(since === undefined ? {} : { since: formatTime(since) }) },
  };
}

function explainNext({ record, now, turn }: PodFacts): PodExplanation["next"] {
  const plan = record.lastPlan;
  return {
    why: plan?.why ?? "the worker has not looked at the pod yet",
    actions: (plan?.actions ?? []).map(describeAction),
    isRunning: turn.isRunning,
    ...(turn.dueInMs === undefined ? {} : { at: formatTime(now + turn.dueInMs) }),
  };
}

function describeAction(action: PodAction): string {
  const name = "name" in action ? ` ${action.name}` : "";
  const reason = "reason" in action ? ` (${action.reason})` : "";
  return `${action.kind}${name}${reason}`;
}

function explainContainer(facts: PodFacts, status: ContainerStatus): ContainerExplanation {
  const { record, now, probes } = facts;
  const { name, ready, restartCount, state = {}, lastState } = status;
  const last = instancesOf(record.observed, name)[0];
  const ended = state.terminated ?? lastState?.terminated;
  const entry = record.backoff.get(name);
  const backoffMs =
    last !== undefined && isDead(last) ? remainingBackoff(entry, endedAt(last), now) : 0;
  const retryAt = record.startFailures.get(name)?.retryAt ?? 0;
  const spec = specOf(record.pod, name);
  return {
    name,
    ...explainState(state),
    ready,
    restartCount,
    ...(ended === undefined
      ? {}
      : {
          lastExit: {
            exitCode: ended.exitCode,
            reason: ended.reason ?? "",
            at: ended.finishedAt ?? "",
          },
        }),
    ...(entry === undefined || backoffMs <= 0
      ? {}
      : {
          backOff: { delaySeconds: entry.delayMs / 1000, until: formatTime(now + backoffMs) },
        }),
    ...(retryAt > now ? { retryAt: formatTime(retryAt) } : {}),
    image: explainImage(facts, spec, last?.state === "running" ? last.imageId : undefined),
    probes: probes
      .filter(({ containerId }) => containerId === last?.id)
      .map((report) => explainProbe(report, spec)),
  };
}

function explainState(
  state: NonNullable<ContainerStatus["state"]>,
): Pick<ContainerExplanation, "state" | "reason" | "message" | "since"> {
  const { waiting, running, terminated } = state;
  if (running !== undefined) return { state: "running", ...sinceOf(running.startedAt) };
  if (terminated === undefined) return { state: "waiting", ...textOf(waiting ?? {}) };
  // Its termination message is the application's own text, and may be anything.
  const { reason, finishedAt } = terminated;
  return { state: "terminated", ...textOf({ reason }), ...sinceOf(finishedAt) };
}

function explainImage(
  { now, imageOf }: PodFacts,
  spec: ContainerSpec | undefined,
  runningId: string | undefined,
): ContainerExplanation["image"] {
  const name = spec?.image ?? "";
  if (runningId !== undefined) return { name, state: "present", id: runningId };
  const state = spec === undefined ? { kind: "unknown" as const } : imageOf(spec);
  switch (state.kind) {
    case "present":
      return { name, state: "present", id: state.imageId };
    case "failed": {
      const retryAt = formatTime(now + Math.max(0, state.waitMs));
      return { name, state: "failed", message: `${state.reason}: ${state.message}`, retryAt };
    }
    default:
      return { name, state: state.kind };
  }
}

function explainProbe(
  { kind, result, streak, last }: ProbeReport,
  spec: ContainerSpec | undefined,
): ProbeExplanation {
  const probe = spec?.[`${kind}Probe`];
  const threshold =
    last?.outcome === "failure" ? (probe?.failureThreshold ?? 3) : (probe?.successThreshold ?? 1);
  const seen = last === undefined ? {} : { last: { ...last, at: formatTime(last.at) } };
  return { kind, result, streak, threshold, ...seen };
}

function textOf({
  reason,
  message,
}: {
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
}): { readonly reason?: string; readonly message?: string } {
  return {
    ...(reason === undefined || reason === "" ? {} : { reason }),
    ...(message === undefined || message === "" ? {} : { message }),
  };
}

function sinceOf(time: string | undefined): { readonly since?: string } {
  return time === undefined ? {} : { since: time };
}
