/** scripts/install under a real systemd: the service starts, a restart touches no container, uninstall leaves nothing. */

import { resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cluster, IDLE, podManifest, shell } from "../support/cluster.ts";
import { eventually, NodeContainer } from "../support/node-container.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const CP = "/var/lib/longshore-cp";

let node: NodeContainer;
let cluster: Cluster;

beforeAll(async () => {
  node = await NodeContainer.start({
    init: "systemd",
    extra: ["-v", `${ROOT}/scripts:/src/scripts:ro`, "-v", `${ROOT}/deploy:/src/deploy:ro`],
  });
  cluster = new Cluster(node, "default");
  await node.background("up", `longshore up --control-plane-only --node-name node1 --dir ${CP}`);
  await node.sh(
    `mkdir -p /var/lib/longshore/controlplane; for i in $(seq 100); do [ -f ${CP}/node.kubeconfig ] && break; sleep 0.2; done; cp ${CP}/admin.kubeconfig /var/lib/longshore/controlplane/`,
  );
});

afterAll(() => node.stop());

test("install starts a service that brings the node up and runs a pod", async () => {
  await node.sh(
    `/src/scripts/install --binary /usr/local/bin/longshore --kubeconfig ${CP}/node.kubeconfig --proxy-kubeconfig ${CP}/proxy.kubeconfig --client-ca ${CP}/pki/ca.crt --cluster-cidr 10.244.0.0/16 --node-name node1`,
    { timeoutMs: 120_000 },
  );
  expect((await node.sh("systemctl is-active longshore")).trim()).toBe("active");
  await cluster.apply(podManifest("steady", { containers: [shell("main", IDLE)] }));
  await cluster.ready("steady", 90_000);
  expect(await cluster.kubectl("exec", "steady", "--", "echo", "hello")).toBe("hello\n");
});

test("systemctl restart, and a kill -9 that systemd mends, restart no container", async () => {
  const before = await node.containerIds();
  await node.sh("systemctl restart longshore");
  expect((await node.sh("systemctl is-active longshore")).trim()).toBe("active");
  await node.sh("systemctl kill -s KILL --kill-whom=main longshore");
  await eventually(
    "systemd started it again",
    async () =>
      (await node.sh("systemctl show -p NRestarts --value longshore")).trim() !== "0" &&
      (await node.exec(["systemctl", "is-active", "--quiet", "longshore"])).code === 0,
  );
  await new Promise((wake) => setTimeout(wake, 3_000));
  expect(await node.containerIds()).toEqual(before);
  expect((await cluster.pod("steady")).status.containerStatuses?.[0]?.restartCount).toBe(0);
});

test("uninstall removes pods, rules, bridge, files and state", async () => {
  await node.sh("/src/scripts/install --uninstall", { timeoutMs: 120_000 });
  const left = await node.sh(
    "docker ps -aq; ls /etc/longshore /etc/systemd/system/longshore.service 2>/dev/null; ls /var/lib/longshore 2>/dev/null | grep -v controlplane; iptables-save | grep -E 'KUBE-SVC|LONGSHORE' ; ip -o link | grep longshore0; ls -d /sys/fs/cgroup/*/kubepods 2>/dev/null; true",
  );
  expect(left).toBe("");
});
