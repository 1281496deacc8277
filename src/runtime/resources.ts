/**
 * Requests and limits of one container as what the runtime is asked for, and how soon the kernel should end it for
 * want of memory. Pure; the kubelet's numbers. Used by container-config.ts.
 */

import {
  type Amounts,
  computePodRequests,
  computeQosClass,
  limitsOf,
  requestsOf,
} from "../api/pod-resources.ts";
import type { Container as ContainerSpec, PodSpec } from "../api/types.ts";
import { CPU_PERIOD_MICROS, computeQuota, computeShares } from "../cgroups/units.ts";
import type { ContainerConfig } from "./runtime.ts";

/** Where the container says nothing, the limits of its pod bound it. */
export function computeResources(
  spec: PodSpec,
  container: ContainerSpec,
  pidsLimit: number | undefined,
): ContainerConfig["resources"] {
  const limits = { ...limitsOf(spec), ...positive(limitsOf(container)) };
  const { cpu = 0, memory = 0 } = limits;
  const requested = requestsOf(container).cpu ?? cpu;
  return {
    cpuShares: computeShares(requested),
    ...(cpu > 0 ? { cpuQuotaMicros: computeQuota(cpu), cpuPeriodMicros: CPU_PERIOD_MICROS } : {}),
    ...(memory > 0 ? { memoryBytes: memory } : {}),
    ...(pidsLimit === undefined ? {} : { pidsLimit }),
  };
}

function positive(amounts: Amounts): Amounts {
  return Object.fromEntries(Object.entries(amounts).filter(([, amount]) => amount > 0));
}

const NODE_CRITICAL = 2_000_001_000;
const PROTECTED = -997;
const FIRST = 1000;

/** Protected, first to go, or in between: the later the more of the machine is requested. */
export function computeOomScore(
  spec: PodSpec,
  container: ContainerSpec,
  memoryCapacity: number,
): number {
  if ((spec.priority ?? 0) >= NODE_CRITICAL) return PROTECTED;
  const qosClass = computeQosClass(spec);
  if (qosClass === "Guaranteed") return PROTECTED;
  if (qosClass === "BestEffort" || memoryCapacity <= 0) return FIRST;
  const score = scoreOf(spec, container, memoryCapacity);
  const isSidecar = (spec.initContainers ?? []).some(({ name }) => name === container.name);
  if (!isSidecar || container.restartPolicy !== "Always") return score;
  // What serves the others should outlive them.
  return Math.min(score, ...spec.containers.map((app) => scoreOf(spec, app, memoryCapacity)));
}

function scoreOf(spec: PodSpec, container: ContainerSpec, memoryCapacity: number): number {
  const bytes = (requestsOf(container).memory ?? 0) + shareOfPod(spec);
  const score = 1000 - Math.floor((1000 * bytes) / memoryCapacity);
  return Math.min(999, Math.max(3, score));
}

/** What the pod requests beyond its containers, divided among them. */
function shareOfPod(spec: PodSpec): number {
  if (spec.resources?.requests?.memory === undefined) return 0;
  const { resources: _, ...ofContainers } = spec;
  const rest =
    (computePodRequests(spec).memory ?? 0) - (computePodRequests(ofContainers).memory ?? 0);
  return rest > 0 ? Math.floor(rest / spec.containers.length) : 0;
}
