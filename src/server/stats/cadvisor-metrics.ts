/** GET /metrics/cadvisor: the series of cAdvisor that dashboards use, with its labels. Pure. */

import type { BlockIo } from "./block-io.ts";
import { SERIES } from "./cadvisor-series.ts";
import type { ContainerStats, Measured, NodeStats, PodStats } from "./collector.ts";
import type { Metric, Sample } from "./exposition.ts";
import { counter, gauge } from "./resource-metrics.ts";
import type { InterfaceUsage } from "./usage.ts";

export function computeCadvisorMetrics(stats: NodeStats, version: string): readonly Metric[] {
  const { machine } = stats;
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
    ...joinSamples(series),
    gauge(
      "container_start_time_seconds",
      "Start time of the container since unix epoch in seconds.",
      starts,
    ),
    ...networkMetrics(stats.pods),
    gauge(
      "container_last_seen",
      "Last time a container was seen by the exporter",
      all.map(({ labels, measured }) => ({
        labels,
        value: Math.floor(measured.at / 1000),
        at: measured.at,
      })),
    ),
    ...diskMetrics(stats),
    ...blockMetrics(all),
    gauge("machine_cpu_cores", "Number of logical CPU cores.", [{ value: machine.cores }]),
    gauge("machine_cpu_physical_cores", "Number of physical CPU cores.", [
      { value: machine.physicalCores },
    ]),
    gauge("machine_cpu_sockets", "Number of CPU sockets.", [{ value: machine.sockets }]),
    gauge("machine_swap_bytes", "Amount of swap memory available on the machine.", [
      { value: machine.swapBytes },
    ]),
    gauge("machine_scrape_error", "1 if there was an error while getting machine metrics.", [
      { value: stats.node === undefined ? 1 : 0 },
    ]),
    gauge("machine_memory_bytes", "Amount of memory installed on the machine.", [
      { value: stats.node?.usage.memoryLimitBytes ?? 0 },
    ]),
    gauge("cadvisor_version_info", "A metric with a constant '1' value labeled by version.", [
      { labels: { cadvisorVersion: version }, value: 1 },
    ]),
  ];
}

/** One metric for each name. */
function joinSamples(metrics: readonly Metric[]): readonly Metric[] {
  const byName = Map.groupBy(metrics, ({ name }) => name);
  return [...byName.values()].flatMap(([first, ...more]) => {
    if (first === undefined) return [];
    return [{ ...first, samples: [first, ...more].flatMap(({ samples }) => samples) }];
  });
}

/** Of the layers of containers, which lie on the file system of the Engine. */
function diskMetrics({ pods, engineFs, fs }: NodeStats): readonly Metric[] {
  const disks = pods.flatMap((pod) =>
    pod.containers.flatMap((one) =>
      one.disk === undefined
        ? []
        : [{ labels: { ...containerLabels(pod, one), device: "" }, disk: one.disk }],
    ),
  );
  const limit = (engineFs ?? fs)?.capacityBytes;
  return [
    gauge(
      "container_fs_usage_bytes",
      "Number of bytes that are consumed by the container on this filesystem.",
      disks.map(({ labels, disk }) => ({ labels, value: disk.writableBytes, at: disk.at })),
    ),
    gauge(
      "container_fs_limit_bytes",
      "Number of bytes that can be consumed by the container on this filesystem.",
      limit === undefined
        ? []
        : disks.map(({ labels, disk }) => ({ labels, value: limit, at: disk.at })),
    ),
  ];
}

const BLOCK: readonly (readonly [string, string, Exclude<keyof BlockIo, "device">])[] = [
  ["reads_bytes_total", "Cumulative count of bytes read", "readBytes"],
  ["writes_bytes_total", "Cumulative count of bytes written", "writeBytes"],
  ["reads_total", "Cumulative count of reads completed", "reads"],
  ["writes_total", "Cumulative count of writes completed", "writes"],
];

function blockMetrics(
  all: readonly { readonly labels: Labels; readonly measured: Measured }[],
): readonly Metric[] {
  return BLOCK.map(([name, help, field]) =>
    counter(
      `container_fs_${name}`,
      help,
      all.flatMap(({ labels, measured: { usage, at } }) =>
        (usage.io ?? []).map((io) => ({
          ...{ labels: { ...labels, device: io.device }, value: io[field], at },
        })),
      ),
    ),
  );
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
