/** The series of /metrics/cadvisor that come from a cgroup, and what of its usage each tells. Pure data. */

import type { Pressure, Pressures } from "./pressure.ts";
import type { Usage } from "./usage.ts";

export interface Series {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: (usage: Usage) => number | undefined;
}

const seconds = (nanos: number | undefined): number | undefined =>
  nanos === undefined ? undefined : nanos / 1e9;

export const SERIES: readonly Series[] = [
  {
    name: "container_cpu_usage_seconds_total",
    help: "Cumulative cpu time consumed in seconds.",
    type: "counter",
    labels: { cpu: "total" },
    value: (usage) => seconds(usage.cpuNanos),
  },
  {
    name: "container_cpu_user_seconds_total",
    help: "Cumulative user cpu time consumed in seconds.",
    type: "counter",
    value: (usage) => seconds(usage.userNanos),
  },
  {
    name: "container_cpu_system_seconds_total",
    help: "Cumulative system cpu time consumed in seconds.",
    type: "counter",
    value: (usage) => seconds(usage.systemNanos),
  },
  {
    name: "container_cpu_cfs_periods_total",
    help: "Number of elapsed enforcement period intervals.",
    type: "counter",
    value: (usage) => usage.periods,
  },
  {
    name: "container_cpu_cfs_throttled_periods_total",
    help: "Number of throttled period intervals.",
    type: "counter",
    value: (usage) => usage.throttledPeriods,
  },
  {
    name: "container_cpu_cfs_throttled_seconds_total",
    help: "Total time duration the container has been throttled.",
    type: "counter",
    value: (usage) => seconds(usage.throttledNanos),
  },
  memory("working_set_bytes", "Current working set in bytes.", (usage) => usage.workingSetBytes),
  memory("usage_bytes", "Current memory usage in bytes.", (usage) => usage.memoryBytes),
  memory("rss", "Size of RSS in bytes.", (usage) => usage.rssBytes),
  memory("cache", "Number of bytes of page cache memory.", (usage) => usage.cacheBytes),
  memory("mapped_file", "Size of memory mapped files in bytes.", (usage) => usage.mappedBytes),
  memory("swap", "Container swap usage in bytes.", (usage) => usage.swapBytes),
  {
    name: "container_memory_failcnt",
    help: "Number of memory usage hits limits",
    type: "counter",
    value: (usage) => usage.memoryFailures,
  },
  {
    name: "container_memory_failures_total",
    help: "Cumulative count of memory allocation failures.",
    type: "counter",
    labels: { failure_type: "pgfault", scope: "container" },
    value: (usage) => usage.pageFaults,
  },
  memory("max_usage_bytes", "Maximum memory usage recorded in bytes", (u) => u.maxMemoryBytes),
  {
    name: "container_memory_failures_total",
    help: "Cumulative count of memory allocation failures.",
    type: "counter",
    labels: { failure_type: "pgmajfault", scope: "container" },
    value: (usage) => usage.majorPageFaults,
  },
  {
    name: "container_oom_events_total",
    help: "Count of out of memory events observed for the container",
    type: "counter",
    value: (usage) => usage.oomKills,
  },
  {
    name: "container_processes",
    help: "Number of processes running inside the container.",
    type: "gauge",
    value: (usage) => usage.processes,
  },
  {
    name: "container_threads",
    help: "Number of threads running inside the container",
    type: "gauge",
    value: (usage) => usage.threads,
  },
  {
    name: "container_spec_cpu_period",
    help: "CPU period of the container.",
    type: "gauge",
    value: (usage) => usage.cpuPeriodMicros,
  },
  {
    name: "container_spec_cpu_quota",
    help: "CPU quota of the container.",
    type: "gauge",
    value: (usage) => usage.cpuQuotaMicros,
  },
  {
    name: "container_spec_cpu_shares",
    help: "CPU share of the container.",
    type: "gauge",
    value: (usage) => usage.cpuShares,
  },
  ...(["cpu", "memory", "io"] as const).flatMap((resource) => [
    pressure(resource, "waiting", "some"),
    pressure(resource, "stalled", "full"),
  ]),
  {
    name: "container_spec_memory_limit_bytes",
    help: "Memory limit for the container.",
    type: "gauge",
    value: (usage) => usage.memoryLimitBytes ?? 0,
  },
];

function pressure(
  resource: keyof Pressures,
  how: "waiting" | "stalled",
  kind: keyof Pressure,
): Series {
  return {
    name: `container_pressure_${resource}_${how}_seconds_total`,
    help: `Total time in which tasks of the container ${how === "waiting" ? "waited" : "stalled"} for ${resource}`,
    type: "counter",
    value: ({ pressures }) => seconds(pressures?.[resource]?.[kind].total),
  };
}

function memory(name: string, help: string, value: Series["value"]): Series {
  return { name: `container_memory_${name}`, help, type: "gauge", value };
}
