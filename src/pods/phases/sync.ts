/**
 * Phase 1 of a pod: what brings it closer to running as its spec says. Pure. The order is the kubelet's
 * computePodActions: deadline, sandbox, kills, ephemeral containers, init containers one after the other, app
 * containers. Whether a dead container starts again is decided by restart.ts alone.
 */

import type { Container, Sandbox } from "../../runtime/runtime.ts";
import type { KillReason, PodPlan } from "../actions.ts";
import { containersOf, findContainer, type PodContainer } from "../containers.ts";
import { backoffOf, containerPolicyOf, matchRestartRule, shouldRestart } from "../restart.ts";
import {
  exitCodeOf,
  instancesOf,
  isDead,
  isHalfMade,
  newestOf,
  newestSandbox,
  type PodSnapshot,
  restartPolicyOf,
  retryIn,
} from "../snapshot.ts";
import { hasInitFailed, planInit } from "./init.ts";
import { planResize, planResizeEnd } from "./resize.ts";
import { planRestart, planStart } from "./start.ts";
import { type Step, toPlan } from "./step.ts";
import { graceSecondsOf, planStop } from "./stop.ts";

/** The newest dead instance and the one before it stay, for lastState and `logs --previous`. */
const KEPT_INSTANCES = 2;

export function planSync(snapshot: PodSnapshot): PodPlan {
  const deadlineMs = remainingDeadline(snapshot);
  if (deadlineMs !== undefined && deadlineMs <= 0) {
    const message = "Pod was active on the node longer than the specified deadline";
    return toPlan([
      { action: { kind: "fail-pod", reason: "DeadlineExceeded", message }, why: message },
    ]);
  }
  const steps = [...planCleaning(snapshot), ...planRunning(snapshot)];
  if (deadlineMs !== undefined) steps.push({ waitMs: deadlineMs, why: "activeDeadlineSeconds" });
  return toPlan(steps);
}

function remainingDeadline(snapshot: PodSnapshot): number | undefined {
  const seconds = snapshot.pod.spec.activeDeadlineSeconds;
  if (seconds === undefined) return undefined;
  return snapshot.startTime + seconds * 1000 - snapshot.now;
}

/**
 * Nothing of the pod will run again by itself: its app containers have ended for good, or initialization has failed for
 * good. What still runs (sidecars, ephemeral containers) is then to end with it.
 */
export function isFinished(snapshot: PodSnapshot): boolean {
  if (hasInitFailed(snapshot)) return true;
  return snapshot.pod.spec.containers.every(({ name }) => {
    const last = newestOf(snapshot.observed, name);
    return last !== undefined && isDead(last) && !shouldRestart(snapshot, last);
  });
}

/** Instances nobody needs: half-made ones, and dead ones older than the last two of their container. */
function planCleaning(snapshot: PodSnapshot): Step[] {
  const { observed } = snapshot;
  const names = new Set(observed.containers.map((container) => container.name));
  const stale = [
    ...observed.containers.filter(isHalfMade),
    ...[...names].flatMap((name) =>
      instancesOf(observed, name).slice(KEPT_INSTANCES).filter(isDead),
    ),
  ];
  return stale.map((container) => removeContainer(container, `old instance of ${container.name}`));
}

function removeContainer({ id, name }: Container, why: string): Step {
  return { action: { kind: "remove-container", id, name }, why };
}

function planRunning(snapshot: PodSnapshot): Step[] {
  const sandbox = newestSandbox(snapshot.observed);
  if (sandbox?.state !== "ready") return planSandbox(snapshot, sandbox);
  const strangers = runningOutside(snapshot, sandbox);
  if (strangers.length > 0) return strangers;
  const restartAll = planRestartAll(snapshot, sandbox);
  if (restartAll.length > 0) return restartAll;
  const older = snapshot.observed.sandboxes.filter((other) => other.id !== sandbox.id);
  return [
    ...older.map(removeSandbox),
    ...planContainers(snapshot, sandbox),
    ...planResizeEnd(snapshot),
  ];
}

function removeSandbox({ id, state }: Sandbox): Step {
  const kind = state === "ready" ? "stop-sandbox" : "remove-sandbox";
  return { action: { kind, id }, why: "a sandbox that is no longer used" };
}

/** No usable sandbox: what ran in the last one ends, then a new one is made if anything should still run. */
function planSandbox(snapshot: PodSnapshot, dead: Sandbox | undefined): Step[] {
  const strangers = runningOutside(snapshot, undefined);
  if (strangers.length > 0) return strangers;
  if (!needsSandbox(snapshot)) return [{ why: "finished: nothing is to be started again" }];
  if (dead?.state === "created") return [removeSandbox(dead)];
  const { volumes } = snapshot;
  if (volumes.kind === "waiting") return [{ waitMs: volumes.waitMs, why: volumes.message }];
  const waitMs = retryIn(snapshot.sandboxRetryAt, snapshot.now);
  if (waitMs > 0) return [{ waitMs, why: "the last sandbox failed" }];
  const attempt = dead === undefined ? 0 : dead.attempt + 1;
  return [{ action: { kind: "create-sandbox", attempt }, why: "no running sandbox" }];
}

/** What runs and should not: in another sandbox than the current one, or beside a newer instance of itself. */
function runningOutside(snapshot: PodSnapshot, sandbox: Sandbox | undefined): Step[] {
  const { observed } = snapshot;
  return observed.containers
    .filter(({ state }) => state === "running")
    .filter(
      ({ id, name, sandboxId }) => sandboxId !== sandbox?.id || newestOf(observed, name)?.id !== id,
    )
    .map((container) =>
      kill(snapshot, container, "sandbox-changed", `Stopping container ${container.name}`),
    );
}

/** The kubelet's rules for a pod without a sandbox: a pod that is done, or may not restart, gets no new one. */
function needsSandbox(snapshot: PodSnapshot): boolean {
  const { pod, observed } = snapshot;
  const everMade = observed.containers.some((container) => !isHalfMade(container));
  if (!everMade) return true;
  const mayContinue = restartPolicyOf(pod.spec) !== "Never";
  return pod.spec.containers.some(({ name }) => {
    const last = newestOf(observed, name);
    return last === undefined ? mayContinue : shouldRestart(snapshot, last);
  });
}

/** A container ended with a code for which its rules want the whole pod anew, in the same sandbox. */
export function isRestartingAll(snapshot: PodSnapshot, sandbox: Sandbox): boolean {
  return restartAllSources(snapshot, sandbox).length > 0;
}

function restartAllSources({ pod, observed }: PodSnapshot, sandbox: Sandbox): Container[] {
  return containersOf(pod.spec).flatMap((container) => {
    const last = newestOf(observed, container.spec.name);
    if (last === undefined || !isDead(last) || last.sandboxId !== sandbox.id) return [];
    return matchRestartRule(container, exitCodeOf(last)) === "RestartAllContainers" ? last : [];
  });
}

/**
 * Everything ends, without hooks, and is removed; what follows is the start of a new pod. Those whose rules it was go
 * last: without them nobody knows that the others are to start again.
 */
function planRestartAll(snapshot: PodSnapshot, sandbox: Sandbox): Step[] {
  const sources = restartAllSources(snapshot, sandbox);
  if (sources.length === 0) return [];
  const { containers } = snapshot.observed;
  const why = "a container's restart rule restarts all containers";
  const running = containers.filter(({ state }) => state === "running");
  if (running.length > 0) return running.map((other) => kill(snapshot, other, "restart-all", why));
  const others = containers.filter((other) => !sources.includes(other));
  if (others.length > 0) return others.map((other) => removeContainer(other, why));
  const waitMs = Math.max(...sources.map((source) => backoffOf(snapshot, source)));
  if (waitMs > 0) return [{ waitMs, why: `back-off: ${why}` }];
  return sources.map(({ id, name }) => ({
    action: { kind: "remove-container", id, name, countsAsRestart: true },
    why,
  }));
}

function planContainers(snapshot: PodSnapshot, sandbox: Sandbox): Step[] {
  const all = containersOf(snapshot.pod.spec);
  const ephemeral = all
    .filter(({ role }) => role === "ephemeral")
    .map((container) => planEphemeral(snapshot, sandbox, container));
  const planOne = (container: PodContainer): Step => planLasting(snapshot, sandbox, container);
  const init = planInit(snapshot, sandbox, planOne, (container, running) =>
    planResizing(snapshot, container, running),
  );
  if (!init.isDone) return [...ephemeral, ...init.steps];
  const apps = all.filter(({ role }) => role === "app");
  return [...ephemeral, ...init.steps, ...planApps(snapshot, apps, planOne)];
}

/** In order; behind one whose postStart hook is to run or runs, nothing is started yet. */
function planApps(
  snapshot: PodSnapshot,
  apps: readonly PodContainer[],
  planOne: (container: PodContainer) => Step,
): Step[] {
  const steps: Step[] = [];
  let isHeldBy: string | undefined;
  for (const app of apps) {
    const { name, lifecycle } = app.spec;
    const step = planOne(app);
    const isStart = step.action?.kind === "start-container";
    if (isStart && isHeldBy !== undefined) {
      steps.push({ why: `${name} waits for the postStart hook of ${isHeldBy}` });
      continue;
    }
    steps.push(step);
    const hook = snapshot.operations.get(newestOf(snapshot.observed, name)?.id ?? "");
    const hasHookAhead = isStart && lifecycle?.postStart !== undefined;
    if (hasHookAhead || hook?.["post-start"]?.status === "running") isHeldBy = name;
  }
  return steps;
}

/** Started once, never again: not even when what is known of it is only in the status. */
function planEphemeral(snapshot: PodSnapshot, sandbox: Sandbox, container: PodContainer): Step {
  const { name } = container.spec;
  const { ephemeralContainerStatuses = [] } = snapshot.previous;
  const known = ephemeralContainerStatuses.find((status) => status.name === name);
  const last = newestOf(snapshot.observed, name);
  if (last !== undefined || known?.containerID !== undefined)
    return { why: `ephemeral container ${name} was started` };
  return planStart(snapshot, sandbox, container, undefined);
}

/** A container that runs as long as its pod does. */
function planLasting(snapshot: PodSnapshot, sandbox: Sandbox, container: PodContainer): Step {
  const { name } = container.spec;
  const last = newestOf(snapshot.observed, name);
  if (last === undefined) return planStart(snapshot, sandbox, container, last);
  if (last.state === "running") return planKill(snapshot, container, last);
  if (!shouldRestart(snapshot, last)) return { why: `${name} is done` };
  // A new sandbox restarts everything at once: nothing crashed.
  if (last.sandboxId !== sandbox.id) return planStart(snapshot, sandbox, container, last);
  return planRestart(snapshot, sandbox, container, last);
}

/** Whether a running container must die: changed definition, failed hook, failed liveness or startup probe. */
function planKill(snapshot: PodSnapshot, container: PodContainer, running: Container): Step {
  const { name, id, specHash } = running;
  const title = container.role === "sidecar" ? "Init container" : "Container";
  const wanted = snapshot.specHashes.get(name);
  if (wanted !== undefined && wanted !== specHash) {
    const message = `${title} ${name} definition changed, will be restarted`;
    return kill(snapshot, running, "definition-changed", message);
  }
  const operations = snapshot.operations.get(id);
  if (operations?.["post-start"]?.status === "failed")
    return kill(snapshot, running, "post-start-hook", "FailedPostStartHook");
  const failure = snapshot.probes.get(id)?.failure;
  if (failure === undefined)
    return planResizing(snapshot, container, running) ?? { why: `${name} runs` };
  const isFinal = containerPolicyOf(snapshot.pod.spec, container) === "Never";
  const message = `${title} ${name} failed ${failure.kind} probe${isFinal ? "" : ", will be restarted"}`;
  return kill(snapshot, running, `${failure.kind}-probe`, message);
}

function planResizing(
  snapshot: PodSnapshot,
  container: PodContainer,
  running: Container,
): Step | undefined {
  return planResize(snapshot, container, running, (message) =>
    kill(snapshot, running, "resize", message),
  );
}

function kill(
  snapshot: PodSnapshot,
  container: Container,
  reason: KillReason,
  message: string,
): Step {
  const graceSeconds = killGrace(snapshot, container.name, reason);
  return planStop(snapshot, { container, reason, message, graceSeconds, mayStop: true });
}

/** A probe may change the pod's grace period for the kills it causes. */
function killGrace(snapshot: PodSnapshot, name: string, reason: KillReason): number {
  const spec = findContainer(snapshot.pod.spec, name)?.spec;
  const probe =
    reason === "liveness-probe"
      ? spec?.livenessProbe
      : reason === "startup-probe"
        ? spec?.startupProbe
        : undefined;
  return probe?.terminationGracePeriodSeconds ?? graceSecondsOf(snapshot.pod);
}
