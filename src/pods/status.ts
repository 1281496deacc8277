/**
 * computePodStatus: from one snapshot of a pod to the PodStatus the API server should have. Pure. It promises that no
 * wrong phase appears in between: Pending until every container has been started once, terminal phases are final.
 * Called by worker.ts in every round; written by status-writer.ts.
 */

import { computeQosClass } from "../api/pod-resources.ts";
import type { Container, ContainerStatus, PodSpec, PodStatus } from "../api/types.ts";
import type { ContainerKind } from "../runtime/runtime.ts";
import { computeConditions } from "./conditions.ts";
import { computeContainerStatus, unknownTermination } from "./container-status.ts";
import { type PodSnapshot, readySandbox, restartPolicyOf, startTimeOf } from "./snapshot.ts";

type PodPhase = NonNullable<PodStatus["phase"]>;

export function isTerminalPhase(phase: string | undefined): boolean {
  return phase === "Succeeded" || phase === "Failed";
}

export function computePodStatus(snapshot: PodSnapshot): PodStatus {
  const { pod, previous, verdict } = snapshot;
  const computed = {
    init: statusesOf(snapshot, pod.spec.initContainers, "init"),
    app: statusesOf(snapshot, pod.spec.containers, "app"),
  };
  const phase = decidePhase(snapshot, computed.init, computed.app);
  const { init, app } =
    snapshot.phase === "terminated" ? settle(computed.init, computed.app) : computed;
  const podIps = podIpsOf(snapshot);
  const hasNetwork = readySandbox(snapshot.observed) !== undefined && podIps.length > 0;
  // The reason of an end is told with the terminal phase, not before it.
  const ended = isTerminalPhase(previous.phase) ? previous : (pod.status ?? {});
  const explained = isTerminalPhase(phase) ? (verdict ?? ended) : {};
  const conditions = computeConditions(
    { pod, phase, init, app, hasNetwork, now: snapshot.now },
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
    ...(isNeverStarted(snapshot) ? {} : { initContainerStatuses: init, containerStatuses: app }),
    qosClass: pod.status?.qosClass ?? computeQosClass(pod.spec),
  };
}

/** A pod that was refused has no containers to speak of. */
function isNeverStarted(snapshot: PodSnapshot): boolean {
  return (
    snapshot.verdict !== undefined &&
    snapshot.observed.containers.length === 0 &&
    snapshot.previous.containerStatuses === undefined
  );
}

function statusesOf(
  snapshot: PodSnapshot,
  specs: readonly Container[] | undefined,
  kind: ContainerKind,
): ContainerStatus[] {
  const { containerStatuses = [], initContainerStatuses = [] } = snapshot.previous;
  const before = kind === "init" ? initContainerStatuses : containerStatuses;
  return (specs ?? []).map((spec) =>
    computeContainerStatus(
      snapshot,
      spec,
      kind,
      before.find((status) => status.name === spec.name),
    ),
  );
}

function podIpsOf(snapshot: PodSnapshot): readonly string[] {
  const sandbox = readySandbox(snapshot.observed);
  if (sandbox !== undefined) return sandbox.hostNetwork ? snapshot.hostIps : sandbox.ips;
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
function decidePhase(
  snapshot: PodSnapshot,
  init: readonly ContainerStatus[],
  app: readonly ContainerStatus[],
): PodPhase {
  const stored = snapshot.pod.status?.phase;
  const { phase } = snapshot.previous;
  if (phase !== undefined && isTerminalPhase(phase)) return phase;
  if (stored !== undefined && isTerminalPhase(stored)) return stored;
  const isEnded = snapshot.phase === "terminated";
  const isRunning = snapshot.observed.containers.some(({ state }) => state === "running");
  // A pod is not called finished while something of it may still run.
  if (snapshot.verdict !== undefined && !isRunning) return "Failed";
  const computed = computePhase(snapshot.pod.spec, init, app, isEnded);
  if (!isEnded) return computed;
  return isTerminalPhase(computed) ? computed : "Failed";
}

/** The kubelet's getPhase, for pods without restartable init containers. */
function computePhase(
  spec: PodSpec,
  init: readonly ContainerStatus[],
  app: readonly ContainerStatus[],
  isEnded: boolean,
): PodPhase {
  const policy = restartPolicyOf(spec);
  const failedInit = init.filter(isFailed);
  if (failedInit.length > 0 && policy === "Never") return "Failed";
  const hasStarted = (status: ContainerStatus): boolean =>
    status.state?.waiting === undefined || status.lastState?.terminated !== undefined;
  const isInitPending = init.some(
    (status) => status.state?.terminated === undefined || isFailed(status),
  );
  if (isInitPending && !app.some(hasStarted)) return "Pending";
  if (!app.every(hasStarted)) return "Pending";
  if (app.some((status) => status.state?.running !== undefined)) return "Running";
  const isSuccess = app.every((status) => exitCodeOf(status) === 0);
  if (isEnded) return isSuccess ? "Succeeded" : "Failed";
  if (policy === "Always") return "Running";
  if (app.some((status) => status.state?.waiting !== undefined)) return "Running";
  if (isSuccess) return "Succeeded";
  return policy === "Never" ? "Failed" : "Running";
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
function settle(
  init: readonly ContainerStatus[],
  app: readonly ContainerStatus[],
): { readonly init: ContainerStatus[]; readonly app: ContainerStatus[] } {
  const isInitialized =
    init.every((status) => status.state?.terminated?.exitCode === 0) ||
    app.some((status) => status.state?.waiting === undefined);
  const settled = (status: ContainerStatus): ContainerStatus =>
    status.state?.terminated === undefined
      ? unknownTermination(status)
      : { ...status, started: false };
  const lastStarted = init.findLastIndex((status) => status.containerID !== undefined);
  return {
    init: init.map((status, index) => (index <= lastStarted ? settled(status) : status)),
    app: isInitialized ? app.map((status) => ({ ...settled(status), ready: false })) : [...app],
  };
}
