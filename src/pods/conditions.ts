/**
 * The pod conditions this agent owns, from container statuses and phase, in the kubelet's words. Pure; used by
 * status.ts. Conditions of others (scheduler, readiness gates, DisruptionTarget) pass through untouched.
 */

import type { ContainerStatus, Pod, PodCondition, PodStatus } from "../api/types.ts";
import { formatTime } from "../core/clock.ts";

/** The types written by this agent; a status patch names no others. */
export const OWNED_CONDITIONS = [
  "PodReadyToStartContainers",
  "Initialized",
  "Ready",
  "ContainersReady",
  "PodScheduled",
] as const;

interface Facts {
  readonly pod: Pod;
  readonly phase: NonNullable<PodStatus["phase"]>;
  readonly init: readonly ContainerStatus[];
  readonly app: readonly ContainerStatus[];
  readonly hasNetwork: boolean;
  readonly now: number;
}

type Verdict = Pick<PodCondition, "status" | "reason" | "message">;

const TRUE: Verdict = { status: "True" };

function unready(reason: string, message?: string): Verdict {
  return { status: "False", reason, ...(message === undefined ? {} : { message }) };
}

function namesOf(statuses: readonly ContainerStatus[]): string {
  return `[${statuses.map((status) => status.name).join(" ")}]`;
}

function hasEverStarted(status: ContainerStatus): boolean {
  return (
    status.state?.running !== undefined ||
    status.state?.terminated !== undefined ||
    status.lastState?.terminated !== undefined
  );
}

function initialized({ phase, init, app }: Facts): Verdict {
  if (phase === "Succeeded") return { status: "True", reason: "PodCompleted" };
  if (app.some(hasEverStarted)) return TRUE;
  const incomplete = init.filter((status) => !status.ready);
  if (incomplete.length === 0) return TRUE;
  return unready(
    "ContainersNotInitialized",
    `containers with incomplete status: ${namesOf(incomplete)}`,
  );
}

function containersReady({ phase, app }: Facts): Verdict {
  if (phase === "Succeeded") return unready("PodCompleted");
  if (phase === "Failed") return unready("PodFailed");
  const failing = app.filter((status) => !status.ready);
  if (failing.length === 0) return TRUE;
  return unready("ContainersNotReady", `containers with unready status: ${namesOf(failing)}`);
}

/** All conditions of the status: foreign ones as stored, then ours, whose transition times go on from the last ones. */
export function computeConditions(
  facts: Facts,
  before: { readonly stored: readonly PodCondition[]; readonly last: readonly PodCondition[] },
): readonly PodCondition[] {
  const verdicts: Readonly<Record<(typeof OWNED_CONDITIONS)[number], Verdict>> = {
    PodReadyToStartContainers: facts.hasNetwork ? TRUE : { status: "False" },
    Initialized: initialized(facts),
    Ready: containersReady(facts),
    ContainersReady: containersReady(facts),
    PodScheduled: TRUE,
  };
  const isOwned = (type: string): boolean => OWNED_CONDITIONS.some((owned) => owned === type);
  const foreign = before.stored.filter(({ type }) => !isOwned(type));
  const owned = OWNED_CONDITIONS.map((type): PodCondition => {
    const last = before.last.find((condition) => condition.type === type);
    const verdict = verdicts[type];
    const since = last?.status === verdict.status ? last.lastTransitionTime : undefined;
    const generation = facts.pod.metadata.generation;
    return {
      type,
      ...verdict,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      lastTransitionTime: since ?? formatTime(facts.now),
    };
  });
  return [...foreign, ...owned];
}
