/**
 * Whether and when a dead container starts again: restart rules, restart policies and crash back-off. Pure. The back-off
 * is the kubelet's: the first restart is immediate, then 10 s doubling to 5 min counted from the container's end,
 * forgotten when the container had run for 10 min. phases/* ask; the worker keeps the entries, the checkpoint saves them.
 */

import type { PodSpec } from "../api/types.ts";
import type { Container } from "../runtime/runtime.ts";
import { containersOf, findContainer, type PodContainer } from "./containers.ts";
import {
  type BackoffEntry,
  endedAt,
  exitCodeOf,
  type PodSnapshot,
  type RestartPolicy,
  restartPolicyOf,
} from "./snapshot.ts";

const INITIAL_MS = 10_000;
/** MaxContainerBackOff * 2 in the kubelet, whatever crashLoopBackOff says. */
const RESET_MS = 10 * 60_000;

function isForgotten(entry: BackoffEntry, ended: number): boolean {
  return ended - entry.since > RESET_MS;
}

/** Milliseconds until a container that ended at `ended` may start again. */
export function remainingBackoff(
  entry: BackoffEntry | undefined,
  ended: number,
  now: number,
): number {
  if (entry === undefined || isForgotten(entry, ended)) return 0;
  // The clock was set back: how long ago it ended is not known any more, and waiting for the old time could take years.
  if (ended > now) return 0;
  return Math.max(0, ended + entry.delayMs - now);
}

/** The entry after a restart at `now` of a container that ended at `ended`; no delay is longer than `maxMs`. */
export function nextBackoff(
  entry: BackoffEntry | undefined,
  { ended, now, maxMs }: { readonly ended: number; readonly now: number; readonly maxMs: number },
): BackoffEntry {
  const isFresh = entry === undefined || isForgotten(entry, ended);
  return { delayMs: Math.min(isFresh ? INITIAL_MS : entry.delayMs * 2, maxMs), since: now };
}

export type RestartRuleAction = "Restart" | "RestartAllContainers";

/** What the first of the container's restart rules that names this exit code says. */
export function matchRestartRule(
  { spec }: PodContainer,
  exitCode: number,
): RestartRuleAction | undefined {
  const rule = (spec.restartPolicyRules ?? []).find(({ exitCodes }) => {
    const isListed = exitCodes?.values?.includes(exitCode) ?? false;
    return exitCodes !== undefined && isListed === (exitCodes.operator === "In");
  });
  return rule?.action as RestartRuleAction | undefined;
}

/** True for a pod with a rule that restarts all its containers. */
export function mayRestartAll(podSpec: PodSpec): boolean {
  return containersOf(podSpec).some(({ spec }) =>
    (spec.restartPolicyRules ?? []).some(({ action }) => action === "RestartAllContainers"),
  );
}

/** The policy that holds for one container: its own, or its pod's. */
export function containerPolicyOf(podSpec: PodSpec, { spec, role }: PodContainer): RestartPolicy {
  if (role === "ephemeral") return "Never";
  return (spec.restartPolicy as RestartPolicy | undefined) ?? restartPolicyOf(podSpec);
}

/** May an end with this exit code be followed by another start, as long as the pod lives? */
export function mayRestart(podSpec: PodSpec, container: PodContainer, exitCode: number): boolean {
  // The success of an init container is final.
  if (container.role === "init" && exitCode === 0) return false;
  if (matchRestartRule(container, exitCode) !== undefined) return true;
  switch (containerPolicyOf(podSpec, container)) {
    case "Always":
      return true;
    case "OnFailure":
      return exitCode !== 0;
    case "Never":
      return false;
  }
}

/** Where a pod's restart is decided: may this dead instance be followed by another? */
export function shouldRestart(snapshot: PodSnapshot, dead: Container): boolean {
  if (snapshot.phase !== "sync") return false;
  if (snapshot.replaced.has(dead.id)) return true;
  const container = findContainer(snapshot.pod.spec, dead.name);
  return container !== undefined && mayRestart(snapshot.pod.spec, container, exitCodeOf(dead));
}

/** Milliseconds of crash back-off left for the container of this dead instance. */
export function backoffOf(snapshot: PodSnapshot, dead: Container): number {
  if (snapshot.replaced.has(dead.id)) return 0;
  return remainingBackoff(snapshot.backoff.get(dead.name), endedAt(dead), snapshot.now);
}
