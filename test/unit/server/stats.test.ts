/** Cgroup files of both versions, the summary and the metrics, from a made-up machine. */

import { describe, expect, test } from "vitest";
import type { Pod } from "../../../src/api/types.ts";
import type { PodDirectory, PodView } from "../../../src/pods/directory.ts";
import { computeCadvisorMetrics } from "../../../src/server/stats/cadvisor-metrics.ts";
import { StatsCollector } from "../../../src/server/stats/collector.ts";
import { computeComponentMetrics } from "../../../src/server/stats/component-metrics.ts";
import { formatMetrics } from "../../../src/server/stats/exposition.ts";
import { computeResourceMetrics } from "../../../src/server/stats/resource-metrics.ts";
import { computeSummary } from "../../../src/server/stats/summary.ts";
import {
  parseCgroupPaths,
  parseInterfaces,
  readNodeUsage,
  readUsage,
} from "../../../src/server/stats/usage.ts";
import { FakeClock } from "../../fakes/clock.ts";

const V1 = {
  "/proc/10/cgroup": "9:name=systemd:/x\n4:memory:/pods/podu1/abc\n2:cpu,cpuacct:/pods/podu1/abc\n",
  "/sys/fs/cgroup/cpuacct/pods/podu1/abc/cpuacct.usage": "2000000000\n",
  "/sys/fs/cgroup/cpu/pods/podu1/abc/cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 7\n",
  "/sys/fs/cgroup/memory/pods/podu1/abc/memory.usage_in_bytes": "1000\n",
  "/sys/fs/cgroup/memory/pods/podu1/abc/memory.stat":
    "inactive_file 1\ntotal_inactive_file 400\ntotal_rss 300\n",
  "/sys/fs/cgroup/memory/pods/podu1/abc/memory.limit_in_bytes": "9223372036854771712\n",
  "/sys/fs/cgroup/cpuacct/pods/podu1/cpuacct.usage": "3000000000\n",
  "/sys/fs/cgroup/memory/pods/podu1/memory.usage_in_bytes": "1500\n",
  "/proc/stat": "cpu  100 0 50 900 0 0 0 0 0 0\ncpu0 1\ncpu1 1\nbtime 1000\n",
  "/proc/meminfo": "MemTotal: 100 kB\nMemFree: 40 kB\nInactive(file): 10 kB\n",
  "/proc/self/stat": `7 (a b) S ${Array.from({ length: 30 }, (_, index) => index + 4).join(" ")}`,
};
const V2 = {
  "/proc/10/cgroup": "0::/kubepods.slice/docker-abc.scope\n",
  "/sys/fs/cgroup/kubepods.slice/docker-abc.scope/cpu.stat": "usage_usec 2000000\nnr_periods 5\n",
  "/sys/fs/cgroup/kubepods.slice/docker-abc.scope/memory.current": "1000\n",
  "/sys/fs/cgroup/kubepods.slice/docker-abc.scope/memory.stat": "inactive_file 400\nanon 300\n",
  "/sys/fs/cgroup/kubepods.slice/docker-abc.scope/memory.max": "max\n",
};

const reader =
  (files: Readonly<Record<string, string>>) =>
  (path: string): string | undefined =>
    files[path];

test.each([
  ["1", V1],
  ["2", V2],
])("a cgroup of version %s", (_version, files) => {
  const usage = readUsage(parseCgroupPaths(files["/proc/10/cgroup"]), reader(files));
  expect(usage).toMatchObject({
    ...{ cpuNanos: 2e9, periods: 5, memoryBytes: 1000, workingSetBytes: 600, rssBytes: 300 },
  });
  expect(usage).not.toHaveProperty("memoryLimitBytes");
});

test("a cgroup that is gone has used nothing that can be told", () => {
  expect(readUsage(parseCgroupPaths("0::/gone\n"), reader({}))).toBeUndefined();
  expect(readUsage(parseCgroupPaths(""), reader({}))).toBeUndefined();
});

test("the machine's use is what is not idle and not free", () => {
  expect(readNodeUsage(reader(V1))).toMatchObject({
    ...{ cpuNanos: 1.5e9, memoryBytes: 60 * 1024, workingSetBytes: 50 * 1024 },
  });
});

test("interfaces are read without the loopback", () => {
  const text =
    "head\nhead\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0:656 8 1 2 0 0 0 0 90 9 3 4 0 0 0 0\n";
  expect(parseInterfaces(text)).toEqual([
    {
      ...{ name: "eth0", rxBytes: 656, rxPackets: 8, rxErrors: 1, rxDropped: 2 },
      ...{ txBytes: 90, txPackets: 9, txErrors: 3, txDropped: 4 },
    },
  ]);
});

describe("a node with one pod", () => {
  const container = {
    ...{
      id: "abc",
      name: "main",
      image: "i",
      state: "running",
      pid: 10,
      createdAt: 4000,
      startedAt: 5000,
    },
    pod: { namespace: "ns", name: "p", uid: "u1" },
  };
  const strange = { ...container, id: "other", name: "strange" };
  const view = {
    pod: {
      metadata: { name: "p", namespace: "ns", uid: "u1" },
      spec: { containers: [] },
    } as unknown as Pod,
    status: {},
    containers: [container, strange],
  } as unknown as PodView;
  const pods: PodDirectory = { find: () => view, list: () => [view] };
  const clock = new FakeClock();
  const files: Record<string, string> = { ...V1 };
  const usage = { capacityBytes: 9, availableBytes: 4, usedBytes: 5, inodes: 3, inodesFree: 1 };
  const volumes = [{ name: "disk" }, { name: "own", claim: "p-own" }].map((volume) => ({
    ...{ ...volume, at: 0, inodesUsed: 2 },
    ...usage,
  }));
  const collector = new StatsCollector({
    ...{ pods, clock, rootDir: "/", read: reader(files) },
    volumeUsage: async (podUid) => (podUid === "u1" ? volumes : []),
    engineDir: async () => "/",
  });

  test("is measured; a process in another cgroup is left out; a second look gives rates", async () => {
    const first = await collector.collect();
    expect(first.pods[0]?.containers.map((one) => one.container.name)).toEqual(["main"]);
    expect(first.pods[0]?.containers[0]).not.toHaveProperty("nanoCores");
    await clock.advance(500);
    expect(await collector.collect()).toBe(first);
    await clock.advance(1500);
    files["/sys/fs/cgroup/cpuacct/pods/podu1/abc/cpuacct.usage"] = "3000000000";
    const second = await collector.collect();
    expect(second.pods[0]?.containers[0]?.nanoCores).toBe(500_000_000);
    expect(second.pods[0]?.total?.usage.cpuNanos).toBe(3e9);
  });

  test("has what metrics-server reads", async () => {
    const text = formatMetrics(computeResourceMetrics(await collector.collect()));
    const at = clock.now();
    expect(text).toContain(
      `container_cpu_usage_seconds_total{container="main",namespace="ns",pod="p"} 3 ${at}\n`,
    );
    expect(text).toContain(
      `container_memory_working_set_bytes{container="main",namespace="ns",pod="p"} 600 ${at}\n`,
    );
    expect(text).toContain(
      'container_start_time_seconds{container="main",namespace="ns",pod="p"} 5\n',
    );
    expect(text).toContain(`node_memory_working_set_bytes ${50 * 1024} ${at}\n`);
    expect(text).toContain('pod_cpu_usage_seconds_total{namespace="ns",pod="p"} 3 ');
    expect(text).toContain("resource_scrape_error 0\n");
  });

  test("tells what its volumes use, and of which claims they are", async () => {
    const summary = computeSummary(await collector.collect(), {
      nodeName: "n",
      onlyCpuAndMemory: false,
    });
    const shown = { time: "1970-01-01T00:00:00Z", ...usage, inodesUsed: 2 };
    expect(summary).toMatchObject({
      pods: [
        {
          volume: [
            { name: "disk", ...shown },
            { name: "own", ...shown, pvcRef: { name: "p-own", namespace: "ns" } },
          ],
        },
      ],
    });
  });

  test("has cAdvisor's labels", async () => {
    const text = formatMetrics(computeCadvisorMetrics(await collector.collect(), "1"));
    expect(text).toContain(
      'container_cpu_usage_seconds_total{container="main",cpu="total",id="/pods/podu1/abc",image="i",name="abc",namespace="ns",pod="p"} 3 ',
    );
    expect(text).toContain('container_memory_usage_bytes{container="",id="/pods/podu1"');
    expect(text).toContain("machine_cpu_cores 2\n");
  });

  test("is summed up, without network and file systems when only processor and memory are asked for", async () => {
    const stats = await collector.collect();
    const summary = (onlyCpuAndMemory: boolean): object =>
      computeSummary(stats, { nodeName: "n", onlyCpuAndMemory });
    expect(summary(false)).toMatchObject({
      node: {
        nodeName: "n",
        startTime: "1970-01-01T00:16:40Z",
        fs: { capacityBytes: expect.any(Number) },
      },
      pods: [
        {
          podRef: { name: "p", namespace: "ns", uid: "u1" },
          containers: [{ name: "main", memory: { workingSetBytes: 600 } }],
        },
      ],
    });
    expect(summary(true)).not.toHaveProperty("node.fs");
    expect(summary(true)).toHaveProperty("node.cpu.usageCoreNanoSeconds", 1.5e9);
  });

  test("counts pods, containers and requests under upstream's names", () => {
    const text = formatMetrics(
      computeComponentMetrics({
        ...{ nodeName: 'n"1', version: "1", pods: [view], ...collector.readProcess() },
        requests: new Map([['{"method":"GET","path":"exec"}', 2]]),
        ...{ now: 1000, servingEndsAt: 6000 },
        certificates: { clientEndsAt: 9000, clientRenewErrors: 1, servingRenewErrors: 2 },
        ...{ underway: 1, relistedAt: 7, volumes: [{ namespace: "ns", volumes }] },
      }),
    );
    expect(text).toContain('kubelet_node_name{node="n\\"1"} 1\n');
    expect(text).toMatch(
      /^kubernetes_build_info\{git_version="v1\.36\.0\+longshore\.1",major="1",minor="36",/m,
    );
    expect(text).toContain("kubelet_running_pods 1\n");
    expect(text).toContain("kubelet_pleg_last_seen_seconds 7\n");
    expect(text).toMatch(
      /^kubelet_volume_stats_inodes_used\{namespace="ns",persistentvolumeclaim="[\w-]+"\} 2$/m,
    );
    expect(text).toContain('kubelet_running_containers{container_state="running"} 2\n');
    expect(text).toContain('{method="GET",path="exec",server_type="readwrite"} 2\n');
    expect(text).toContain("kubelet_certificate_manager_server_ttl_seconds 5\n");
    expect(text).toContain("kubelet_certificate_manager_client_ttl_seconds 8\n");
    expect(text).toContain("kubelet_certificate_manager_client_expiration_renew_errors 1\n");
    expect(text).toContain("kubelet_server_expiration_renew_errors 2\n");
    expect(text).toContain(`process_resident_memory_bytes ${24 * 4096}\n`);
  });
});
