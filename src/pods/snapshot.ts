/**
 * One pod at one instant: everything that the planner and the status are computed from, and nothing that changes while
 * they compute. Taken by worker.ts at the start of each round; read by plan.ts, phases/* and status.ts.
 */

import type {
  Container as ContainerSpec,
  ContainerStatus,
  Pod,
  PodSpec,
  PodStatus,
} from "../api/types.ts";
import { formatTime } from "../core/clock.ts";
import type { ProbeResults } from "../probes/probes.ts";
import type { Container, RuntimeState, Sandbox } from "../runtime/runtime.ts";
import type { ContainerOperations } from "./operations.ts";

/**
 * The three phases of a worker, as the kubelet's: `sync` keeps the pod running, `terminating` stops everything,
 * `terminated` cleans up. A worker only ever moves to the right.
 */
export type WorkerPhase = "sync" | "terminating" | "terminated";

export type ImageState =
  | { readonly kind: "unknown" }
  | { readonly kind: "pulling" }
  | { readonly kind: "present"; readonly imageId: string }
  | {
      readonly kind: "failed";
      /** ErrImagePull, ImagePullBackOff, ErrImageNeverPull, InvalidImageName. */
      readonly reason: string;
      readonly message: string;
      /** Until the next attempt, or until the reason changes to ImagePullBackOff. */
      readonly waitMs: number;
      readonly mayRetry: boolean;
    };

export type VolumesState =
  | { readonly kind: "ready" }
  | { readonly kind: "waiting"; readonly message: string; readonly waitMs: number }
  | { readonly kind: "torn-down" };

/** Why the last attempt to make a container did not come to a process: a waiting reason until the next attempt. */
export interface StartFailure {
  readonly reason:
    | "CreateContainerConfigError"
    | "CreateContainerError"
    | "RunContainerError"
    | "PostStartHookError";
  readonly message: string;
  /** Milliseconds since the epoch. */
  readonly retryAt: number;
}

export interface BackoffEntry {
  readonly delayMs: number;
  /** When the restart that set this delay was made, in milliseconds since the epoch. */
  readonly since: number;
}

/** Why a pod must end although nobody deleted it. */
export interface Verdict {
  readonly reason: string;
  readonly message: string;
  /** In the place of the pod's own grace period. */
  readonly graceSeconds?: number;
}

export type Resources = NonNullable<ContainerSpec["resources"]>;

/** What of its node a pod has been given; resize/allocation.ts decides on it. */
export interface Allocation {
  /** Of the pod itself. */
  readonly pod?: Resources;
  /** By name, those that run before the others too. */
  readonly containers: Readonly<Record<string, Resources>>;
  /** Of the spec that a resize was granted for; absent = the pod was never resized. */
  readonly generation?: number;
  /** Its containers and its cgroup have it. */
  readonly isDone: boolean;
}

export interface ResizePending {
  readonly reason: "Deferred" | "Infeasible";
  readonly message: string;
}

export interface ResizeFailure {
  readonly message: string;
  /** Milliseconds since the epoch. */
  readonly retryAt: number;
}

export interface PodSnapshot {
  /** With the resources that are allocated to it. */
  readonly pod: Pod;
  readonly allocation: Allocation | undefined;
  readonly resizePending: ResizePending | undefined;
  readonly resizeFailure: ResizeFailure | undefined;
  readonly phase: WorkerPhase;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly observed: RuntimeState;
  /** The status last computed, or the API server's. */
  readonly previous: PodStatus;
  readonly hostIps: readonly string[];
  readonly hasRecursiveReadOnly: boolean;
  /** By container ID. */
  readonly probes: ReadonlyMap<string, ProbeResults>;
  /** Hooks and stops that were begun, by container ID. */
  readonly operations: ReadonlyMap<string, ContainerOperations>;
  /** When the pod's containers were first told to end, in milliseconds since the epoch. */
  readonly endingSince: number | undefined;
  /** By container name, like all that follow. */
  readonly specHashes: ReadonlyMap<string, string>;
  readonly images: ReadonlyMap<string, ImageState>;
  readonly startFailures: ReadonlyMap<string, StartFailure>;
  readonly backoff: ReadonlyMap<string, BackoffEntry>;
  /** Container IDs killed because their definition changed: they start again whatever the restart policy. */
  readonly replaced: ReadonlySet<string>;
  /** Text of the termination message by container ID. */
  readonly messages: ReadonlyMap<string, string>;
  readonly volumes: VolumesState;
  /** When the next sandbox may be tried after one that failed. */
  readonly sandboxRetryAt: number;
  /** When this node took the pod on: `status.startTime`. */
  readonly startTime: number;
  readonly verdict: Verdict | undefined;
  /** The object is no longer on the API server. */
  readonly isApiGone: boolean;
  readonly isStatusWritten: boolean;
  readonly isDeleteSent: boolean;
}

/** The engine's exit code for a program that could not be run. */
const CANNOT_START = 128;

export type RestartPolicy = "Always" | "OnFailure" | "Never";

export function restartPolicyOf(spec: PodSpec): RestartPolicy {
  return spec.restartPolicy ?? "Always";
}

/** True for an instance that ended, or that the engine could not start and that left its words. */
export function isDead(container: Container): boolean {
  return container.state === "exited" || (container.state === "created" && container.error !== "");
}

/** The kubelet's pace for what failed to be made: ten seconds, or at once when the object changes. */
export const RETRY_MS = 10_000;

/** Milliseconds until `retryAt`; a longer wait than there can be means that the clock was set back, and is over. */
export function retryIn(retryAt: number, now: number): number {
  const left = retryAt - now;
  return left > RETRY_MS ? 0 : Math.max(0, left);
}

/** When a dead instance ended; one that never started ended when it was made. */
export function endedAt(container: Container): number {
  return container.finishedAt > 0 ? container.finishedAt : container.createdAt;
}

/** Exit code of a dead instance; one that could not be started has failed whatever the engine says. */
export function exitCodeOf({ state, exitCode }: Container): number {
  return state === "created" && exitCode === 0 ? CANNOT_START : exitCode;
}

/** Made but never started, and no failure noted: what a crash between create and start leaves. */
export function isHalfMade(container: Container): boolean {
  return container.state === "created" && container.error === "";
}

/** The instances of one container, newest attempt first, without the half-made. */
export function instancesOf(observed: RuntimeState, name: string): readonly Container[] {
  return observed.containers
    .filter((container) => container.name === name && !isHalfMade(container))
    .sort(byAge);
}

/** The newest instance of one container, dead or alive. */
export function newestOf({ containers }: RuntimeState, name: string): Container | undefined {
  let newest: Container | undefined;
  for (const one of containers) {
    if (one.name !== name || isHalfMade(one)) continue;
    if (newest === undefined || byAge(one, newest) < 0) newest = one;
  }
  return newest;
}

function byAge(a: Container, b: Container): number {
  return b.attempt - a.attempt || b.createdAt - a.createdAt;
}

/** True once the instance runs, its postStart hook is through and its startup probe has passed. */
export function hasStarted(snapshot: PodSnapshot, { id, state }: Container): boolean {
  if (state !== "running") return false;
  const postStart = snapshot.operations.get(id)?.["post-start"];
  if (postStart !== undefined && postStart.status !== "done") return false;
  return snapshot.probes.get(id)?.isStarted ?? true;
}

/** The newest sandbox, whatever its state. */
export function newestSandbox(observed: RuntimeState): Sandbox | undefined {
  return [...observed.sandboxes].sort(
    (a, b) => b.attempt - a.attempt || b.createdAt - a.createdAt,
  )[0];
}

/** The newest sandbox if it can hold containers. */
export function readySandbox(observed: RuntimeState): Sandbox | undefined {
  const newest = newestSandbox(observed);
  return newest?.state === "ready" ? newest : undefined;
}

/** Where the pod can be reached now: its sandbox's addresses, or the host's in the host's network; none without a sandbox. */
export function reachableIps(
  observed: RuntimeState,
  hostIps: readonly string[],
): readonly string[] {
  const sandbox = readySandbox(observed);
  if (sandbox === undefined) return [];
  return sandbox.hostNetwork ? hostIps : sandbox.ips;
}

/** The statuses of all containers of a pod, of whatever kind. */
export function containerStatusesOf(status: PodStatus): readonly ContainerStatus[] {
  const { initContainerStatuses = [], containerStatuses = [] } = status;
  const { ephemeralContainerStatuses = [] } = status;
  return [...initContainerStatuses, ...containerStatuses, ...ephemeralContainerStatuses];
}

/** `name_namespace(uid)`, the kubelet's way to name a pod in messages. */
export function describePod(pod: Pod): string {
  return `${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`;
}

/** `status.startTime`: once on the API server it never changes. */
export function startTimeOf({ pod, startTime }: PodSnapshot): string {
  return pod.status?.startTime ?? formatTime(startTime);
}
