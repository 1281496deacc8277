/**
 * Who gives way to a critical pod for which the node has not enough left: as few as can be, best effort first, and never
 * another critical pod. Pure; the kubelet's choice. Called by admission.ts.
 */

import { computePodRequests, computeQosClass, type QosClass } from "../../api/pod-resources.ts";
import type { Pod } from "../../api/types.ts";
import type { Shortage } from "./fit.ts";

const SYSTEM_CRITICAL = 2_000_000_000;

/** Resource → how much of it has still to be freed. */
type Need = ReadonlyMap<string, number>;

export function isCritical({ metadata, spec }: Pod): boolean {
  const source = metadata.annotations?.["kubernetes.io/config.source"] ?? "api";
  return source !== "api" || (spec.priority ?? 0) >= SYSTEM_CRITICAL;
}

/** undefined = even all that may give way would not be enough. */
export function planPreemption(
  pod: Pod,
  active: readonly Pod[],
  shortages: readonly Shortage[],
): readonly Pod[] | undefined {
  if (!isCritical(pod)) return undefined;
  const need = new Map(
    shortages.map(({ resource, requested, used, capacity }) => [
      resource,
      requested + used - capacity,
    ]),
  );
  const candidates = active.filter((other) => !isCritical(other));
  if (without(need, candidates).size > 0) return undefined;
  const of = (qosClass: QosClass): readonly Pod[] =>
    candidates.filter(({ spec }) => computeQosClass(spec) === qosClass);
  const bestEffort = of("BestEffort");
  const burstable = of("Burstable");
  // The better classes lose only what the lesser ones cannot give.
  const guaranteed = choose(of("Guaranteed"), without(need, [...bestEffort, ...burstable]));
  const some = choose(burstable, without(need, [...bestEffort, ...guaranteed]));
  return [...choose(bestEffort, without(need, [...some, ...guaranteed])), ...some, ...guaranteed];
}

function requestOf({ spec }: Pod, resource: string): number {
  return resource === "pods" ? 1 : (computePodRequests(spec)[resource] ?? 0);
}

/** What is still needed when these are gone. */
function without(need: Need, pods: readonly Pod[]): Need {
  const left = [...need].map(([resource, amount]): readonly [string, number] => [
    resource,
    pods.reduce((rest, pod) => rest - requestOf(pod, resource), amount),
  ]);
  return new Map(left.filter(([, amount]) => amount > 0));
}

/** One after the other the pod whose end comes closest to what is needed; of equals the one that requests least. */
function choose(candidates: readonly Pod[], need: Need): readonly Pod[] {
  const chosen: Pod[] = [];
  let left = need;
  while (left.size > 0) {
    const next = candidates
      .filter((pod) => !chosen.includes(pod))
      .map((pod) => ({ pod, distance: distanceOf(pod, left), size: sizeOf(pod, left) }))
      .sort((a, b) => a.distance - b.distance || a.size - b.size)[0];
    if (next === undefined) return chosen;
    chosen.push(next.pod);
    left = without(left, [next.pod]);
  }
  return chosen;
}

function distanceOf(pod: Pod, need: Need): number {
  return [...need].reduce((sum, [resource, amount]) => {
    const rest = Math.max(0, amount - requestOf(pod, resource)) / amount;
    return sum + rest * rest;
  }, 0);
}

function sizeOf(pod: Pod, need: Need): number {
  return [...need.keys()].reduce((sum, resource) => sum + requestOf(pod, resource), 0);
}
