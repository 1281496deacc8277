/**
 * The QoS class of a pod, as upstream's qos.ComputePodQOS: from the requests and limits of cpu and memory of the pod
 * itself where it has any, else of all its containers. Pure; quantities that cannot be read count as zero, because validation refuses them. Called on create.
 */

import { at, isObject, type KubeObject, listAt } from "./objects.ts";
import { comparableQuantity } from "./quantity.ts";

const COUNTED = ["cpu", "memory"];

export function computeQosClass(pod: KubeObject): "Guaranteed" | "Burstable" | "BestEffort" {
  const own = ["requests", "limits"].map((part) => at(pod, "spec", "resources", part));
  const hasOwn = own.some((list) => isObject(list) && Object.keys(list).length > 0);
  const containers = hasOwn
    ? [pod.spec]
    : [...listAt(pod, "spec", "initContainers"), ...listAt(pod, "spec", "containers")];
  const asked = containers.map((container) => ({
    limits: positive(at(container, "resources", "limits")),
    requests: positive(at(container, "resources", "requests")),
  }));
  if (asked.every(({ limits, requests }) => limits.size === 0 && requests.size === 0))
    return "BestEffort";
  const isGuaranteed = asked.every(({ limits, requests }) =>
    COUNTED.every(
      (resource) =>
        limits.has(resource) &&
        (!requests.has(resource) || requests.get(resource) === limits.get(resource)),
    ),
  );
  return isGuaranteed ? "Guaranteed" : "Burstable";
}

function positive(resources: unknown): ReadonlyMap<string, bigint> {
  const found = new Map<string, bigint>();
  for (const resource of COUNTED) {
    const size = isObject(resources) ? comparableQuantity(resources[resource]) : undefined;
    if (size !== undefined && size > 0n) found.set(resource, size);
  }
  return found;
}
