/**
 * Phase 1 of a pod: what brings it closer to running as its spec says. Pure. The order is the kubelet's
 * computePodActions: deadline, sandbox, kills, init containers one after the other, app containers. Whether a dead
 * container starts again is decided by restart.ts alone.
 */

import type { Container as ContainerSpec } from "../../api/types.ts";
import type { Container, ContainerKind, Sandbox } from "../../runtime/runtime.ts";
import type { KillReason, PodAction, PodPlan } from "../actions.ts";
import { backoffOf, shouldRestart, shouldRestartInit } from "../restart.ts";
import {
  exitCodeOf,
  instancesOf,
  isDead,
  isHalfMade,
  newestSandbox,
  type PodSnapshot,
  restartPolicyOf,
} from "../snapshot.ts";
import { graceSecondsOf } from "./terminating.ts";

/** What one container asks for: at most one action, or a wait, or neither. */
interface Step {
  readonly action?: PodAction;
  readonly waitMs?: number;
  readonly why: string;
}

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

function toPlan(steps: readonly Step[]): PodPlan {
  const waits = steps.flatMap((step) => step.waitMs ?? []);
  return {
    actions: steps.flatMap((step) => step.action ?? []),
    waitMs: waits.length === 0 ? undefined : Math.min(...waits),
    why: [...new Set(steps.map((step) => step.why))].join("; "),
  };
}

function remainingDeadline(snapshot: PodSnapshot): number | undefined {
  const seconds = snapshot.pod.spec.activeDeadlineSeconds;
  if (seconds === undefined) return undefined;
  return snapshot.startTime + seconds * 1000 - snapshot.now;
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
  return stale.map(({ id, name }) => ({
    action: { kind: "remove-container", id, name },
    why: `old instance of ${name}`,
  }));
}

function planRunning(snapshot: PodSnapshot): Step[] {
  const sandbox = newestSandbox(snapshot.observed);
  if (sandbox?.state !== "ready") return planSandbox(snapshot, sandbox);
  const strangers = runningOutside(snapshot, sandbox);
  if (strangers.length > 0) return strangers;
  const older = snapshot.observed.sandboxes.filter((other) => other.id !== sandbox.id);
  return [...older.map(removeSandbox), ...planContainers(snapshot, sandbox)];
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
  const waitMs = snapshot.sandboxRetryAt - snapshot.now;
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
      ({ id, name, sandboxId }) =>
        sandboxId !== sandbox?.id || instancesOf(observed, name)[0]?.id !== id,
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
  if (restartPolicyOf(pod.spec) === "Never") return false;
  return pod.spec.containers.some(({ name }) => {
    const last = instancesOf(observed, name)[0];
    return last === undefined || shouldRestart(snapshot, last);
  });
}

function planContainers(snapshot: PodSnapshot, sandbox: Sandbox): Step[] {
  const init = planInit(snapshot, sandbox);
  if (init !== undefined) return [init];
  return snapshot.pod.spec.containers.map((spec) => planApp(snapshot, sandbox, spec));
}

/** The step of the init container whose turn it is; undefined when all have succeeded in this sandbox. */
function planInit(snapshot: PodSnapshot, sandbox: Sandbox): Step | undefined {
  const { pod, observed } = snapshot;
  const hasStartedApp = pod.spec.containers.some(
    ({ name }) => instancesOf(observed, name)[0]?.sandboxId === sandbox.id,
  );
  if (hasStartedApp) return undefined;
  for (const spec of pod.spec.initContainers ?? []) {
    const last = instancesOf(observed, spec.name)[0];
    if (last === undefined || last.sandboxId !== sandbox.id)
      return planStart(snapshot, sandbox, spec, "init", last);
    if (last.state === "running") return { why: `init container ${spec.name} runs` };
    if (exitCodeOf(last) === 0) continue;
    if (!shouldRestartInit(snapshot, last)) return { why: `init container ${spec.name} failed` };
    return planRestart(snapshot, sandbox, spec, "init", last);
  }
  return undefined;
}

function planApp(snapshot: PodSnapshot, sandbox: Sandbox, spec: ContainerSpec): Step {
  const last = instancesOf(snapshot.observed, spec.name)[0];
  if (last === undefined) return planStart(snapshot, sandbox, spec, "app", last);
  if (last.state === "running") return planKill(snapshot, last);
  if (!shouldRestart(snapshot, last)) return { why: `${spec.name} is done` };
  // A new sandbox restarts everything at once: nothing crashed.
  if (last.sandboxId !== sandbox.id) return planStart(snapshot, sandbox, spec, "app", last);
  return planRestart(snapshot, sandbox, spec, "app", last);
}

/** Whether a running app container must die: changed definition, failed liveness or startup probe. */
function planKill(snapshot: PodSnapshot, running: Container): Step {
  const { name, id, specHash } = running;
  const wanted = snapshot.specHashes.get(name);
  if (wanted !== undefined && wanted !== specHash) {
    const message = `Container ${name} definition changed, will be restarted`;
    return kill(snapshot, running, "definition-changed", message);
  }
  const failure = snapshot.probes.get(id)?.failure;
  if (failure === undefined) return { why: `${name} runs` };
  const isFinal = restartPolicyOf(snapshot.pod.spec) === "Never";
  const message = `Container ${name} failed ${failure.kind} probe${isFinal ? "" : ", will be restarted"}`;
  return kill(snapshot, running, `${failure.kind}-probe`, message);
}

function kill(
  snapshot: PodSnapshot,
  { id, name }: Container,
  reason: KillReason,
  message: string,
): Step {
  const graceSeconds = killGrace(snapshot, name, reason);
  return {
    action: { kind: "kill-container", id, name, reason, graceSeconds, message },
    why: message,
  };
}

/** A probe may shorten the pod's grace period for the kills it causes. */
function killGrace(snapshot: PodSnapshot, name: string, reason: KillReason): number {
  const spec = snapshot.pod.spec.containers.find((container) => container.name === name);
  const probe =
    reason === "liveness-probe"
      ? spec?.livenessProbe
      : reason === "startup-probe"
        ? spec?.startupProbe
        : undefined;
  return probe?.terminationGracePeriodSeconds ?? graceSecondsOf(snapshot.pod);
}

function planRestart(
  snapshot: PodSnapshot,
  sandbox: Sandbox,
  spec: ContainerSpec,
  kind: ContainerKind,
  dead: Container,
): Step {
  const waitMs = backoffOf(snapshot, dead);
  if (waitMs > 0) return { waitMs, why: `back-off of ${spec.name}` };
  return planStart(snapshot, sandbox, spec, kind, dead);
}

function planStart(
  snapshot: PodSnapshot,
  sandbox: Sandbox,
  spec: ContainerSpec,
  containerKind: ContainerKind,
  last: Container | undefined,
): Step {
  const { name } = spec;
  const { volumes } = snapshot;
  if (volumes.kind === "waiting") return { waitMs: volumes.waitMs, why: volumes.message };
  const failure = snapshot.startFailures.get(name);
  if (failure !== undefined && failure.retryAt > snapshot.now)
    return { waitMs: failure.retryAt - snapshot.now, why: `${name}: ${failure.message}` };
  const image = snapshot.images.get(name) ?? { kind: "unknown" };
  switch (image.kind) {
    case "unknown":
      return { action: { kind: "ensure-image", name }, why: `${name} needs its image` };
    case "pulling":
      return { why: `the image of ${name} is being pulled` };
    case "failed":
      if (image.waitMs <= 0 && image.mayRetry)
        return { action: { kind: "ensure-image", name }, why: `${name} needs its image` };
      return { waitMs: image.waitMs, why: `${name}: ${image.message}` };
    case "present":
      return {
        action: {
          kind: "start-container",
          name,
          containerKind,
          attempt: nextAttempt(snapshot, name, last),
          sandboxId: sandbox.id,
          imageId: image.imageId,
        },
        why: last === undefined ? `${name} was never started` : `${name} is to be restarted`,
      };
  }
}

/** Counts on from the newest instance, or from the status when instances were removed: restartCount never falls. */
function nextAttempt(snapshot: PodSnapshot, name: string, last: Container | undefined): number {
  const { containerStatuses = [], initContainerStatuses = [] } = snapshot.previous;
  const known = [...containerStatuses, ...initContainerStatuses].find(
    (status) => status.name === name,
  );
  const fromStatus = known?.containerID === undefined ? 0 : known.restartCount + 1;
  return Math.max(last === undefined ? 0 : last.attempt + 1, last === undefined ? fromStatus : 0);
}
