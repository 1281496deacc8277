/**
 * How a running container is brought to its end: preStop hook, then stop signal, then SIGKILL, all within one grace
 * period. Pure. Used by sync.ts for single containers and by terminating.ts for whole pods.
 */

import type { Pod } from "../../api/types.ts";
import type { Container } from "../../runtime/runtime.ts";
import type { KillReason } from "../actions.ts";
import { specOf } from "../containers.ts";
import type { PodSnapshot } from "../snapshot.ts";
import type { Step } from "./step.ts";

const DEFAULT_GRACE_SECONDS = 30;
const MIN_GRACE_SECONDS = 1;
/** What a container gets after a hook or a wait has used up its grace period: the kubelet's. */
const MIN_AFTER_WAIT_SECONDS = 2;

/** Seconds a container of this pod gets from its first sign of the end to SIGKILL. */
export function graceSecondsOf(pod: Pod): number {
  const seconds =
    pod.metadata.deletionGracePeriodSeconds ??
    pod.spec.terminationGracePeriodSeconds ??
    DEFAULT_GRACE_SECONDS;
  return Math.max(MIN_GRACE_SECONDS, seconds);
}

export interface Ending {
  readonly container: Container;
  readonly reason: KillReason;
  /** Text of the Killing event. */
  readonly message: string;
  readonly graceSeconds: number;
  /** When the grace period began, in milliseconds since the epoch; absent = with the first step of this container. */
  readonly since?: number;
  /** False while others have to end first. */
  readonly mayStop: boolean;
}

/** A restart of all containers is meant to be quick: it runs no hooks. */
function hasHook(pod: Pod, { container, reason }: Ending): boolean {
  if (reason === "restart-all") return false;
  return specOf(pod, container.name)?.lifecycle?.preStop !== undefined;
}

export function planStop(snapshot: PodSnapshot, ending: Ending): Step {
  const { container, reason, message, graceSeconds } = ending;
  const { id, name } = container;
  const { "pre-stop": hook, stop } = snapshot.operations.get(id) ?? {};
  if (
    stop?.status === "running" &&
    stop.graceSeconds <= Math.max(graceSeconds, MIN_AFTER_WAIT_SECONDS)
  )
    return { why: `${name} is being stopped: ${message}` };
  const since = ending.since ?? hook?.since ?? snapshot.now;
  // Never more than the whole of it, however far the clock was set back.
  const leftMs = Math.min(since - snapshot.now, 0) + graceSeconds * 1000;
  const about = { id, name, reason, message };
  if (stop === undefined && leftMs > 0) {
    if (hook === undefined && hasHook(snapshot.pod, ending))
      return { action: { kind: "run-pre-stop", ...about, graceSeconds, leftMs }, why: message };
    if (hook?.status === "running")
      return { waitMs: leftMs, why: `the preStop hook of ${name} runs` };
    if (!ending.mayStop) return { waitMs: leftMs, why: `${name} waits for others to end first` };
  }
  const leftSeconds = Math.ceil(leftMs / 1000);
  const least = leftSeconds < graceSeconds ? MIN_AFTER_WAIT_SECONDS : MIN_GRACE_SECONDS;
  return {
    action: {
      kind: "kill-container",
      ...about,
      graceSeconds: Math.max(least, leftSeconds),
      isAnnounced: hook !== undefined || stop !== undefined,
    },
    why: message,
  };
}
