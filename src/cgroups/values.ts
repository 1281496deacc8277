/**
 * What the node, a class and a pod may use, as values of a cgroup, and those values as files of either version or as
 * properties of a systemd unit. Pure. Used by pod-cgroups.ts.
 */

import {
  computePodLimits,
  computePodRequests,
  computeQosClass,
  type QosClass,
} from "../api/pod-resources.ts";
import type { PodSpec } from "../api/types.ts";
import { CPU_PERIOD_MICROS, computeQuota, computeShares, computeWeight } from "./units.ts";

/** What is absent is unlimited. */
export interface CgroupValues {
  readonly cpuShares: number;
  readonly cpuQuotaMicros?: number;
  readonly memoryBytes?: number;
  readonly pids?: number;
  /** By page size as in the resource's name: `2Mi`, `1Gi`. */
  readonly hugePages?: Readonly<Record<string, number>>;
}

const HUGE_PAGES = "hugepages-";

/** @param pidsLimit processes of each pod; undefined = unlimited. */
export function computePodValues(spec: PodSpec, pidsLimit: number | undefined): CgroupValues {
  const limits = computePodLimits(spec);
  const { cpu = 0, memory = 0 } = limits;
  const huge = Object.entries(limits).filter(([name]) => name.startsWith(HUGE_PAGES));
  return {
    cpuShares: computeShares(computePodRequests(spec).cpu ?? 0),
    ...(cpu > 0 ? { cpuQuotaMicros: computeQuota(cpu) } : {}),
    ...(memory > 0 ? { memoryBytes: memory } : {}),
    ...(pidsLimit === undefined ? {} : { pids: pidsLimit }),
    ...(huge.length === 0
      ? {}
      : {
          hugePages: Object.fromEntries(
            huge.map(([name, bytes]) => [name.slice(HUGE_PAGES.length), bytes]),
          ),
        }),
  };
}

/** Burstable pods weigh what they request together, so that one of them does not weigh as much as all. */
export function computeClassShares(specs: readonly PodSpec[], qosClass: QosClass): number {
  if (qosClass === "BestEffort") return computeShares(0);
  const milli = specs
    .filter((spec) => computeQosClass(spec) === qosClass)
    .reduce((sum, spec) => sum + (computePodRequests(spec).cpu ?? 0), 0);
  return computeShares(milli);
}

export interface CgroupFile {
  /** Of version 1 only the mount's name, e.g. `memory`. */
  readonly controller: string;
  readonly name: string;
  readonly text: string;
}

export function toFiles(version: 1 | 2, values: CgroupValues): readonly CgroupFile[] {
  const { cpuShares, cpuQuotaMicros, memoryBytes, pids } = values;
  const file = (controller: string, name: string, text: number | string): CgroupFile => ({
    controller,
    name: `${controller}.${name}`,
    text: String(text),
  });
  const huge = Object.entries(values.hugePages ?? {}).map(([size, bytes]) =>
    file("hugetlb", `${size.replace("i", "B")}.${version === 1 ? "limit_in_bytes" : "max"}`, bytes),
  );
  const pidsFile = file("pids", "max", pids ?? "max");
  if (version === 1)
    return [
      file("cpu", "shares", cpuShares),
      file("cpu", "cfs_period_us", CPU_PERIOD_MICROS),
      file("cpu", "cfs_quota_us", cpuQuotaMicros ?? -1),
      file("memory", "limit_in_bytes", memoryBytes ?? -1),
      pidsFile,
      ...huge,
    ];
  return [
    file("cpu", "weight", computeWeight(cpuShares)),
    file("cpu", "max", `${cpuQuotaMicros ?? "max"} ${CPU_PERIOD_MICROS}`),
    file("memory", "max", memoryBytes ?? "max"),
    pidsFile,
    ...huge,
  ];
}

export type Limits = Pick<CgroupValues, "cpuQuotaMicros" | "memoryBytes">;

/** What the files of either version say; "-1", "max" and "max 100000" are no limit. */
export function parseLimits(cpu: string, memory: string): Limits {
  const [cpuQuotaMicros, memoryBytes] = [cpu, memory].map((text) => Number.parseInt(text, 10));
  return {
    ...(cpuQuotaMicros !== undefined && cpuQuotaMicros > 0 ? { cpuQuotaMicros } : {}),
    ...(memoryBytes !== undefined && memoryBytes > 0 ? { memoryBytes } : {}),
  };
}

/** The values with each limit that is wider in `limits`. */
export function widest(values: CgroupValues, limits: Limits): CgroupValues {
  const { cpuQuotaMicros, memoryBytes, ...rest } = values;
  const quota = widestOf(cpuQuotaMicros, limits.cpuQuotaMicros);
  const memory = widestOf(memoryBytes, limits.memoryBytes);
  return {
    ...rest,
    ...(quota === undefined ? {} : { cpuQuotaMicros: quota }),
    ...(memory === undefined ? {} : { memoryBytes: memory }),
  };
}

function widestOf(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : Math.max(a, b);
}

/** systemd's for "unlimited" in properties of type t. */
const INFINITY = "18446744073709551615";

/** Name, D-Bus type and value, as busctl takes them. Huge pages have no property. */
export function toProperties(version: 1 | 2, values: CgroupValues): readonly string[] {
  const { cpuShares, cpuQuotaMicros, memoryBytes, pids } = values;
  const quotaPerSecond =
    cpuQuotaMicros === undefined ? INFINITY : cpuQuotaMicros * (1_000_000 / CPU_PERIOD_MICROS);
  const properties: readonly (readonly [string, number | string])[] = [
    version === 1 ? ["CPUShares", cpuShares] : ["CPUWeight", computeWeight(cpuShares)],
    ["CPUQuotaPerSecUSec", quotaPerSecond],
    [version === 1 ? "MemoryLimit" : "MemoryMax", memoryBytes ?? INFINITY],
    ["TasksMax", pids ?? INFINITY],
  ];
  return properties.flatMap(([name, amount]) => [name, "t", String(amount)]);
}
