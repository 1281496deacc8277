/** What operators read of a node through nodes/proxy, from a real pod's cgroup, and what `kubectl auth` is told. */

import { beforeAll, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

interface Summary {
  readonly pods: readonly {
    readonly podRef: { readonly name: string };
    readonly containers: readonly { readonly rootfs?: object; readonly logs?: object }[];
  }[];
}

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
  ["/metrics", /^kubelet_pod_start_duration_seconds_count [1-9]/m],
  ["/metrics", /^kubelet_runtime_operations_total\{operation_type="start_container"\} [1-9]/m],
  ["/metrics", /^kubelet_pleg_relist_duration_seconds_count [1-9]/m],
  ["/metrics", /^rest_client_requests_total\{code="200",method="GET",host="[^"]+"\} [1-9]/m],
  ["/metrics", /^workqueue_work_duration_seconds_count\{name="pods"\} [1-9]/m],
  ["/metrics", /^kubelet_cgroup_manager_duration_seconds_count\{operation_type="create"\} [1-9]/m],
  ["/metrics", /^process_open_fds [1-9]/m],
  ["/metrics/cadvisor", /^container_threads\{container="main",.*pod="measured"\} [1-9]/m],
  ["/metrics/cadvisor", /^container_spec_cpu_shares\{container="main",.*pod="measured"\} \d/m],
  ["/stats/summary", /"systemContainers":\[.*"name":"pods"/],
  ["/stats/summary", /"podRef":\{"name":"measured"/],
  ["/stats/summary?only_cpu_and_memory=true", /"workingSetBytes":[1-9]/],
  ["/configz", /"kind":"KubeletConfiguration"/],
  ["/runningpods/", /"name":"measured"/],
  ["/logs/", /<a href="up.log">up.log<\/a>/],
  ["/logs/up.log", /"msg":/],
])("%s has %s", async (path, expected) => {
  expect(await raw(path)).toMatch(expected);
});

test("the disks of containers are told once they are measured", async () => {
  await eventually("rootfs and logs are known", async () => {
    const { pods } = JSON.parse(await raw("/stats/summary")) as Summary;
    const pod = pods.find(({ podRef }) => podRef.name === "measured");
    const [main] = pod?.containers ?? [];
    return (
      main?.rootfs !== undefined && main.logs !== undefined && "ephemeral-storage" in (pod ?? {})
    );
  });
  expect(await raw("/metrics/cadvisor")).toMatch(
    /^container_fs_usage_bytes\{container="main",.*pod="measured"\} \d/m,
  );
});

test("kubectl auth is answered", async () => {
  expect(await cluster.kubectl("auth", "can-i", "create", "pods")).toBe("yes\n");
  expect(await cluster.kubectl("auth", "whoami")).toContain("kubernetes-admin");
});
