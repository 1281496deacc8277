/** What one thing of a pod asks for, and how such steps add up to a plan. Used by the planners of all phases. */

import type { PodAction, PodPlan } from "../actions.ts";

/** At most one action, or a wait, or neither. */
export interface Step {
  readonly action?: PodAction;
  /** Milliseconds until this may be more than a wait. */
  readonly waitMs?: number;
  readonly why: string;
}

export function toPlan(steps: readonly Step[]): PodPlan {
  const waits = steps.flatMap((step) => step.waitMs ?? []);
  return {
    actions: steps.flatMap((step) => step.action ?? []),
    waitMs: waits.length === 0 ? undefined : Math.min(...waits),
    why: [...new Set(steps.map((step) => step.why))].join("; "),
  };
}
