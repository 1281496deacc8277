/** The pod's quality of service class from its requests and limits, as the API server computes it. Pure. */

import type { PodSpec, PodStatus } from "../api/types.ts";

const RESOURCES = ["cpu", "memory"] as const;

function isSet(value: unknown): boolean {
  return value !== undefined && String(value) !== "0";
}

export function computeQosClass(spec: PodSpec): NonNullable<PodStatus["qosClass"]> {
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const isGuaranteed = containers.every(({ resources }) =>
    RESOURCES.every((name) => {
      const limit = resources?.limits?.[name];
      const request = resources?.requests?.[name] ?? limit;
      return isSet(limit) && String(limit) === String(request);
    }),
  );
  if (isGuaranteed) return "Guaranteed";
  const hasAny = containers.some(({ resources }) =>
    RESOURCES.some(
      (name) => isSet(resources?.limits?.[name]) || isSet(resources?.requests?.[name]),
    ),
  );
  return hasAny ? "Burstable" : "BestEffort";
}
