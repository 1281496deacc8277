/**
 * computePodStatus: from one snapshot of a pod to the PodStatus the API server should have. Pure. It promises that no
 * wrong phase appears in between: Pending until every container has been started once, terminal phases are final.
 * Called by worker.ts in every round; written by status-writer.ts.
 */

import { computeQosClass } from "../api/pod-resources.ts";
import type { ContainerStatus, PodStatus } from "../api/types.ts";
import { computeConditions, hasEverStarted, type RoleStatus } from "./conditions.ts";
import { computeContainerStatus, unknownTermination } from "./container-status.ts";
import { type ContainerRole, containersOf } from "./containers.ts";
import { isRestartingAll } from "./phases/sync.ts";
import { shouldRestart } from "./restart.ts";
import {
  containerStatusesOf,
  isDead,
  newestOf,
  type PodSnapshot,
  reachableIps,
  readySandbox,
  startTimeOf,
} from "./snapshot.ts";

type PodPhase = NonNullable<PodStatus["phase"]>;

export function isTerminalPhase(phase: string | undefined): boolean {
  return phase === "Succeeded" || phase === "Failed";
}

export function computePodStatus(snapshot: PodSnapshot): PodStatus {
  const { pod, previous, verdict } = snapshot;
  const computed = statusesOf(snapshot);
  const phase = decidePhase(snapshot, computed);
  const settled = isOver(snapshot) ? settle(computed) : computed;
  const podIps = podIpsOf(snapshot);
  const sandbox = readySandbox(snapshot.observed);
  // The reason of an end is told with the terminal phase, not before it.
  const ended = isTerminalPhase(previous.phase) ? previous : (pod.status ?? {});
  const explained = isTerminalPhase(phase) ? (verdict ?? ended) : {};
  const conditions = computeConditions(
    {
      ...{ pod, phase, statuses: settled, now: snapshot.now },
      hasNetwork: sandbox !== undefined && podIps.length > 0,
      resize: snapshot.phase === "sync" && !isTerminalPhase(phase) ? snapshot : undefined,
      isRestartingAll: sandbox !== undefined && isRestartingAll(snapshot, sandbox),
    },
    { stored: pod.status?.conditions ?? [], last: previous.conditions ?? [] },
  );
  return {
    ...(pod.metadata.generation === undefined
      ? {}
      : { observedGeneration: pod.metadata.generation }),
    phase,
    conditions: [...conditions],
    ...(explained.reason === undefined ? {} : { reason: explained.reason }),
    ...(explained.message === undefined ? {} : { message: explained.message }),
    ...addressesOf(snapshot.hostIps, podIps),
    startTime: startTimeOf(snapshot),
    ...(isNeverStarted(snapshot) ? {} : listsOf(settled)),
    ...podResourcesOf(snapshot),
    qosClass: pod.status?.qosClass ?? computeQosClass(pod.spec),
  };
}

/** Of a pod that has resources of its own: what its cgroup has, and what it is to have. */
function podResourcesOf({ pod, allocation, previous }: PodSnapshot): Partial<PodStatus> {
  const { resources } = pod.spec;
  if (!resources) return {};
  const actual = allocation?.isDone === false ? (previous.resources ?? resources) : resources;
  return {
    resources: actual,
    ...(resources.requests === undefined ? {} : { allocatedResources: resources.requests }),
  };
}

function hasRunning({ observed }: PodSnapshot): boolean {
  return observed.containers.some(({ state }) => state === "running");
}

/** Nothing of it will run any more, and nothing does. */
function isOver(snapshot: PodSnapshot): boolean {
  return snapshot.phase !== "sync" && !hasRunning(snapshot);
}

/** A pod that was refused has no containers to speak of. */
function isNeverStarted(snapshot: PodSnapshot): boolean {
  return (
    snapshot.verdict !== undefined &&
    snapshot.observed.containers.length === 0 &&
    snapshot.previous.containerStatuses === undefined
  );
}

function statusesOf(snapshot: PodSnapshot): readonly RoleStatus[] {
  const before = containerStatusesOf(snapshot.previous);
  return containersOf(snapshot.pod.spec).map((container) => {
    const { name } = container.spec;
    const previous = before.find((status) => status.name === name);
    const last = newestOf(snapshot.observed, name);
    return {
      ...container,
      status: computeContainerStatus(snapshot, container, previous),
      willRestart: last !== undefined && isDead(last) && shouldRestart(snapshot, last),
    };
  });
}

/** The three lists of the status, of which the ephemeral one is there only when it has something. */
function listsOf(statuses: readonly RoleStatus[]): Partial<PodStatus> {
  const init = pick(statuses, "init", "sidecar");
  const ephemeral = pick(statuses, "ephemeral");
  return {
    initContainerStatuses: init,
    containerStatuses: pick(statuses, "app"),
    ...(ephemeral.length === 0 ? {} : { ephemeralContainerStatuses: ephemeral }),
  };
}

function pick(statuses: readonly RoleStatus[], ...roles: ContainerRole[]): ContainerStatus[] {
  return statuses.filter(({ role }) => roles.includes(role)).map(({ status }) => status);
}

function podIpsOf(snapshot: PodSnapshot): readonly string[] {
  if (readySandbox(snapshot.observed) !== undefined)
    return reachableIps(snapshot.observed, snapshot.hostIps);
  return (snapshot.previous.podIPs ?? []).flatMap(({ ip }) => ip ?? []);
}

function addressesOf(hostIps: readonly string[], podIps: readonly string[]): Partial<PodStatus> {
  const [hostIP] = hostIps;
  const [podIP] = podIps;
  return {
    ...(hostIP === undefined ? {} : { hostIP, hostIPs: hostIps.map((ip) => ({ ip })) }),
    ...(podIP === undefined ? {} : { podIP, podIPs: podIps.map((ip) => ({ ip })) }),
  };
}

/** Terminal phases stay; a verdict fails the pod; a pod that is torn down may not stay Pending or Running. */
function decidePhase(snapshot: PodSnapshot, statuses: readonly RoleStatus[]): PodPhase {
  const stored = snapshot.pod.status?.phase;
  const { phase } = snapshot.previous;
  if (phase !== undefined && isTerminalPhase(phase)) return phase;
  if (stored !== undefined && isTerminalPhase(stored)) return stored;
  const isRunning = hasRunning(snapshot);
  const isEnded = isOver(snapshot);
  // A pod is not called finished while something of it may still run.
  if (snapshot.verdict !== undefined && !isRunning) return "Failed";
  const computed = computePhase(statuses, isEnded);
  if (isTerminalPhase(computed)) return isRunning ? (phase ?? "Pending") : computed;
  return isEnded ? "Failed" : computed;
}

/** The kubelet's getPhase. */
function computePhase(statuses: readonly RoleStatus[], isEnded: boolean): PodPhase {
  const app = pick(statuses, "app");
  const hasBegun = app.some(hasEverStarted);
  const init = statuses.filter(({ role }) => role === "init");
  if (init.some(({ status, willRestart }) => isFailed(status) && !willRestart)) return "Failed";
  const isInitPending = init.some(
    ({ status }) => status.state?.terminated === undefined || isFailed(status),
  );
  const isSidecarPending = pick(statuses, "sidecar").some(
    (status) => status.started !== true && status.state?.terminated === undefined,
  );
  if ((isInitPending || isSidecarPending) && !hasBegun) return "Pending";
  if (!app.every(hasEverStarted)) return "Pending";
  const lasting = pick(statuses, "app", "sidecar");
  if (lasting.some((status) => status.state?.running !== undefined)) return "Running";
  const isSuccess = app.every((status) => exitCodeOf(status) === 0);
  if (isEnded) return isSuccess ? "Succeeded" : "Failed";
  const continues = ({ role, status, willRestart }: RoleStatus): boolean =>
    role === "app" && (status.state?.waiting !== undefined || willRestart);
  if (statuses.some(continues)) return "Running";
  return isSuccess ? "Succeeded" : "Failed";
}

function exitCodeOf(status: ContainerStatus): number | undefined {
  return status.state?.terminated?.exitCode ?? status.lastState?.terminated?.exitCode;
}

function isFailed(status: ContainerStatus): boolean {
  const code = exitCodeOf(status);
  return code !== undefined && code !== 0;
}

/**
 * Statuses of a pod that is over: nothing is ready, and what should have ended but left no trace is said to have
 * failed. A pod that never got past its init containers keeps its app containers Waiting.
 */
function settle(statuses: readonly RoleStatus[]): readonly RoleStatus[] {
  const isInitialized =
    pick(statuses, "init").every((status) => status.state?.terminated?.exitCode === 0) ||
    pick(statuses, "app").some((status) => status.state?.waiting === undefined);
  const wasMade = ({ status }: RoleStatus): boolean => status.containerID !== undefined;
  const lastInit = statuses.findLastIndex(
    (entry) => entry.role !== "app" && entry.role !== "ephemeral" && wasMade(entry),
  );
  return statuses.map((entry, index) => {
    const isOver = entry.role === "app" ? isInitialized : index <= lastInit || wasMade(entry);
    return isOver ? { ...entry, status: settleOne(entry) } : entry;
  });
}

function settleOne({ role, status }: RoleStatus): ContainerStatus {
  if (status.state?.terminated === undefined) return unknownTermination(status);
  return { ...status, started: false, ready: role === "init" && status.ready };
}
