/**
 * Whether what a pod requests is left on this node beside what the others request. Pure; the kubelet's reasons and
 * messages. Called by admission.ts and, for what must give way, by preemption.ts.
 */

import { type Amounts, computePodRequests } from "../../api/pod-resources.ts";
import type { Pod } from "../../api/types.ts";
import type { Verdict } from "../snapshot.ts";

export interface Shortage {
  readonly resource: string;
  readonly requested: number;
  readonly used: number;
  readonly capacity: number;
}

/** Order of the kubelet's predicates; the others follow by name. */
const FIRST: readonly string[] = ["cpu", "memory", "ephemeral-storage"];

/** All that is short, the number of pods first. */
export function findShortages(
  pod: Pod,
  active: readonly Pod[],
  allocatable: Amounts,
): readonly Shortage[] {
  const requests = computePodRequests(pod.spec);
  const others = active.map(({ spec }) => computePodRequests(spec));
  const rest = Object.keys(requests).filter((name) => !FIRST.includes(name));
  const asked = [...FIRST, ...rest.sort()]
    .filter((name) => !isElsewhere(name, allocatable))
    .map((resource) => ({
      resource,
      requested: requests[resource] ?? 0,
      used: others.reduce((sum, other) => sum + (other[resource] ?? 0), 0),
    }));
  return [{ resource: "pods", requested: 1, used: active.length }, ...asked]
    .map((shortage) => ({ ...shortage, capacity: allocatable[shortage.resource] ?? 0 }))
    .filter(({ requested, used, capacity }) => requested > 0 && requested > capacity - used);
}

/** What a scheduler extender accounts for, the node need not know: only what it reports counts. */
function isElsewhere(resource: string, allocatable: Amounts): boolean {
  const isExtended = resource.includes("/") && !/(^|\.)kubernetes\.io\//.test(resource);
  return isExtended && allocatable[resource] === undefined;
}

export function describeShortage({ resource, requested, used, capacity }: Shortage): Verdict {
  return {
    reason: `OutOf${resource}`,
    message: `Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
  };
}
