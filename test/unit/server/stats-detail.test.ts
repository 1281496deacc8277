/** Pressure, disks, block devices, limits and the machine in the statistics: files of both cgroup versions, made up. */

import { describe, expect, test } from "vitest";
import { createLogger } from "../../../src/core/logger.ts";
import type { PodDirectory, PodView } from "../../../src/pods/directory.ts";
import { computeCadvisorMetrics } from "../../../src/server/stats/cadvisor-metrics.ts";
import { type NodeStats, StatsCollector } from "../../../src/server/stats/collector.ts";
import { ContainerDisks } from "../../../src/server/stats/container-disks.ts";
import { formatMetrics } from "../../../src/server/stats/exposition.ts";
import { readMachine } from "../../../src/server/stats/machine.ts";
import type { ReadText } from "../../../src/server/stats/read-text.ts";
import { computeSummary } from "../../../src/server/stats/summary.ts";
import { parseCgroupPaths, readUsage } from "../../../src/server/stats/usage.ts";
import { FakeClock, settle } from "../../fakes/clock.ts";

const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const under = (dir: string, files: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(files).map(([name, text]) => [`${dir}/${name}`, text]));
const reader =
  (files: Readonly<Record<string, string>>): ReadText =>
  (path) =>
    files[path];
const psi = (some: number, full: number): string =>
  `some avg10=1.50 avg60=0.20 avg300=0.00 total=${some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=${full}\n`;

const BASIC_V2 = {
  "cpu.stat": "usage_usec 2000000\n",
  "memory.current": "1000\n",
  "memory.stat": "inactive_file 400\nanon 300\n",
};
const MACHINE = {
  "/proc/stat": "cpu  100 0 50 900 0 0 0 0 0 0\ncpu0 1\ncpu1 1\nbtime 1000\n",
  "/proc/meminfo": "MemTotal: 100 kB\nMemFree: 40 kB\nSwapTotal: 8 kB\nSwapFree: 6 kB\n",
  "/proc/cpuinfo":
    "processor: 0\nphysical id\t: 0\ncore id\t\t: 0\n\nprocessor: 1\nphysical id\t: 0\ncore id\t\t: 0\n",
  "/proc/loadavg": "0.1 0.2 0.3 2/345 99\n",
  "/proc/sys/kernel/pid_max": "4194304\n",
  "/proc/sys/kernel/threads-max": "1000\n",
  "/proc/pressure/cpu": psi(7, 0),
  "/proc/self/cgroup": "0::/system.slice/agent.service\n",
  "/run/docker.pid": "77",
  "/proc/77/cgroup": "0::/system.slice/docker.service\n",
  "/sys/dev/block/8:0/uevent": "MAJOR=8\nMINOR=0\nDEVNAME=sda\n",
};
const V2: Record<string, string> = {
  ...MACHINE,
  "/proc/10/cgroup": "0::/kubepods/podu1/abc\n",
  ...under("/sys/fs/cgroup/system.slice/docker.service", BASIC_V2),
  ...under("/sys/fs/cgroup/kubepods", BASIC_V2),
  ...under("/sys/fs/cgroup/kubepods/podu1", BASIC_V2),
  ...under("/sys/fs/cgroup/kubepods/podu1/abc", {
    ...BASIC_V2,
    "cgroup.procs": "10\n11\n",
    "pids.current": "5\n",
    "cpu.max": "50000 100000\n",
    "cpu.weight": "39\n",
    "memory.peak": "1500\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
    "io.stat": "8:0 rbytes=100 wbytes=200 rios=3 wios=4 dbytes=0 dios=0\n",
    "cpu.pressure": psi(2_000_000, 1_000),
    "memory.pressure": psi(3, 4),
    "io.pressure": psi(5, 6),
  }),
};

const view = {
  pod: {
    metadata: { name: "p", namespace: "ns", uid: "u1" },
    spec: { containers: [] },
  },
  status: {},
  containers: [
    { id: "abc", name: "main", image: "i", state: "running", pid: 10, createdAt: 1, startedAt: 1 },
  ],
} as unknown as PodView;
const pods: PodDirectory = { find: () => view, list: () => [view] };

function collectorOf(files: Readonly<Record<string, string>>): StatsCollector {
  const options = { pods, clock: new FakeClock(), rootDir: "/", read: reader(files) };
  const more = { volumeUsage: async () => [], engineDir: async () => "/" };
  return new StatsCollector({ ...options, ...more });
}

const collect = (files: Readonly<Record<string, string>>): Promise<NodeStats> =>
  collectorOf(files).collect();

test("a brief look has processor and memory, and does not stand in for a whole one", async () => {
  const collector = collectorOf(V2);
  const usageOf = async (isBrief: boolean) =>
    (await collector.collect(isBrief)).pods[0]?.containers[0]?.usage;
  expect(await usageOf(true)).toMatchObject({ cpuNanos: 2e9, workingSetBytes: 600 });
  expect(await usageOf(true)).not.toHaveProperty("threads");
  expect(await usageOf(false)).toHaveProperty("threads", 5);
  expect(await usageOf(true)).toHaveProperty("threads", 5);
});

const disk = { writableBytes: 11, logBytes: 22, at: 5000 };
const withDisk = (stats: NodeStats): NodeStats => ({
  ...stats,
  pods: stats.pods.map((pod) => ({
    ...pod,
    containers: pod.containers.map((one) => ({ ...one, disk })),
  })),
});

describe("the summary", () => {
  test("has pressure, disks, limits and the system's containers", async () => {
    const stats = withDisk(await collect(V2));
    const summary = computeSummary(stats, { nodeName: "n", onlyCpuAndMemory: false });
    const room = { availableBytes: expect.any(Number), capacityBytes: expect.any(Number) };
    const time = "1970-01-01T00:00:05Z";
    expect(summary).toMatchObject({
      node: {
        rlimit: { maxpid: 1000, curproc: 345 },
        cpu: { psi: { some: { total: 7000, avg10: 1.5, avg60: 0.2, avg300: 0 } } },
        swap: { swapUsageBytes: 2048, swapAvailableBytes: 6144 },
        runtime: { imageFs: room, containerFs: room },
        systemContainers: [
          { name: "runtime", memory: { workingSetBytes: 600 } },
          { name: "pods", cpu: { usageCoreNanoSeconds: 2e9 } },
        ],
      },
      pods: [
        {
          "ephemeral-storage": { ...room, time, usedBytes: 33 },
          containers: [
            {
              cpu: { psi: { some: { total: 2e9 }, full: { total: 1e6 } } },
              memory: { psi: { some: { total: 3000 }, full: { total: 4000 } } },
              io: { psi: { some: { total: 5000 }, full: { total: 6000 } } },
              rootfs: { ...room, time, usedBytes: 11 },
              logs: { ...room, time, usedBytes: 22 },
            },
          ],
        },
      ],
    });
    const short = JSON.stringify(computeSummary(stats, { nodeName: "n", onlyCpuAndMemory: true }));
    expect(short).not.toMatch(/rootfs|ephemeral|rlimit|imageFs/);
  });

  test("leaves out what the kernel does not tell", async () => {
    const bare = Object.fromEntries(
      Object.entries(V2).filter(([path]) => !/pressure|docker.pid|threads-max/.test(path)),
    );
    const summary = computeSummary(await collect(bare), { nodeName: "n", onlyCpuAndMemory: false });
    expect(JSON.stringify(summary)).not.toMatch(/psi|"runtime","startTime|rlimit|rootfs/);
  });
});

test("cAdvisor's series for limits, tasks, disks, devices and pressure", async () => {
  const text = formatMetrics(computeCadvisorMetrics(withDisk(await collect(V2)), "1"));
  const of =
    'container="main",id="/kubepods/podu1/abc",image="i",name="abc",namespace="ns",pod="p"';
  const device = of.replace(",id", ',device="/dev/sda",id');
  for (const line of [
    `container_processes{${of}} 2 `,
    `container_threads{${of}} 5 `,
    `container_spec_cpu_quota{${of}} 50000 `,
    `container_spec_cpu_period{${of}} 100000 `,
    `container_spec_cpu_shares{${of}} 998 `,
    `container_memory_max_usage_bytes{${of}} 1500 `,
    `container_oom_events_total{${of}} 1 `,
    `container_pressure_cpu_waiting_seconds_total{${of}} 2 `,
    `container_pressure_cpu_stalled_seconds_total{${of}} 0.001 `,
    `container_fs_writes_bytes_total{${device}} 200 `,
    `container_fs_reads_total{${device}} 3 `,
    `container_fs_usage_bytes{${of.replace(",id", ',device="",id')}} 11 5000\n`,
    "machine_cpu_physical_cores 1\n",
    "machine_cpu_sockets 1\n",
    "machine_swap_bytes 8192\n",
  ])
    expect(text).toContain(line);
  const types = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  expect(new Set(types).size).toBe(types.length);
});

test("version 1 tells the same of limits, tasks and devices", () => {
  const files = {
    ...MACHINE,
    ...under("/sys/fs/cgroup/memory/x", {
      "memory.usage_in_bytes": "1000\n",
      "memory.max_usage_in_bytes": "1500\n",
      "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
      "cgroup.procs": "1\n2\n3\n",
    }),
    "/sys/fs/cgroup/cpuacct/x/cpuacct.usage": "2000000000\n",
    ...under("/sys/fs/cgroup/cpu/x", {
      "cpu.shares": "512\n",
      "cpu.cfs_period_us": "100000\n",
      "cpu.cfs_quota_us": "-1\n",
    }),
    ...under("/sys/fs/cgroup/blkio/x", {
      "blkio.throttle.io_service_bytes": "8:0 Read 100\n8:0 Write 200\n8:0 Total 300\nTotal 300\n",
      "blkio.throttle.io_serviced": "8:0 Read 3\n8:0 Write 4\n",
    }),
  };
  const paths = parseCgroupPaths("4:memory:/x\n3:blkio:/x\n2:cpu,cpuacct:/x\n");
  const usage = readUsage(paths, reader(files));
  expect(usage).toMatchObject({
    ...{ maxMemoryBytes: 1500, oomKills: 2, processes: 3, cpuShares: 512, cpuPeriodMicros: 1e5 },
    io: [{ device: "/dev/sda", readBytes: 100, writeBytes: 200, reads: 3, writes: 4 }],
  });
  expect(usage).not.toHaveProperty("cpuQuotaMicros");
});

test("a machine that tells nothing of its sockets has one", () => {
  expect(readMachine(reader({ "/proc/stat": "cpu0 1\ncpu1 1\n" }))).toMatchObject({
    ...{ cores: 2, physicalCores: 2, sockets: 1, swapBytes: 0, maxTasks: undefined },
  });
});

describe("disks of containers", () => {
  test("are measured behind, one at a time, each at most once a minute", async () => {
    const clock = new FakeClock();
    const asked: string[] = [];
    const pending: (() => void)[] = [];
    const runtime = {
      containerUsage: async (id: string) => {
        asked.push(id);
        await new Promise<void>((resolve) => pending.push(resolve));
        return { writableBytes: 1, logBytes: 2 };
      },
    };
    const disks = new ContainerDisks({ runtime, clock, log });
    const container = (id: string) => ({ container: { id } });
    const stats = {
      pods: [{ containers: [container("a"), container("b")] }],
    } as unknown as NodeStats;
    const known = (): unknown[] =>
      disks.addTo(stats).pods[0]?.containers.map(({ disk: found }) => found?.writableBytes) ?? [];
    expect(known()).toEqual([undefined, undefined]);
    await settle();
    expect(asked).toEqual(["a"]);
    for (let turn = 0; turn < 4; turn++) {
      pending.shift()?.();
      await settle();
    }
    expect(known()).toEqual([1, 1]);
    expect(asked).toEqual(["a", "b"]);
    await clock.advance(60_000);
    expect(known()).toEqual([1, 1]);
    await settle();
    expect(asked).toEqual(["a", "b", "a"]);
    pending.shift()?.();
    const gone = { pods: [] } as unknown as NodeStats;
    disks.addTo(gone);
    await disks.stop();
  });
});
