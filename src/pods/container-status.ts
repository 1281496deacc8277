/**
 * One container's part of the pod status: state, lastState, restartCount, ready, started. Pure; used by status.ts. A
 * container that is to be started (again) and cannot yet is Waiting with the reason the plan waits for.
 */

import type { Container as ContainerSpec, ContainerState, ContainerStatus } from "../api/types.ts";
import { formatTime } from "../core/clock.ts";
import type { Container, ContainerKind } from "../runtime/runtime.ts";
import { backoffOf, shouldRestart, shouldRestartInit } from "./restart.ts";
import {
  describePod,
  endedAt,
  exitCodeOf,
  instancesOf,
  isDead,
  type PodSnapshot,
} from "./snapshot.ts";

interface WaitingReason {
  readonly reason: string;
  readonly message?: string;
}

function containerIdOf(container: Container): string {
  return `docker://${container.id}`;
}

/** "10s", "2m40s", "5m0s": how Go prints these durations. */
function goDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  return `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}

/** The status of one container of the spec. */
export function computeContainerStatus(
  snapshot: PodSnapshot,
  spec: ContainerSpec,
  kind: ContainerKind,
  previous: ContainerStatus | undefined,
): ContainerStatus {
  const [last, before] = instancesOf(snapshot.observed, spec.name);
  if (last === undefined) return statusWithoutInstance(snapshot, spec, previous);
  const state = stateOf(snapshot, last);
  const waiting = waitingReason(snapshot, spec, kind, last);
  const lastState =
    waiting !== undefined ? state : before === undefined ? undefined : stateOf(snapshot, before);
  const isRunning = last.state === "running";
  const probes = snapshot.probes.get(last.id);
  const started = isRunning && (kind === "init" || (probes?.isStarted ?? true));
  const isReady =
    kind === "init"
      ? isDead(last) && exitCodeOf(last) === 0
      : started && (probes?.isReady ?? true) && snapshot.phase !== "terminated";
  return {
    name: spec.name,
    image: last.image,
    imageID: `docker://${last.imageId}`,
    containerID: containerIdOf(last),
    restartCount: Math.max(last.attempt, previous?.restartCount ?? 0),
    ready: isReady,
    started,
    state: waiting === undefined ? state : { waiting: { ...waiting } },
    lastState: lastState ?? {},
  };
}

/** Nothing of it exists: it was never made, or what ended was removed and the old status is all there is. */
function statusWithoutInstance(
  snapshot: PodSnapshot,
  spec: ContainerSpec,
  previous: ContainerStatus | undefined,
): ContainerStatus {
  if (previous?.state?.terminated !== undefined && snapshot.phase !== "sync") return previous;
  const isMade = previous?.containerID !== undefined;
  return {
    name: spec.name,
    image: spec.image ?? "",
    imageID: isMade ? previous.imageID : "",
    ...(isMade ? { containerID: previous.containerID as string } : {}),
    restartCount: previous?.restartCount ?? 0,
    ready: false,
    started: false,
    state: {
      waiting: {
        ...(startFailureOf(snapshot, spec) ?? defaultWaiting(snapshot)),
      },
    },
    lastState: isMade ? (previous.lastState ?? {}) : {},
  };
}

function defaultWaiting(snapshot: PodSnapshot): WaitingReason {
  const hasInit = (snapshot.pod.spec.initContainers ?? []).length > 0;
  return { reason: hasInit ? "PodInitializing" : "ContainerCreating" };
}

/** Why the last attempt to start it did not succeed: its image or its configuration. */
function startFailureOf(snapshot: PodSnapshot, spec: ContainerSpec): WaitingReason | undefined {
  const image = snapshot.images.get(spec.name);
  if (image?.kind === "failed") return { reason: image.reason, message: image.message };
  const failure = snapshot.startFailures.get(spec.name);
  return failure && { reason: failure.reason, message: failure.message };
}

/** The reason why a dead container that should run again does not yet; undefined shows its end as it is. */
function waitingReason(
  snapshot: PodSnapshot,
  spec: ContainerSpec,
  kind: ContainerKind,
  last: Container,
): WaitingReason | undefined {
  if (!isDead(last)) return undefined;
  const restarts =
    kind === "init" ? shouldRestartInit(snapshot, last) : shouldRestart(snapshot, last);
  if (!restarts) return undefined;
  if (backoffOf(snapshot, last) > 0) {
    const delay = goDuration(snapshot.backoff.get(spec.name)?.delayMs ?? 0);
    return {
      reason: "CrashLoopBackOff",
      message: `back-off ${delay} restarting failed container=${spec.name} pod=${describePod(snapshot.pod)}`,
    };
  }
  return startFailureOf(snapshot, spec);
}

/** What the runtime says of one instance. */
function stateOf(snapshot: PodSnapshot, container: Container): ContainerState {
  if (container.state === "running")
    return { running: { startedAt: formatTime(container.startedAt) } };
  const message = container.error !== "" ? container.error : snapshot.messages.get(container.id);
  return {
    terminated: {
      exitCode: exitCodeOf(container),
      reason: terminatedReason(container),
      ...(message === undefined || message === "" ? {} : { message }),
      startedAt: formatTime(container.startedAt > 0 ? container.startedAt : container.createdAt),
      finishedAt: formatTime(endedAt(container)),
      containerID: containerIdOf(container),
    },
  };
}

function terminatedReason(container: Container): string {
  if (container.error !== "" && container.startedAt === 0) return "ContainerCannotRun";
  if (container.oomKilled) return "OOMKilled";
  return exitCodeOf(container) === 0 ? "Completed" : "Error";
}

/** What is claimed of a container that should have ended and of which nothing is left. */
export function unknownTermination(status: ContainerStatus): ContainerStatus {
  return {
    ...status,
    ready: false,
    started: false,
    state: {
      terminated: {
        exitCode: 137,
        reason: "ContainerStatusUnknown",
        message: "The container could not be located when the pod was terminated",
      },
    },
  };
}
