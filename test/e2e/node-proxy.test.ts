/** What operators read of a node through nodes/proxy, from a real pod's cgroup, and what `kubectl auth` is told. */

import { beforeAll, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();
const raw = (path: string): Promise<string> =>
  cluster.node.kubectl("get", "--raw", `/api/v1/nodes/node1/proxy${path}`);

beforeAll(async () => {
  const readinessProbe = { exec: { command: ["true"] }, periodSeconds: 1 };
  await cluster.apply(
    podManifest("measured", { containers: [shell("main", IDLE, { readinessProbe })] }),
  );
  await cluster.ready("measured");
});

test.each([
  [
    "/metrics/resource",
    /^container_cpu_usage_seconds_total\{container="main",.*pod="measured"\} 0\.\d+ \d+$/m,
  ],
  ["/metrics/resource", /^container_memory_working_set_bytes\{.*pod="measured"\} [1-9]\d+ \d+$/m],
  ["/metrics/resource", /^node_memory_working_set_bytes [1-9]\d+ \d+$/m],
  [
    "/metrics/cadvisor",
    /^container_network_receive_bytes_total\{.*interface="eth0".*pod="measured"\}/m,
  ],
  ["/metrics/probes", /^prober_probe_total\{.*pod="measured",.*result="successful"\} [1-9]/m],
  ["/metrics", /^kubelet_running_pods [1-9]/m],
  ["/stats/summary", /"podRef":\{"name":"measured"/],
  ["/stats/summary?only_cpu_and_memory=true", /"workingSetBytes":[1-9]/],
  ["/configz", /"kind":"KubeletConfiguration"/],
  ["/runningpods/", /"name":"measured"/],
  ["/logs/", /<a href="up.log">up.log<\/a>/],
  ["/logs/up.log", /"msg":/],
])("%s has %s", async (path, expected) => {
  expect(await raw(path)).toMatch(expected);
});

test("kubectl auth is answered", async () => {
  expect(await cluster.kubectl("auth", "can-i", "create", "pods")).toBe("yes\n");
  expect(await cluster.kubectl("auth", "whoami")).toContain("kubernetes-admin");
});
