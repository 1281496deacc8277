/**
 * A node that loses power: every process dies, tmpfs mounts, links and rules are gone, the Engine comes back with dead
 * containers, the kernel has another boot ID. And what may happen to pods while nobody looks after them.
 */

import { afterAll, beforeAll, expect, test } from "vitest";
import { Cluster, IDLE, podManifest, shell } from "../support/cluster.ts";
import { eventually, NodeContainer } from "../support/node-container.ts";

const STATE = "/var/lib/longshore/controlplane";
const MANIFESTS = "/var/lib/longshore-manifests";

let node: NodeContainer;
let cluster: Cluster;

/** The loop that keeps the Engine running is held meanwhile. Whatever has a PID namespace of its own is a container's. */
const POWER_OFF = `
pkill -STOP -f '^sh -c .*docker.pid' || true
pkill -KILL -x dockerd; pkill -KILL -x containerd; pkill -KILL -f '[c]ontainerd-shim'
own=$(readlink /proc/self/ns/pid)
for p in /proc/[0-9]*; do
  ns=$(readlink $p/ns/pid 2>/dev/null) && [ "$ns" != "$own" ] && kill -KILL \${p#/proc/} 2>/dev/null
done
sleep 0.5
for i in 1 2 3; do
  awk '$2 ~ "^(/var/lib/longshore/pods/|/var/lib/docker/|/run/docker|/var/run/docker)" {print $2}' /proc/mounts | sort -r | xargs -r -n1 umount -l
done
rm -rf /run/docker /run/containerd /var/run/docker.pid /run/docker.pid
ip link del longshore0; ip -o link | sed -n 's/^[0-9]*: \\(ls[^@:]*\\)@.*/\\1/p' | xargs -r -n1 ip link del
for t in nat mangle raw filter; do iptables -t $t -F; iptables -t $t -X; done 2>/dev/null; conntrack -F 2>/dev/null
cat /proc/sys/kernel/random/uuid >/run/boot_id; mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
true
`;

async function startControlPlane(): Promise<void> {
  await node.background("up", "longshore up --control-plane-only --node-name node1");
  await eventually(
    "the API server answers",
    async () => (await node.exec(["kubectl", "get", "namespaces"])).code === 0,
  );
}

async function startAgent(): Promise<void> {
  await node.background(
    "agent",
    `longshore agent --kubeconfig ${STATE}/node.kubeconfig --proxy-kubeconfig ${STATE}/proxy.kubeconfig --hostname-override node1 --client-ca-file ${STATE}/pki/ca.crt --cluster-cidr 10.244.0.0/16 --pod-manifest-path ${MANIFESTS}`,
  );
}

async function powerOff(): Promise<void> {
  await node.kill("agent");
  await node.kill("up");
  await node.sh(POWER_OFF);
}

async function powerOn(): Promise<void> {
  await node.sh("pkill -CONT -f '^sh -c .*docker.pid'");
  await eventually(
    "the Engine answers",
    async () => (await node.exec(["docker", "info"])).code === 0,
  );
  await startControlPlane();
  await startAgent();
}

/** Mount points below the pods' directory. */
async function podMounts(): Promise<string[]> {
  const text = await node.sh(
    "awk '{print $2}' /proc/mounts | grep ^/var/lib/longshore/pods/ || true",
  );
  return text.split("\n").filter((line) => line !== "");
}

beforeAll(async () => {
  node = await NodeContainer.start();
  cluster = new Cluster(node, "default");
  await node.sh(`mkdir -p ${MANIFESTS}`);
  await startControlPlane();
  await startAgent();
  await eventually("the node is Ready", async () =>
    / Ready /.test((await node.exec(["kubectl", "get", "nodes"])).stdout),
  );
});

afterAll(() => node.stop());

test("after a power failure every pod runs again in a new sandbox, finished ones stay finished", async () => {
  const count = "echo x >>/memory/boots; echo x >>/disk/boots";
  const volumeMounts = [
    { name: "memory", mountPath: "/memory" },
    { name: "disk", mountPath: "/disk" },
  ];
  const volumes = [
    { name: "memory", emptyDir: { medium: "Memory" } },
    { name: "disk", emptyDir: {} },
  ];
  const always = podManifest("always", {
    initContainers: [shell("first", "echo x >>/disk/inits", { volumeMounts })],
    containers: [shell("main", `${count}; ${IDLE}`, { volumeMounts })],
    volumes,
  });
  const once = (name: string, script: string) =>
    podManifest(name, { restartPolicy: "Never", containers: [shell("main", script)] });
  await cluster.apply(always, once("finished", "exit 0"), once("never", IDLE));
  await cluster.apply(podManifest("deleted", { containers: [shell("main", IDLE)], volumes }));
  await node.sh(`cat >${MANIFESTS}/static.json`, {
    input: JSON.stringify(podManifest("static", { containers: [shell("main", IDLE)] })),
  });
  for (const name of ["always", "never", "deleted", "static-node1"]) await cluster.ready(name);
  await cluster.until("finished", "Succeeded", (pod) => pod.status.phase === "Succeeded");
  const before = await node.containerIds();
  const uid = (await cluster.pod("always")).metadata.uid;
  await cluster.kubectl("delete", "pod", "deleted", "--wait=false", "--grace-period=30");

  await powerOff();
  expect(await podMounts()).toEqual([]);
  await powerOn();

  const pod = await cluster.until(
    "always",
    "Ready after one restart",
    ({ status }) =>
      status.containerStatuses?.[0]?.restartCount === 1 && status.containerStatuses[0].ready,
  );
  expect(pod.metadata.uid).toBe(uid);
  expect(pod.status.phase).toBe("Running");
  const boots = await cluster.kubectl(
    "exec",
    "always",
    "--",
    "wc",
    "-l",
    "/memory/boots",
    "/disk/boots",
    "/disk/inits",
  );
  expect(boots.match(/\d+(?= \/)/g)).toEqual(["1", "2", "2"]);
  await cluster.until(
    "static-node1",
    "Ready after one restart",
    ({ status }) =>
      status.containerStatuses?.[0]?.restartCount === 1 && status.containerStatuses[0].ready,
  );
  await cluster.gone("deleted");
  const never = await cluster.until("never", "Failed", ({ status }) => status.phase === "Failed");
  expect(never.status.containerStatuses?.[0]).toMatchObject({ restartCount: 0, ready: false });
  const finished = await cluster.pod("finished");
  expect(finished.status.phase).toBe("Succeeded");
  expect(finished.status.containerStatuses?.[0]?.restartCount).toBe(0);

  const after = await node.containerIds();
  expect([...after.keys()].sort()).toEqual([
    "always/POD",
    "always/main",
    "static-node1/POD",
    "static-node1/main",
  ]);
  for (const [name, id] of after) expect(before.get(name), name).not.toBe(id);
  await eventually("two mounts are left, the emptyDir in memory and the token", async () => {
    const mounts = await podMounts();
    return mounts.length === 2 && mounts.every((mount) => mount.includes(uid));
  });
  const reasons = await cluster.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}");
  expect(reasons).toMatch(/Rebooted/);
  expect(reasons).toMatch(/SandboxChanged/);
});

test("a pod deleted just before the API server goes away ends without it, and its object goes when it is back", async () => {
  await cluster.apply(podManifest("leaving", { containers: [shell("main", IDLE)] }));
  await cluster.ready("leaving");
  const slow = "trap 'sleep 3; exit 0' TERM; while true; do sleep 0.2; done";
  await cluster.apply(
    podManifest("slow", { terminationGracePeriodSeconds: 20, containers: [shell("main", slow)] }),
  );
  await cluster.ready("slow");
  await cluster.kubectl("delete", "pod", "leaving", "slow", "--wait=false");
  await node.kill("up");
  await eventually("nothing of them runs", async () =>
    [...(await node.containerIds()).keys()].every((name) => !/^(leaving|slow)\//.test(name)),
  );
  await startControlPlane();
  await cluster.gone("leaving");
  await cluster.gone("slow");
});

test("an orphan gets the grace period its pod had, and goes", async () => {
  const script =
    "trap 'sleep 2; echo ended >/mark/orphan; exit 0' TERM; while true; do sleep 0.2; done";
  await cluster.apply(
    podManifest("orphan", {
      terminationGracePeriodSeconds: 20,
      containers: [shell("main", script, { volumeMounts: [{ name: "m", mountPath: "/mark" }] })],
      volumes: [{ name: "m", hostPath: { path: "/run/mark", type: "DirectoryOrCreate" } }],
    }),
  );
  await cluster.ready("orphan");
  await node.kill("agent");
  await cluster.kubectl("delete", "pod", "orphan", "--force", "--grace-period=0");
  await startAgent();
  await eventually("nothing of it is left", async () => {
    const left = await node.sh("docker ps -aq --filter label=io.kubernetes.pod.name=orphan");
    return left === "";
  });
  expect(await node.sh("cat /run/mark/orphan")).toBe("ended\n");
});

test("a pod deleted by force while it ignores SIGTERM is gone from the API at once and from the node soon", async () => {
  const stubborn = "trap '' TERM; while true; do sleep 0.2; done";
  await cluster.apply(
    podManifest("stubborn", {
      terminationGracePeriodSeconds: 600,
      containers: [shell("main", stubborn)],
    }),
  );
  await cluster.ready("stubborn");
  await cluster.kubectl("delete", "pod", "stubborn", "--wait=false");
  await eventually("it is ending", async () =>
    (await cluster.eventReasons("stubborn")).includes("Killing"),
  );
  await cluster.kubectl("delete", "pod", "stubborn", "--force", "--grace-period=0");
  await eventually("nothing of it is left", async () => {
    const left = await node.sh("docker ps -aq --filter label=io.kubernetes.pod.name=stubborn");
    return left === "";
  });
});

test("a pod deleted by force while it runs does not keep its containers for its grace period", async () => {
  await cluster.apply(
    podManifest("forced", {
      terminationGracePeriodSeconds: 600,
      containers: [shell("main", "trap '' TERM; while true; do sleep 0.2; done")],
    }),
  );
  await cluster.ready("forced");
  await cluster.kubectl("delete", "pod", "forced", "--force", "--grace-period=0");
  await eventually("nothing of it is left", async () => {
    const left = await node.sh("docker ps -aq --filter label=io.kubernetes.pod.name=forced");
    return left === "";
  });
});

test("a stray file among the pods' directories is nobody's pod", async () => {
  await node.sh("touch /var/lib/longshore/pods/stray");
  await node.kill("agent");
  await startAgent();
  await cluster.apply(podManifest("canary", { containers: [shell("main", IDLE)] }));
  await cluster.ready("canary");
  expect(await node.logs("agent")).not.toContain("stray");
  await node.sh("rm /var/lib/longshore/pods/stray");
});
