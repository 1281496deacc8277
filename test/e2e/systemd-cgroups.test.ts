/** The cgroups of pods where the Engine leaves them to a real systemd. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { Cluster, IDLE, podManifest, shell } from "../support/cluster.ts";
import { eventually, NodeContainer } from "../support/node-container.ts";

const DAEMON = {
  ...{ bip: "10.200.0.1/24", "log-driver": "json-file" },
  "exec-opts": ["native.cgroupdriver=systemd"],
};

let node: NodeContainer;
let cluster: Cluster;

beforeAll(async () => {
  node = await NodeContainer.start({ init: "systemd" });
  const input = JSON.stringify(DAEMON);
  await node.sh("cat >/etc/docker/daemon.json; systemctl restart docker", { input });
  expect(await node.sh("docker info -f '{{.CgroupDriver}}'")).toBe("systemd\n");
  await node.up();
  cluster = new Cluster(node, "default");
});

afterAll(() => node.stop());

/** Waits until neither unit nor directory of a slice is left. */
async function goneSlice(slice: string): Promise<void> {
  await eventually(`the slice ${slice} is gone`, async () => {
    const units = await node.sh(`systemctl list-units --all --no-legend '${slice}'`);
    const directories = await node.sh(`find /sys/fs/cgroup -name '${slice}'`);
    return units.trim() === "" && directories === "";
  });
}

test("a pod has a slice of its class with what it may use, for as long as it lasts", async () => {
  const resources = { requests: { cpu: "100m" }, limits: { cpu: "200m", memory: "64Mi" } };
  await cluster.apply(
    podManifest("bounded", { containers: [shell("main", IDLE, { resources })] }),
    podManifest("other", { containers: [shell("main", IDLE)] }),
  );
  const { metadata } = await cluster.ready("bounded");
  await cluster.ready("other");
  const burstable = "kubepods.slice/kubepods-burstable.slice";
  const slice = `kubepods-burstable-pod${metadata.uid.replaceAll("-", "_")}.slice`;
  const own = `${burstable}/${slice}`;
  const read = (path: string) => node.sh(`cat /sys/fs/cgroup/${path}`);
  expect(await read(`cpu/${burstable}/cpu.shares`)).toBe("102\n");
  expect(await read("cpu/kubepods.slice/kubepods-besteffort.slice/cpu.shares")).toBe("2\n");
  expect(await read(`cpu/${own}/cpu.shares`)).toBe("102\n");
  expect(await read(`cpu/${own}/cpu.cfs_quota_us`)).toBe("20000\n");
  expect(await read(`memory/${own}/memory.limit_in_bytes`)).toBe("67108864\n");
  expect(await node.sh(`ls -d /sys/fs/cgroup/memory/${own}/docker-*.scope | wc -l`)).toBe("2\n");
  for (const [cpu, memory, quota, bytes] of [
    ["400m", "128Mi", "40000\n", "134217728\n"],
    ["150m", "32Mi", "15000\n", "33554432\n"],
  ] as const) {
    const limits = { cpu, memory };
    const spec = { containers: [{ name: "main", resources: { limits, requests: { memory } } }] };
    const { metadata: before } = await cluster.pod("bounded");
    await cluster.kubectl(
      ...["patch", "pod", "bounded", "--subresource", "resize", "-p", JSON.stringify({ spec })],
    );
    await cluster.until(
      "bounded",
      "resized",
      ({ status }) =>
        status.observedGeneration === before.generation + 1 &&
        !status.conditions.some(({ type }) => type.startsWith("PodResize")),
    );
    const id = (await node.containerIds()).get("bounded/main");
    for (const path of [own, `${own}/docker-${id}.scope`]) {
      expect(await read(`cpu/${path}/cpu.cfs_quota_us`), path).toBe(quota);
      expect(await read(`memory/${path}/memory.limit_in_bytes`), path).toBe(bytes);
    }
    await node.sh("systemctl daemon-reload");
    expect(await read(`cpu/${own}/cpu.cfs_quota_us`), "after a reload").toBe(quota);
  }
  await cluster.kubectl("delete", "pod", "bounded");
  await goneSlice(slice);
  expect(await node.sh("systemctl is-active kubepods-besteffort.slice")).toBe("active\n");
});

test("an agent that comes again ends the slices of no pod, and none in which something runs", async () => {
  await cluster.apply(podManifest("steady", { containers: [shell("main", IDLE)] }));
  await cluster.ready("steady");
  const before = await node.containerIds();
  await node.kill("up");
  await node.sh("systemctl start kubepods-besteffort-podgone.slice");
  await node.up();
  await goneSlice("kubepods-besteffort-podgone.slice");
  expect(await node.containerIds()).toEqual(before);
  expect((await cluster.ready("steady")).status.containerStatuses?.[0]?.restartCount).toBe(0);
});
