/** GET /metrics/resource, which metrics-server reads: names and labels are a contract. Pure. */

import type { ContainerStats, NodeStats, PodStats } from "./collector.ts";
import type { Metric, Sample } from "./exposition.ts";

export function computeResourceMetrics({ node, pods }: NodeStats): readonly Metric[] {
  const ofNode = (value: number | undefined): readonly Sample[] =>
    node === undefined || value === undefined ? [] : [{ value, at: node.at }];
  const ofContainers = (
    value: (stats: ContainerStats) => number | undefined,
    hasTime = true,
  ): readonly Sample[] =>
    pods.flatMap((pod) =>
      pod.containers.flatMap((one) => {
        const found = value(one);
        const labels = { container: one.container.name, ...labelsOf(pod) };
        if (found === undefined) return [];
        return [{ labels, value: found, ...(hasTime ? { at: one.at } : {}) }];
      }),
    );
  const ofPods = (value: (total: NonNullable<PodStats["total"]>) => number): readonly Sample[] =>
    pods.flatMap((pod) =>
      pod.total === undefined
        ? []
        : [{ labels: labelsOf(pod), value: value(pod.total), at: pod.total.at }],
    );
  const seconds = (nanos: number): number => nanos / 1e9;
  const cpu = "Cumulative cpu time consumed by the";
  const memory = "Current working set of the";
  const swap = "Current amount of the";
  return [
    counter(
      "container_cpu_usage_seconds_total",
      `${cpu} container in core-seconds`,
      ofContainers(({ usage }) => seconds(usage.cpuNanos)),
    ),
    gauge(
      "container_memory_working_set_bytes",
      `${memory} container in bytes`,
      ofContainers(({ usage }) => usage.workingSetBytes),
    ),
    gauge(
      "container_start_time_seconds",
      "Start time of the container since unix epoch in seconds",
      ofContainers(({ container }) => container.startedAt / 1000, false),
    ),
    gauge(
      "container_swap_usage_bytes",
      `${swap} container swap usage in bytes`,
      ofContainers(({ usage }) => usage.swapBytes),
    ),
    counter(
      "node_cpu_usage_seconds_total",
      `${cpu} node in core-seconds`,
      ofNode(node && seconds(node.usage.cpuNanos)),
    ),
    gauge(
      "node_memory_working_set_bytes",
      `${memory} node in bytes`,
      ofNode(node?.usage.workingSetBytes),
    ),
    gauge(
      "node_swap_usage_bytes",
      `${swap} node swap usage in bytes`,
      ofNode(node?.usage.swapBytes),
    ),
    counter(
      "pod_cpu_usage_seconds_total",
      `${cpu} pod in core-seconds`,
      ofPods(({ usage }) => seconds(usage.cpuNanos)),
    ),
    gauge(
      "pod_memory_working_set_bytes",
      `${memory} pod in bytes`,
      ofPods(({ usage }) => usage.workingSetBytes),
    ),
    gauge(
      "pod_swap_usage_bytes",
      `${swap} pod swap usage in bytes`,
      ofPods(({ usage }) => usage.swapBytes),
    ),
    gauge(
      "resource_scrape_error",
      "1 if there was an error while getting container metrics, 0 otherwise",
      [{ value: node === undefined ? 1 : 0 }],
    ),
    gauge("scrape_error", "1 if there was an error while getting container metrics, 0 otherwise", [
      { value: node === undefined ? 1 : 0 },
    ]),
  ];
}

function labelsOf({ view }: PodStats): { readonly namespace: string; readonly pod: string } {
  return { namespace: view.pod.metadata.namespace ?? "", pod: view.pod.metadata.name };
}

export function counter(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, help, type: "counter", samples };
}

export function gauge(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, help, type: "gauge", samples };
}
