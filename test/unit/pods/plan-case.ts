/** One row of a table of the planner, and how an action is written in it. */

import type { PodAction } from "../../../src/pods/actions.ts";
import type { PodSnapshot } from "../../../src/pods/snapshot.ts";

export interface PlanCase {
  readonly sentence: string;
  readonly given: Partial<PodSnapshot>;
  /** Kind and the name, ID or reason it is about; of a kill also the seconds when they are not the pod's. */
  readonly expected: readonly string[];
  readonly waitMs?: number;
}

export function describeAction(action: PodAction): string {
  switch (action.kind) {
    case "create-sandbox":
      return `${action.kind} ${action.attempt}`;
    case "start-container":
      return `${action.kind} ${action.name} ${action.attempt}`;
    case "kill-container": {
      const hasWaited = action.isAnnounced || action.graceSeconds === 2;
      return `${action.kind} ${action.id} ${action.reason}${hasWaited ? ` ${action.graceSeconds}` : ""}`;
    }
    case "run-pre-stop":
      return `${action.kind} ${action.id} ${action.reason}`;
    case "ensure-image":
      return `${action.kind} ${action.name}`;
    case "fail-pod":
      return `${action.kind} ${action.reason}`;
    case "stop-sandbox":
    case "remove-sandbox":
    case "remove-container":
    case "resize-container":
      return `${action.kind} ${action.id}`;
    default:
      return action.kind;
  }
}
