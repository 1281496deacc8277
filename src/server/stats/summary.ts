/** GET /stats/summary: what was measured as stats/v1alpha1 Summary. Pure. Called by kubelet-server.ts. */

import type {
  ContainerStats,
  FsStats,
  Measured,
  NodeStats,
  PodStats,
  VolumeStats,
} from "./collector.ts";
import type { Pressure } from "./pressure.ts";
import type { InterfaceUsage } from "./usage.ts";

export function computeSummary(
  stats: NodeStats,
  { nodeName, onlyCpuAndMemory }: { readonly nodeName: string; readonly onlyCpuAndMemory: boolean },
): object {
  const { node, bootedAt, interfaces, fs, engineFs = fs, pods, at } = stats;
  const startTime = timeOf(bootedAt);
  const system = [
    ["kubelet", stats.kubelet],
    ["runtime", stats.engine],
    ["pods", stats.podsTotal],
  ] as const;
  const systemContainers = system.flatMap(([name, measured]) =>
    measured === undefined ? [] : [{ name, startTime, ...usageOf(measured) }],
  );
  const more = onlyCpuAndMemory
    ? {}
    : {
        network: networkOf(interfaces, at),
        ...(fs === undefined ? {} : { fs: fsOf(fs, at) }),
        ...(engineFs === undefined
          ? {}
          : { runtime: { imageFs: fsOf(engineFs, at), containerFs: fsOf(engineFs, at) } }),
        ...rlimitOf(stats),
      };
  return {
    node: { nodeName, systemContainers, startTime, ...usageOf(node), ...more },
    pods: pods.map((pod) => podOf(pod, { only: onlyCpuAndMemory, fs, engineFs })),
  };
}

interface FileSystems {
  readonly fs: FsStats | undefined;
  readonly engineFs: FsStats | undefined;
}

function podOf(
  stats: PodStats,
  { only, fs, engineFs }: FileSystems & { readonly only: boolean },
): object {
  const { view, total, containers, interfaces, volumes } = stats;
  const { name, namespace, uid } = view.pod.metadata;
  const startTime = view.status.startTime ?? timeOf(containers[0]?.container.createdAt ?? 0);
  const processes = total?.usage.processes;
  const more = {
    ...(interfaces.length === 0 ? {} : { network: networkOf(interfaces, total?.at ?? 0) }),
    ...(volumes.length === 0 ? {} : { volume: volumes.map((usage) => volumeOf(usage, namespace)) }),
    ...storageOf(stats, fs),
    ...(processes === undefined ? {} : { process_stats: { process_count: processes } }),
  };
  return {
    podRef: { name, namespace, uid },
    startTime,
    containers: containers.map((one) => ({
      name: one.container.name,
      startTime: timeOf(one.container.startedAt),
      ...usageOf(one),
      ...(only ? {} : diskOf(one, engineFs)),
    })),
    ...usageOf(total),
    ...(only ? {} : more),
  };
}

function rlimitOf({ machine: { maxTasks, tasks }, at }: NodeStats): object {
  if (maxTasks === undefined || tasks === undefined) return {};
  return { rlimit: { time: timeOf(at), maxpid: maxTasks, curproc: tasks } };
}

/** Of a container: its layer and its logs, on the file system of the Engine. */
function diskOf({ disk }: ContainerStats, fs: FsStats | undefined): object {
  if (disk === undefined) return {};
  const of = (usedBytes: number): object => ({
    time: timeOf(disk.at),
    ...roomOf(fs),
    usedBytes,
  });
  return { rootfs: of(disk.writableBytes), logs: of(disk.logBytes) };
}

/** What its containers and its volumes on the node's own file system use; claims are not the node's. */
function storageOf({ containers, volumes }: PodStats, fs: FsStats | undefined): object {
  if (fs === undefined || containers.some(({ disk }) => disk === undefined)) return {};
  const local = volumes.filter(
    ({ claim, capacityBytes }) => claim === undefined && capacityBytes === fs.capacityBytes,
  );
  const usedBytes =
    local.reduce((sum, volume) => sum + volume.usedBytes, 0) +
    containers.reduce(
      (sum, { disk }) => sum + (disk?.writableBytes ?? 0) + (disk?.logBytes ?? 0),
      0,
    );
  const at = Math.max(0, ...containers.map(({ disk }) => disk?.at ?? 0));
  const inodesUsed = local.reduce((sum, volume) => sum + volume.inodesUsed, 0);
  return { "ephemeral-storage": { time: timeOf(at), ...roomOf(fs), usedBytes, inodesUsed } };
}

function roomOf(fs: FsStats | undefined): object {
  if (fs === undefined) return {};
  const { availableBytes, capacityBytes, inodes, inodesFree } = fs;
  return { availableBytes, capacityBytes, inodes, inodesFree };
}

function volumeOf({ at, claim, ...usage }: VolumeStats, namespace: string): object {
  const pvcRef = claim === undefined ? {} : { pvcRef: { name: claim, namespace } };
  return { time: timeOf(at), ...usage, ...pvcRef };
}

function usageOf(measured: Measured | undefined): object {
  if (measured === undefined) return {};
  const { usage, nanoCores } = measured;
  const time = timeOf(measured.at);
  const { memoryLimitBytes, workingSetBytes, pressures, swapAvailableBytes } = usage;
  const available =
    memoryLimitBytes === undefined
      ? {}
      : { availableBytes: Math.max(0, memoryLimitBytes - workingSetBytes) };
  return {
    cpu: {
      time,
      ...(nanoCores === undefined ? {} : { usageNanoCores: nanoCores }),
      usageCoreNanoSeconds: usage.cpuNanos,
      ...psiOf(pressures?.cpu),
    },
    memory: {
      time,
      ...available,
      usageBytes: usage.memoryBytes,
      workingSetBytes,
      rssBytes: usage.rssBytes,
      pageFaults: usage.pageFaults,
      majorPageFaults: usage.majorPageFaults,
      ...psiOf(pressures?.memory),
    },
    ...(pressures?.io === undefined ? {} : { io: { time, ...psiOf(pressures.io) } }),
    swap: {
      time,
      ...(swapAvailableBytes === undefined ? {} : { swapAvailableBytes }),
      swapUsageBytes: usage.swapBytes,
    },
  };
}

function psiOf(psi: Pressure | undefined): object {
  return psi === undefined ? {} : { psi };
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
