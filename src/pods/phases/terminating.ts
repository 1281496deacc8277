/**
 * Phase 2 of a pod: everything that runs is stopped, containers first and all at once, then the sandbox. Pure. An
 * empty plan means that nothing of the pod runs any more.
 */

import type { Pod } from "../../api/types.ts";
import type { PodAction, PodPlan } from "../actions.ts";
import type { PodSnapshot } from "../snapshot.ts";

const DEFAULT_GRACE_SECONDS = 30;
const MIN_GRACE_SECONDS = 1;

/** Seconds a container of this pod gets between the stop signal and SIGKILL; the kubelet never gives less than one. */
export function graceSecondsOf(pod: Pod): number {
  const seconds =
    pod.metadata.deletionGracePeriodSeconds ??
    pod.spec.terminationGracePeriodSeconds ??
    DEFAULT_GRACE_SECONDS;
  return Math.max(MIN_GRACE_SECONDS, seconds);
}

export function planTerminating(snapshot: PodSnapshot): PodPlan {
  const graceSeconds = graceSecondsOf(snapshot.pod);
  const kills = snapshot.observed.containers
    .filter((container) => container.state === "running")
    .map(
      ({ id, name }): PodAction => ({
        kind: "kill-container",
        id,
        name,
        reason: "terminating",
        graceSeconds,
        message: `Stopping container ${name}`,
      }),
    );
  if (kills.length > 0) return { actions: kills, waitMs: undefined, why: "the pod is ending" };
  const stops = snapshot.observed.sandboxes
    .filter((sandbox) => sandbox.state === "ready")
    .map((sandbox): PodAction => ({ kind: "stop-sandbox", id: sandbox.id }));
  const why = stops.length > 0 ? "no container runs any more" : "nothing of the pod runs any more";
  return { actions: stops, waitMs: undefined, why };
}
