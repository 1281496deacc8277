/** GET /metrics/cadvisor: the series of cAdvisor that dashboards use, with its labels. Pure. */

import type { ContainerStats, NodeStats, PodStats } from "./collector.ts";
import type { Metric, Sample } from "./exposition.ts";
import { counter, gauge } from "./resource-metrics.ts";
import type { InterfaceUsage, Usage } from "./usage.ts";

interface Series {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: (usage: Usage) => number | undefined;
}

const seconds = (nanos: number | undefined): number | undefined =>
  nanos === undefined ? undefined : nanos / 1e9;

const SERIES: readonly Series[] = [
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
  {
    name: "container_processes",
    help: "Number of processes running inside the container.",
    type: "gauge",
    value: (usage) => usage.processes,
  },
  {
    name: "container_spec_memory_limit_bytes",
    help: "Memory limit for the container.",
    type: "gauge",
    value: (usage) => usage.memoryLimitBytes ?? 0,
  },
];

function memory(name: string, help: string, value: Series["value"]): Series {
  return { name: `container_memory_${name}`, help, type: "gauge", value };
}

export function computeCadvisorMetrics(stats: NodeStats, version: string): readonly Metric[] {
  const all = stats.pods.flatMap((pod) => [
    ...(pod.total === undefined ? [] : [{ labels: podLabels(pod), measured: pod.total }]),
    ...pod.containers.map((one) => ({ labels: containerLabels(pod, one), measured: one })),
  ]);
  const series = SERIES.map(({ name, help, type, labels, value }) => ({
    ...{ name, help, type },
    samples: all.flatMap(({ labels: own, measured }) => {
      const found = value(measured.usage);
      return found === undefined
        ? []
        : [{ labels: { ...own, ...labels }, value: found, at: measured.at }];
    }),
  }));
  const starts = stats.pods.flatMap((pod) =>
    pod.containers.map((one) => ({
      labels: containerLabels(pod, one),
      value: Math.floor(one.container.startedAt / 1000),
      at: one.at,
    })),
  );
  return [
    ...series,
    gauge(
      "container_start_time_seconds",
      "Start time of the container since unix epoch in seconds.",
      starts,
    ),
    ...networkMetrics(stats.pods),
    gauge("machine_cpu_cores", "Number of logical CPU cores.", [{ value: stats.cores }]),
    gauge("machine_memory_bytes", "Amount of memory installed on the machine.", [
      { value: stats.node?.usage.memoryLimitBytes ?? 0 },
    ]),
    gauge("cadvisor_version_info", "A metric with a constant '1' value labeled by version.", [
      { labels: { cadvisorVersion: version }, value: 1 },
    ]),
  ];
}

const NETWORK: readonly (readonly [string, string, keyof InterfaceUsage])[] = [
  ["receive_bytes", "Cumulative count of bytes received", "rxBytes"],
  ["receive_packets", "Cumulative count of packets received", "rxPackets"],
  ["receive_errors", "Cumulative count of errors encountered while receiving", "rxErrors"],
  ["receive_packets_dropped", "Cumulative count of packets dropped while receiving", "rxDropped"],
  ["transmit_bytes", "Cumulative count of bytes transmitted", "txBytes"],
  ["transmit_packets", "Cumulative count of packets transmitted", "txPackets"],
  ["transmit_errors", "Cumulative count of errors encountered while transmitting", "txErrors"],
  [
    "transmit_packets_dropped",
    "Cumulative count of packets dropped while transmitting",
    "txDropped",
  ],
];

function networkMetrics(pods: readonly PodStats[]): readonly Metric[] {
  return NETWORK.map(([name, help, field]) => {
    const samples: readonly Sample[] = pods.flatMap((pod) =>
      pod.interfaces.map((one) => ({
        labels: { ...podLabels(pod), interface: one.name },
        value: Number(one[field]),
        ...(pod.total === undefined ? {} : { at: pod.total.at }),
      })),
    );
    return counter(`container_network_${name}_total`, help, samples);
  });
}

type Labels = Readonly<Record<string, string>>;

function podLabels({ view, cgroup }: PodStats): Labels {
  const { name, namespace } = view.pod.metadata;
  return { container: "", id: cgroup, image: "", name: "", namespace: namespace ?? "", pod: name };
}

function containerLabels(pod: PodStats, { container, cgroup }: ContainerStats): Labels {
  const { name, id, image } = container;
  return { ...podLabels(pod), container: name, id: cgroup, image, name: id };
}
