/**
 * How running containers come to have what is allocated to their pod: other resources while they run, or a restart
 * where their resizePolicy says so, and at last the pod's own cgroup. Pure. Used by sync.ts and init.ts; a container
 * that does not run has nothing to be resized, it starts with what is allocated then.
 */

import { computeResources } from "../../runtime/resources.ts";
import type { Container, ContainerResources } from "../../runtime/runtime.ts";
import { containersOf, type PodContainer } from "../containers.ts";
import { areDifferent, madeWith } from "../resize/allocation.ts";
import { isDead, newestOf, type PodSnapshot, retryIn } from "../snapshot.ts";
import type { Step } from "./step.ts";

export type Resize =
  | { readonly kind: "none" }
  /** The container's resizePolicy wants it to start anew. */
  | { readonly kind: "restart" }
  | { readonly kind: "update"; readonly resources: ContainerResources };

/** What a running container lacks of its allocation. */
export function computeResize(
  { pod, allocation }: Pick<PodSnapshot, "pod" | "allocation">,
  { spec, role }: PodContainer,
  running: Container,
): Resize {
  if (allocation === undefined || allocation.isDone || role === "ephemeral")
    return { kind: "none" };
  // A resource with this policy never changes in place: the container has what it was made with.
  const restarted = (spec.resizePolicy ?? [])
    .filter(({ restartPolicy }) => restartPolicy === "RestartContainer")
    .map(({ resourceName }) => resourceName);
  const made = madeWith(running);
  if (made !== undefined && areDifferent(made, spec.resources, restarted))
    return { kind: "restart" };
  const resources = computeResources(pod.spec, spec, undefined);
  const isEqual =
    resources.cpuShares === running.resources.cpuShares &&
    resources.cpuQuotaMicros === running.resources.cpuQuotaMicros &&
    resources.memoryBytes === running.resources.memoryBytes;
  return isEqual ? { kind: "none" } : { kind: "update", resources };
}

/** The step of one running container; undefined when it has all it should. `kill` ends it to be started again. */
export function planResize(
  snapshot: PodSnapshot,
  container: PodContainer,
  running: Container,
  kill: (message: string) => Step,
): Step | undefined {
  const { id, name } = running;
  const resize = computeResize(snapshot, container, running);
  if (resize.kind === "none") return undefined;
  if (resize.kind === "restart") return kill(`Container ${name} resize requires restart`);
  const waiting = planRetry(snapshot);
  if (waiting !== undefined) return waiting;
  const { resources } = resize;
  return { action: { kind: "resize-container", id, name, resources }, why: `${name} is resized` };
}

/** Why what the spec asks for is not begun, and the end of what is: once all that runs has its part, and what was ended for it runs again. */
export function planResizeEnd(snapshot: PodSnapshot): Step[] {
  const { allocation, observed, replaced, resizePending: pending } = snapshot;
  const waiting =
    pending === undefined ? [] : [{ why: `its resize is ${pending.reason}: ${pending.message}` }];
  if (allocation === undefined || allocation.isDone) return waiting;
  const isOpen = containersOf(snapshot.pod.spec).some((container) => {
    const last = newestOf(observed, container.spec.name);
    if (last === undefined) return false;
    if (isDead(last)) return replaced.has(last.id);
    return computeResize(snapshot, container, last).kind !== "none";
  });
  if (isOpen) return waiting;
  return [
    ...waiting,
    planRetry(snapshot) ?? {
      action: { kind: "finish-resize" },
      why: "all containers have what is allocated",
    },
  ];
}

function planRetry({ resizeFailure, now }: PodSnapshot): Step | undefined {
  if (resizeFailure === undefined) return undefined;
  const waitMs = retryIn(resizeFailure.retryAt, now);
  return waitMs > 0 ? { waitMs, why: resizeFailure.message } : undefined;
}
