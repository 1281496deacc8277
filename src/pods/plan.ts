/**
 * computePodActions: from one snapshot of a pod to the next possible actions. Pure. Start reading here: each worker
 * phase has its own file (phases/sync decides starts and restarts, phases/terminating the stop, phases/terminated the
 * cleaning). Called by worker.ts in every round.
 */

import type { PodPlan } from "./actions.ts";
import { planSync } from "./phases/sync.ts";
import { planTerminated } from "./phases/terminated.ts";
import { planTerminating } from "./phases/terminating.ts";
import type { PodSnapshot } from "./snapshot.ts";

export function computePodActions(snapshot: PodSnapshot): PodPlan {
  switch (snapshot.phase) {
    case "sync":
      return planSync(snapshot);
    case "terminating":
      return planTerminating(snapshot);
    case "terminated":
      return planTerminated(snapshot);
  }
}
