/**
 * The pod conditions this agent owns, from container statuses and phase, in the kubelet's words. Pure; used by
 * status.ts. Conditions of others (scheduler, readiness gates, DisruptionTarget) pass through untouched.
 */

import type { ContainerStatus, Pod, PodCondition, PodStatus } from "../api/types.ts";
import { formatTime } from "../core/clock.ts";
import { isLasting, type PodContainer } from "./containers.ts";
import { mayRestartAll } from "./restart.ts";
import type { PodSnapshot } from "./snapshot.ts";

/** The types written by this agent; a status patch names no others. */
export const OWNED_CONDITIONS = [
  "PodReadyToStartContainers",
  "Initialized",
  "Ready",
  "ContainersReady",
  "PodScheduled",
  "AllContainersRestarting",
  "PodResizePending",
  "PodResizeInProgress",
] as const;

/** A container with its part and its status. */
export interface RoleStatus extends PodContainer {
  readonly status: ContainerStatus;
  /** It has ended and is to run again. */
  readonly willRestart: boolean;
}

interface Facts {
  readonly pod: Pod;
  readonly phase: NonNullable<PodStatus["phase"]>;
  readonly statuses: readonly RoleStatus[];
  readonly hasNetwork: boolean;
  readonly isRestartingAll: boolean;
  /** Undefined unless the pod is to go on running. */
  readonly resize: Pick<PodSnapshot, "allocation" | "resizePending" | "resizeFailure"> | undefined;
  readonly now: number;
}

type Verdict = Pick<PodCondition, "status" | "reason" | "message" | "observedGeneration">;

const TRUE: Verdict = { status: "True" };

function unready(reason: string, message?: string): Verdict {
  return { status: "False", reason, ...(message === undefined ? {} : { message }) };
}

function namesOf(statuses: readonly RoleStatus[]): string {
  return `[${statuses.map(({ spec }) => spec.name).join(" ")}]`;
}

export function hasEverStarted(status: ContainerStatus): boolean {
  return (
    status.state?.running !== undefined ||
    status.state?.terminated !== undefined ||
    status.lastState?.terminated !== undefined
  );
}

function initialized({ phase, statuses }: Facts): Verdict {
  if (phase === "Succeeded") return { status: "True", reason: "PodCompleted" };
  if (statuses.some(({ role, status }) => role === "app" && hasEverStarted(status))) return TRUE;
  const incomplete = statuses.filter(
    ({ role, status }) =>
      (role === "init" && !status.ready) || (role === "sidecar" && status.started !== true),
  );
  if (incomplete.length === 0) return TRUE;
  const message = `containers with incomplete status: ${namesOf(incomplete)}`;
  return unready("ContainersNotInitialized", message);
}

function containersReady({ phase, statuses }: Facts): Verdict {
  if (phase === "Succeeded") return unready("PodCompleted");
  if (phase === "Failed") return unready("PodFailed");
  const failing = statuses.filter((container) => isLasting(container) && !container.status.ready);
  if (failing.length === 0) return TRUE;
  return unready("ContainersNotReady", `containers with unready status: ${namesOf(failing)}`);
}

/** Ready containers, and every readiness gate fulfilled by whoever owns its condition. */
function ready(facts: Facts, stored: readonly PodCondition[]): Verdict {
  const containers = containersReady(facts);
  if (containers.status !== "True") return containers;
  const problems = (facts.pod.spec.readinessGates ?? []).flatMap(({ conditionType }) => {
    const condition = stored.find(({ type }) => type === conditionType);
    if (condition === undefined)
      return `corresponding condition of pod readiness gate "${conditionType}" does not exist.`;
    if (condition.status === "True") return [];
    return `the status of pod readiness gate "${conditionType}" is not "True", but ${condition.status}`;
  });
  return problems.length === 0 ? TRUE : unready("ReadinessGatesNotReady", problems.join(", "));
}

/** Only pods with such a rule have this condition. */
function allContainersRestarting({ pod, phase, isRestartingAll }: Facts): Verdict | undefined {
  if (!mayRestartAll(pod.spec)) return undefined;
  if (phase === "Succeeded") return unready("PodCompleted");
  if (phase === "Failed") return unready("PodFailed");
  if (!isRestartingAll) return { status: "False" };
  const message = "container exited with restart policy rule";
  return { status: "True", reason: "RestartAllContainersStarted", message };
}

/** Of which resize it is, the generation tells: that in progress may be older than the one that waits. */
function resizeInProgress({ resize }: Facts): Verdict | undefined {
  const { allocation, resizeFailure } = resize ?? {};
  if (allocation?.generation === undefined || allocation.isDone) return undefined;
  const observedGeneration = allocation.generation;
  if (resizeFailure === undefined) return { status: "True", observedGeneration };
  const { message } = resizeFailure;
  return { status: "True", reason: "Error", message, observedGeneration };
}

/** All conditions of the status: foreign ones as stored, then ours, whose transition times go on from the last ones. */
export function computeConditions(
  facts: Facts,
  before: { readonly stored: readonly PodCondition[]; readonly last: readonly PodCondition[] },
): readonly PodCondition[] {
  const verdicts: Readonly<Record<(typeof OWNED_CONDITIONS)[number], Verdict | undefined>> = {
    PodReadyToStartContainers: facts.hasNetwork ? TRUE : { status: "False" },
    Initialized: initialized(facts),
    Ready: ready(facts, before.stored),
    ContainersReady: containersReady(facts),
    PodScheduled: TRUE,
    AllContainersRestarting: allContainersRestarting(facts),
    PodResizePending: facts.resize?.resizePending && {
      status: "True",
      ...facts.resize.resizePending,
    },
    PodResizeInProgress: resizeInProgress(facts),
  };
  const isOwned = (type: string): boolean => OWNED_CONDITIONS.some((owned) => owned === type);
  const foreign = before.stored.filter(({ type }) => !isOwned(type));
  const owned = OWNED_CONDITIONS.flatMap((type): PodCondition | readonly [] => {
    const last = before.last.find((condition) => condition.type === type);
    const verdict = verdicts[type];
    if (verdict === undefined) return [];
    const since = last?.status === verdict.status ? last.lastTransitionTime : undefined;
    const generation = facts.pod.metadata.generation;
    return {
      type,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      ...verdict,
      lastTransitionTime: since ?? formatTime(facts.now),
    };
  });
  return [...foreign, ...owned];
}
