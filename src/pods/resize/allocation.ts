/**
 * What of its node a pod has been given, which is not what its spec asks for while a resize of it waits or cannot be.
 * Pure; the kubelet's reasons and messages. record.ts keeps the allocation, the checkpoint saves it, resizer.ts asks
 * for a new one in each turn of the pod.
 */

import { type Amounts, computePodRequests, toAmounts } from "../../api/pod-resources.ts";
import type { Container as ContainerSpec, Pod, PodSpec } from "../../api/types.ts";
import { canonicalJson } from "../../core/hash.ts";
import { RESOURCES_ANNOTATION } from "../../runtime/container-config.ts";
import type { RuntimeState } from "../../runtime/runtime.ts";
import { describeShortage, findShortages } from "../admission/fit.ts";
import {
  type Allocation,
  newestOf,
  newestSandbox,
  type ResizePending,
  type Resources,
} from "../snapshot.ts";

export interface AllocationInput {
  /** As its spec asks. */
  readonly pod: Pod;
  readonly allocation: Allocation;
  /** Pods of this node that have not ended, without this one, each with what is allocated to it. */
  readonly active: () => readonly Pod[];
  /** With the number of pods. */
  readonly allocatable: Amounts;
}

export type AllocationDecision =
  | { readonly kind: "kept" }
  | { readonly kind: "granted"; readonly allocation: Allocation }
  | { readonly kind: "pending"; readonly pending: ResizePending };

type AnyContainer = Pick<ContainerSpec, "name" | "resources">;

function resizable(spec: PodSpec): readonly AnyContainer[] {
  return [...(spec.initContainers ?? []), ...spec.containers];
}

function allocationOf(
  { spec }: Pod,
  resourcesOf: (container: AnyContainer) => Resources | undefined,
  ofPod: Resources | undefined,
): Pick<Allocation, "pod" | "containers"> {
  const entries = resizable(spec).map((one) => [one.name, resourcesOf(one) ?? {}] as const);
  return {
    ...(ofPod === undefined ? {} : { pod: ofPod }),
    containers: Object.fromEntries(entries),
  };
}

/** The pod with the resources it was given in place of those it asks for. */
export function applyAllocation(pod: Pod, allocation: Allocation | undefined): Pod {
  if (allocation === undefined) return pod;
  const { containers, initContainers, ...rest } = pod.spec;
  const apply = (container: ContainerSpec): ContainerSpec => {
    const resources = allocation.containers[container.name];
    return resources === undefined ? container : { ...container, resources };
  };
  return {
    ...pod,
    spec: {
      ...rest,
      ...(allocation.pod === undefined ? {} : { resources: allocation.pod }),
      containers: containers.map(apply),
      ...(initContainers === undefined ? {} : { initContainers: initContainers.map(apply) }),
    },
  };
}

/** Of a pod that was never resized: what its containers were made with, and until they are, what it asks for. */
export function initialAllocation(pod: Pod, observed: RuntimeState): Allocation {
  const made = (container: AnyContainer): Resources | undefined =>
    madeWith(newestOf(observed, container.name)) ?? container.resources;
  const ofPod = madeWith(newestSandbox(observed)) ?? pod.spec.resources;
  return { ...allocationOf(pod, made, ofPod), isDone: true };
}

/** What the runtime's annotations tell of how it was made. */
export function madeWith(
  made: { readonly annotations: Readonly<Record<string, string>> } | undefined,
): Resources | undefined {
  const told = made?.annotations[RESOURCES_ANNOTATION];
  return told === undefined ? undefined : (JSON.parse(told) as Resources);
}

/** Of cpu and memory, which alone can change: in amounts, so that `1` and `1000m` are the same. */
function comparable(resources: Resources | null | undefined, names: readonly string[]): string {
  const { requests, limits } = resources ?? {};
  const pick = (amounts: Amounts) => names.map((name) => amounts[name] ?? null);
  return canonicalJson([pick(toAmounts(requests)), pick(toAmounts(limits))]);
}

const RESIZABLE: readonly string[] = ["cpu", "memory"];

/** Whether requests or limits of these resources differ. */
export function areDifferent(
  a: Resources | undefined,
  b: Resources | undefined,
  names = RESIZABLE,
): boolean {
  return comparable(a, names) !== comparable(b, names);
}

export function computeAllocation(input: AllocationInput): AllocationDecision {
  const { pod, allocation, active, allocatable } = input;
  const { spec, metadata } = pod;
  const isKept =
    !areDifferent(spec.resources, allocation.pod) &&
    resizable(spec).every(
      ({ name, resources }) => !areDifferent(resources, allocation.containers[name]),
    );
  if (isKept) return { kind: "kept" };
  const message = describeExcess(computePodRequests(spec), allocatable);
  if (message !== undefined) return { kind: "pending", pending: { reason: "Infeasible", message } };
  const [shortage] = findShortages(pod, active(), allocatable);
  if (shortage !== undefined) {
    const pending = { reason: "Deferred", message: describeShortage(shortage).message } as const;
    return { kind: "pending", pending };
  }
  const wanted = allocationOf(pod, ({ resources }) => resources, spec.resources);
  return {
    kind: "granted",
    allocation: { ...wanted, generation: metadata.generation ?? 0, isDone: false },
  };
}

/** Even without other pods it would not fit. */
function describeExcess(requests: Amounts, allocatable: Amounts): string | undefined {
  const name = ["memory", "cpu"].find(
    (resource) => (requests[resource] ?? 0) > (allocatable[resource] ?? 0),
  );
  if (name === undefined) return undefined;
  return `Node didn't have enough capacity: ${name}, requested: ${requests[name]}, capacity: ${allocatable[name] ?? 0}`;
}
