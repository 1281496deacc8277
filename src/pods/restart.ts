/**
 * Whether and when a dead container starts again: restart policy and crash back-off. Pure. The back-off is the
 * kubelet's: the first restart is immediate, then 10 s doubling to 5 min counted from the container's end, forgotten
 * when the container had run for 10 min. plan.ts asks; the worker keeps the entries, the checkpoint saves them.
 */

import type { Container } from "../runtime/runtime.ts";
import {
  type BackoffEntry,
  endedAt,
  exitCodeOf,
  type PodSnapshot,
  restartPolicyOf,
} from "./snapshot.ts";

const INITIAL_MS = 10_000;
const MAX_MS = 5 * 60_000;
/** MaxContainerBackOff * 2 in the kubelet. */
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

/** The entry after a restart at `now` of a container that ended at `ended`. */
export function nextBackoff(
  entry: BackoffEntry | undefined,
  ended: number,
  now: number,
): BackoffEntry {
  const isFresh = entry === undefined || isForgotten(entry, ended);
  return { delayMs: isFresh ? INITIAL_MS : Math.min(entry.delayMs * 2, MAX_MS), since: now };
}

/** Where a pod's restart is decided: may this dead instance of an app container be followed by another? */
export function shouldRestart(snapshot: PodSnapshot, dead: Container): boolean {
  if (snapshot.phase !== "sync") return false;
  if (snapshot.replaced.has(dead.id)) return true;
  switch (restartPolicyOf(snapshot.pod.spec)) {
    case "Always":
      return true;
    case "OnFailure":
      return exitCodeOf(dead) !== 0;
    case "Never":
      return false;
  }
}

/** The same for an init container: success is final, failure is final only with Never. */
export function shouldRestartInit(snapshot: PodSnapshot, dead: Container): boolean {
  if (snapshot.phase !== "sync" || exitCodeOf(dead) === 0) return false;
  return restartPolicyOf(snapshot.pod.spec) !== "Never";
}

/** Milliseconds of crash back-off left for the container of this dead instance. */
export function backoffOf(snapshot: PodSnapshot, dead: Container): number {
  if (snapshot.replaced.has(dead.id)) return 0;
  return remainingBackoff(snapshot.backoff.get(dead.name), endedAt(dead), snapshot.now);
}
