/** GET /stats/summary: what was measured as stats/v1alpha1 Summary. Pure. Called by kubelet-server.ts. */

import type { FsStats, Measured, NodeStats, PodStats, VolumeStats } from "./collector.ts";
import type { InterfaceUsage } from "./usage.ts";

export function computeSummary(
  stats: NodeStats,
  { nodeName, onlyCpuAndMemory }: { readonly nodeName: string; readonly onlyCpuAndMemory: boolean },
): object {
  const { node, kubelet, bootedAt, interfaces, fs, pods, at } = stats;
  const startTime = timeOf(bootedAt);
  const own = kubelet === undefined ? [] : [{ name: "kubelet", startTime, ...usageOf(kubelet) }];
  const more = onlyCpuAndMemory
    ? {}
    : {
        network: networkOf(interfaces, at),
        ...(fs === undefined
          ? {}
          : { fs: fsOf(fs, at), runtime: { imageFs: fsOf(fs, at), containerFs: fsOf(fs, at) } }),
      };
  return {
    node: { nodeName, systemContainers: own, startTime, ...usageOf(node), ...more },
    pods: pods.map((pod) => podOf(pod, onlyCpuAndMemory)),
  };
}

function podOf(stats: PodStats, only: boolean): object {
  const { view, total, containers, interfaces, volumes } = stats;
  const { name, namespace, uid } = view.pod.metadata;
  const startTime = view.status.startTime ?? timeOf(containers[0]?.container.createdAt ?? 0);
  const processes = total?.usage.processes;
  const more = {
    ...(interfaces.length === 0 ? {} : { network: networkOf(interfaces, total?.at ?? 0) }),
    ...(volumes.length === 0 ? {} : { volume: volumes.map((usage) => volumeOf(usage, namespace)) }),
    ...(processes === undefined ? {} : { process_stats: { process_count: processes } }),
  };
  return {
    podRef: { name, namespace, uid },
    startTime,
    containers: containers.map((one) => ({
      name: one.container.name,
      startTime: timeOf(one.container.startedAt),
      ...usageOf(one),
    })),
    ...usageOf(total),
    ...(only ? {} : more),
  };
}

function volumeOf({ at, claim, ...usage }: VolumeStats, namespace: string): object {
  const pvcRef = claim === undefined ? {} : { pvcRef: { name: claim, namespace } };
  return { time: timeOf(at), ...usage, ...pvcRef };
}

function usageOf(measured: Measured | undefined): object {
  if (measured === undefined) return {};
  const { usage, nanoCores } = measured;
  const time = timeOf(measured.at);
  const { memoryLimitBytes, workingSetBytes } = usage;
  const available =
    memoryLimitBytes === undefined
      ? {}
      : { availableBytes: Math.max(0, memoryLimitBytes - workingSetBytes) };
  return {
    cpu: {
      time,
      ...(nanoCores === undefined ? {} : { usageNanoCores: nanoCores }),
      usageCoreNanoSeconds: usage.cpuNanos,
    },
    memory: {
      time,
      ...available,
      usageBytes: usage.memoryBytes,
      workingSetBytes,
      rssBytes: usage.rssBytes,
      pageFaults: usage.pageFaults,
      majorPageFaults: usage.majorPageFaults,
    },
    swap: { time, swapUsageBytes: usage.swapBytes },
  };
}

/** With the interface of the default route (`eth0`, else the first) in front. */
function networkOf(interfaces: readonly InterfaceUsage[], at: number): object {
  const shown = interfaces.map(({ name, rxBytes, rxErrors, txBytes, txErrors }) => ({
    ...{ name, rxBytes, rxErrors, txBytes, txErrors },
  }));
  const main = shown.find(({ name }) => name === "eth0") ?? shown[0];
  return { time: timeOf(at), ...main, interfaces: shown };
}

function fsOf(fs: FsStats, at: number): object {
  return { time: timeOf(at), ...fs };
}

function timeOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
