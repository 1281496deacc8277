/**
 * Which of several resizes comes first when there is not room for all: the kubelet's order. What asks for no more goes
 * before what does, then the pod of higher priority, then the better quality of service, then who has waited longest.
 * Pure. Used by resizer.ts.
 */

import { computePodRequests, computeQosClass, type QosClass } from "../../api/pod-resources.ts";
import type { Pod } from "../../api/types.ts";
import { type AllocationInput, computeAllocation } from "./allocation.ts";

export interface Resize {
  /** As its spec asks. */
  readonly desired: Pod;
  /** With what it was given. */
  readonly allocated: Pod;
  /** When it began to wait, in milliseconds since the epoch; undefined = it has only now been asked for. */
  readonly since: number | undefined;
}

const RANK: Readonly<Record<QosClass, number>> = { Guaranteed: 0, Burstable: 1, BestEffort: 2 };

function asksForMore({ desired, allocated }: Resize): boolean {
  const before = computePodRequests(allocated.spec);
  const after = computePodRequests(desired.spec);
  return ["cpu", "memory"].some((name) => (after[name] ?? 0) > (before[name] ?? 0));
}

/** For a sort: negative when `a` comes first. */
export function compareResizes(a: Resize, b: Resize): number {
  return (
    Number(asksForMore(a)) - Number(asksForMore(b)) ||
    (b.desired.spec.priority ?? 0) - (a.desired.spec.priority ?? 0) ||
    RANK[computeQosClass(a.desired.spec)] - RANK[computeQosClass(b.desired.spec)] ||
    (a.since ?? Number.MAX_SAFE_INTEGER) - (b.since ?? Number.MAX_SAFE_INTEGER)
  );
}

export interface Waiting extends Resize, Pick<AllocationInput, "allocation" | "active"> {}

/** The first that comes before `own`, fits now, and would not beside it: `own` waits for it. */
export function findAhead(
  own: Resize,
  waiting: readonly Waiting[],
  allocatable: AllocationInput["allocatable"],
): Pod | undefined {
  const { uid } = own.desired.metadata;
  return waiting
    .filter((other) => compareResizes(other, own) < 0)
    .find(({ desired: pod, allocation, active }) => {
      const fits = (beside: readonly Pod[]): boolean =>
        computeAllocation({ pod, allocation, active: () => beside, allocatable }).kind ===
        "granted";
      const now = active();
      const then = now.map((one) => (one.metadata.uid === uid ? own.desired : one));
      return fits(now) && !fits(then);
    })?.desired;
}
