/**
 * The init containers of a pod: one after the other, each when the one before it has succeeded or, being a sidecar, has
 * started. Sidecars behind that point are kept running like app containers. Pure; the kubelet's rules
 * (computeInitContainerActions). Used by sync.ts.
 */

import type { Container, Sandbox } from "../../runtime/runtime.ts";
import { containersOf, type PodContainer } from "../containers.ts";
import { shouldRestart } from "../restart.ts";
import { exitCodeOf, hasStarted, isDead, newestOf, type PodSnapshot } from "../snapshot.ts";
import { planRestart, planStart } from "./start.ts";
import type { Step } from "./step.ts";

export interface InitPlan {
  readonly steps: readonly Step[];
  /** The app containers may start. */
  readonly isDone: boolean;
}

/**
 * `planLasting` says what a container that is to keep running asks for, `planResizing` what one that runs lacks of its
 * allocation.
 */
export function planInit(
  snapshot: PodSnapshot,
  sandbox: Sandbox,
  planLasting: (container: PodContainer) => Step,
  planResizing: (container: PodContainer, running: Container) => Step | undefined,
): InitPlan {
  const init = initContainersOf(snapshot);
  const reached = reachedIndex(snapshot, sandbox, init);
  const steps = init
    .slice(0, reached + 1)
    .filter(({ role }) => role === "sidecar")
    .map(planLasting);
  const current = init[reached];
  if (current !== undefined) {
    const last = newestOf(snapshot.observed, current.spec.name);
    if (last !== undefined && !isThrough(snapshot, current, last)) {
      if (current.role === "sidecar") return { steps, isDone: false };
      const step =
        (isDead(last) ? undefined : planResizing(current, last)) ??
        planUnfinished(snapshot, sandbox, current, last);
      return { steps: [...steps, step], isDone: false };
    }
  }
  const next = init[reached + 1];
  if (next === undefined) return { steps, isDone: true };
  const last = newestOf(snapshot.observed, next.spec.name);
  return { steps: [...steps, planStart(snapshot, sandbox, next, last)], isDone: false };
}

function initContainersOf({ pod }: PodSnapshot): readonly PodContainer[] {
  return containersOf(pod.spec).filter(({ role }) => role === "init" || role === "sidecar");
}

/** The last init container that was begun in this sandbox; past the end once an app container was. */
function reachedIndex(
  { pod, observed }: PodSnapshot,
  sandbox: Sandbox,
  init: readonly PodContainer[],
): number {
  const wasBegun = (name: string): boolean => newestOf(observed, name)?.sandboxId === sandbox.id;
  if (pod.spec.containers.some(({ name }) => wasBegun(name))) return init.length;
  return init.findLastIndex(({ spec }) => wasBegun(spec.name));
}

/** The next one may start: this one has succeeded, or serves. */
function isThrough(snapshot: PodSnapshot, { role }: PodContainer, last: Container): boolean {
  if (role === "sidecar") return hasStarted(snapshot, last);
  return isDead(last) && exitCodeOf(last) === 0;
}

function planUnfinished(
  snapshot: PodSnapshot,
  sandbox: Sandbox,
  container: PodContainer,
  last: Container,
): Step {
  const { name } = container.spec;
  if (!isDead(last)) return { why: `init container ${name} runs` };
  if (!shouldRestart(snapshot, last)) return { why: `init container ${name} failed` };
  return planRestart(snapshot, sandbox, container, last);
}

/** An init container has failed and may not run again: so has the pod. */
export function hasInitFailed(snapshot: PodSnapshot): boolean {
  return initContainersOf(snapshot).some(({ spec, role }) => {
    const last = newestOf(snapshot.observed, spec.name);
    if (role !== "init" || last === undefined || !isDead(last)) return false;
    return exitCodeOf(last) !== 0 && !shouldRestart(snapshot, last);
  });
}
