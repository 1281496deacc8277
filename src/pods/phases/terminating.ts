/**
 * Phase 2 of a pod: everything that runs is stopped, then the sandbox. Pure. Sidecars serve until all others have ended
 * and then end in the reverse of the order they were started in, within one grace period for all. An empty plan without
 * a wait means that nothing of the pod runs any more.
 */

import type { Container } from "../../runtime/runtime.ts";
import type { PodPlan } from "../actions.ts";
import { findContainer } from "../containers.ts";
import type { PodSnapshot } from "../snapshot.ts";
import { type Step, toPlan } from "./step.ts";
import { graceSecondsOf, planStop } from "./stop.ts";

export function planTerminating(snapshot: PodSnapshot): PodPlan {
  const running = snapshot.observed.containers.filter(({ state }) => state === "running");
  if (running.length > 0)
    return toPlan(running.map((container) => planEnd(snapshot, running, container)));
  const stops = snapshot.observed.sandboxes
    .filter((sandbox) => sandbox.state === "ready")
    .map(
      ({ id }): Step => ({
        action: { kind: "stop-sandbox", id },
        why: "no container runs any more",
      }),
    );
  return stops.length > 0 ? toPlan(stops) : toPlan([{ why: "nothing of the pod runs any more" }]);
}

function planEnd(snapshot: PodSnapshot, running: readonly Container[], container: Container): Step {
  return planStop(snapshot, {
    container,
    reason: "terminating",
    message: `Stopping container ${container.name}`,
    graceSeconds: snapshot.verdict?.graceSeconds ?? graceSecondsOf(snapshot.pod),
    ...(snapshot.endingSince === undefined ? {} : { since: snapshot.endingSince }),
    mayStop: isLastOf(snapshot, running, container.name),
  });
}

/** True unless it is a sidecar of something that still runs. */
function isLastOf({ pod }: PodSnapshot, running: readonly Container[], name: string): boolean {
  if (findContainer(pod.spec, name)?.role !== "sidecar") return true;
  const order = (pod.spec.initContainers ?? []).map((spec) => spec.name);
  const own = order.indexOf(name);
  return running.every((other) => {
    const role = findContainer(pod.spec, other.name)?.role;
    return role === "sidecar" && order.indexOf(other.name) <= own;
  });
}
