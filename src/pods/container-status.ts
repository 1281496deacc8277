/**
 * One container's part of the pod status: state, lastState, restartCount, ready, started. Pure; used by status.ts. A
 * container that is to be started (again) and cannot yet is Waiting with the reason the plan waits for.
 */

import type { Container as ContainerSpec, ContainerState, ContainerStatus } from "../api/types.ts";
import { formatTime } from "../core/clock.ts";
import type { Container } from "../runtime/runtime.ts";
import { computeVolumeMountStatuses } from "../runtime/volume-mounts.ts";
import { type ContainerRole, isLasting, type PodContainer } from "./containers.ts";
import { computeResize } from "./phases/resize.ts";
import { madeWith } from "./resize/allocation.ts";
import { backoffOf, mayRestartAll, shouldRestart } from "./restart.ts";
import {
  describePod,
  endedAt,
  exitCodeOf,
  hasStarted,
  instancesOf,
  isDead,
  type PodSnapshot,
  restartPolicyOf,
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
  container: PodContainer,
  previous: ContainerStatus | undefined,
): ContainerStatus {
  const { spec, role } = container;
  const [last, before] = instancesOf(snapshot.observed, spec.name);
  if (role === "init" && !hasSucceeded(last) && isToldForGood(snapshot, previous)) return previous;
  // An ephemeral container is never started again.
  const isPast = role === "ephemeral" && previous?.containerID !== undefined;
  if (last === undefined && isPast) return previous;
  if (last === undefined) return statusWithoutInstance(snapshot, spec, previous);
  const state = stateOf(snapshot, last);
  const waiting = waitingReason(snapshot, spec, last);
  const lastState =
    waiting !== undefined && isDead(last)
      ? state
      : before === undefined
        ? undefined
        : stateOf(snapshot, before);
  // Init containers have no probes; of ephemeral ones nothing is known.
  const started = isLasting(container) ? hasStarted(snapshot, last) : last.state === "running";
  return {
    name: spec.name,
    image: last.image,
    imageID: `docker://${last.imageId}`,
    containerID: containerIdOf(last),
    restartCount: Math.max(last.attempt, previous?.restartCount ?? 0),
    ready: isReady(snapshot, role, last, started),
    started,
    state: waiting === undefined ? state : { waiting: { ...waiting } },
    lastState: lastState ?? {},
    ...mountsOf(snapshot, spec),
    ...resourcesOf(snapshot, container, last, previous),
  };
}

/**
 * What it runs with, in the words of the spec once the runtime agrees with them, and what is allocated to it; absent for
 * containers that do not tell.
 */
function resourcesOf(
  snapshot: PodSnapshot,
  container: PodContainer,
  last: Container,
  previous: ContainerStatus | undefined,
): Pick<ContainerStatus, "resources" | "allocatedResources"> {
  const made = madeWith(last);
  if (made === undefined || last.state !== "running") return {};
  const isKnown = previous?.containerID === containerIdOf(last);
  const before = (isKnown ? previous.resources : undefined) ?? made;
  const allocated = snapshot.allocation?.containers[container.spec.name] ?? made;
  const isActual = computeResize(snapshot, container, last).kind === "none";
  const { requests, limits } = isActual ? allocated : before;
  return {
    resources: {
      ...(limits === undefined ? {} : { limits }),
      ...(requests === undefined ? {} : { requests }),
    },
    ...(allocated.requests === undefined ? {} : { allocatedResources: allocated.requests }),
  };
}

function mountsOf(
  { hasRecursiveReadOnly }: PodSnapshot,
  spec: ContainerSpec,
): Pick<ContainerStatus, "volumeMounts"> {
  const volumeMounts = computeVolumeMountStatuses(spec, hasRecursiveReadOnly);
  return volumeMounts.length === 0 ? {} : { volumeMounts };
}

function hasSucceeded(last: Container | undefined): boolean {
  return last !== undefined && isDead(last) && exitCodeOf(last) === 0;
}

/**
 * The success of an init container that runs once more, in a new sandbox: the API server takes back no end of a pod
 * that does not always restart.
 */
function isToldForGood(
  { pod, phase }: PodSnapshot,
  previous: ContainerStatus | undefined,
): previous is ContainerStatus {
  if (restartPolicyOf(pod.spec) === "Always" || phase !== "sync") return false;
  if (mayRestartAll(pod.spec)) return false;
  return previous?.state?.terminated?.exitCode === 0;
}

function isReady(
  snapshot: PodSnapshot,
  role: ContainerRole,
  last: Container,
  started: boolean,
): boolean {
  switch (role) {
    case "init":
      return hasSucceeded(last);
    case "ephemeral":
      return false;
    case "app":
    case "sidecar":
      return (
        started &&
        snapshot.phase !== "terminated" &&
        (snapshot.probes.get(last.id)?.isReady ?? true)
      );
  }
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
    lastState: isMade ? lastEndOf(previous) : {},
    ...mountsOf(snapshot, spec),
  };
}

/** The end last told of: of the instance that is gone, or of the one before it. */
function lastEndOf({ state, lastState }: ContainerStatus): ContainerState {
  return state?.terminated === undefined ? (lastState ?? {}) : { terminated: state.terminated };
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

/** Why an instance that exists is not shown as it is; undefined shows it as it is. */
function waitingReason(
  snapshot: PodSnapshot,
  spec: ContainerSpec,
  last: Container,
): WaitingReason | undefined {
  if (last.state === "running") {
    // Until its postStart hook is through, a container is still being started.
    const hook = snapshot.operations.get(last.id)?.["post-start"]?.status;
    return hook === "running" && snapshot.phase === "sync" ? defaultWaiting(snapshot) : undefined;
  }
  if (!isDead(last) || !shouldRestart(snapshot, last)) return undefined;
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
