/** kill -9 of the agent, a restart of the Engine, an API server that goes away: nothing lost, nothing restarted. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { Cluster, IDLE, podManifest, type SeenPod, shell } from "../support/cluster.ts";
import { eventually, NodeContainer } from "../support/node-container.ts";

let node: NodeContainer;
let cluster: Cluster;

/** The control plane and the agent as two processes, so that each can be killed alone. */
async function startAgent(): Promise<void> {
  await node.background(
    "agent",
    "longshore agent --kubeconfig /var/lib/longshore/controlplane/node.kubeconfig --proxy-kubeconfig /var/lib/longshore/controlplane/proxy.kubeconfig --hostname-override node1 --client-ca-file /var/lib/longshore/controlplane/pki/ca.crt --cluster-cidr 10.244.0.0/16",
  );
}

async function startControlPlane(): Promise<void> {
  await node.background("up", "longshore up --control-plane-only --node-name node1");
  await eventually(
    "the API server answers",
    async () => (await node.exec(["kubectl", "get", "namespaces"])).code === 0,
  );
}

beforeAll(async () => {
  node = await NodeContainer.start();
  cluster = new Cluster(node, "default");
  await startControlPlane();
  await startAgent();
  await eventually("the node is Ready", async () =>
    / Ready /.test((await node.exec(["kubectl", "get", "nodes"])).stdout),
  );
});

afterAll(() => node.stop());

const three = ["p1", "p2", "p3"] as const;

test("kill -9 while three pods run and one starts: none of the three restarts, the fourth comes up", async () => {
  await cluster.apply(
    ...three.map((name) => podManifest(name, { containers: [shell("main", IDLE)] })),
  );
  for (const name of three) await cluster.ready(name);
  const before = await node.containerIds();
  await cluster.apply(
    podManifest("p4", { containers: [shell("main", IDLE), shell("second", IDLE)] }),
  );
  await eventually(
    "the fourth's sandbox is there",
    async () => (await node.containerIds()).has("p4/POD"),
    20_000,
  );
  await node.kill("agent");
  await startAgent();
  await cluster.ready("p4");
  const after = await node.containerIds();
  for (const [name, id] of before) expect(after.get(name), name).toBe(id);
  expect(after.size).toBe(before.size + 3);
  const all = await node.sh("docker ps -aq --filter label=io.kubernetes.pod.uid | wc -l");
  expect(Number(all)).toBe(after.size);
});

test("kill -9 and restart: a pod with a readiness probe stays Ready, the node too, and no endpoint leaves", async () => {
  const readinessProbe = { exec: { command: ["true"] }, periodSeconds: 20 };
  await cluster.apply(
    podManifest(
      "probed",
      { containers: [shell("main", IDLE, { readinessProbe })] },
      { app: "probed" },
    ),
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "probed" },
      spec: { selector: { app: "probed" }, ports: [{ port: 80 }] },
    },
  );
  await cluster.ready("probed");
  const slices = ["get", "endpointslices", "-l", "kubernetes.io/service-name=probed"];
  await eventually("the endpoint is ready", async () =>
    (await cluster.kubectl(...slices, "-o", "jsonpath={..conditions.ready}")).includes("true"),
  );
  const conditions = '{.status.conditions[?(@.type=="Ready")].status}{"\\n"}';
  const endpoints = '[{.endpoints[*].conditions.ready}]{"\\n"}';
  const watches = [
    ["pod", "pod probed", conditions, "True"],
    ["node", "node node1", conditions, "True"],
    ["slice", "endpointslices -l kubernetes.io/service-name=probed", endpoints, "[true]"],
  ] as const;
  for (const [name, what, path] of watches) {
    const command = `exec kubectl -n default get -w ${what} -o jsonpath='${path}'`;
    await node.sh(`cat >/run/watch-${name}.sh <<'END'\n${command}\nEND`);
    await node.background(`watch-${name}`, `sh /run/watch-${name}.sh`);
  }
  const seen = async (name: string): Promise<string[]> =>
    (await node.sh(`cat /var/log/watch-${name}.out`)).split("\n").filter((line) => line !== "");
  for (const [name] of watches)
    await eventually(`the watch of the ${name} runs`, async () => (await seen(name)).length > 0);
  await node.kill("agent");
  await startAgent();
  await cluster.apply(podManifest("canary", { containers: [shell("main", IDLE)] }));
  await cluster.ready("canary");
  for (const [name, , , expected] of watches) {
    expect(new Set(await seen(name)), name).toEqual(new Set([expected]));
    await node.kill(`watch-${name}`);
  }
  await cluster.kubectl("delete", "pod/probed", "pod/canary", "service/probed");
}, 90_000);

test("kill -9 in the middle of a deletion: the pod is gone after the restart, and nothing of it is left", async () => {
  await cluster.kubectl("delete", "pod", "p4", "--wait=false");
  await node.kill("agent");
  await startAgent();
  await cluster.gone("p4");
  const names = [...(await node.containerIds()).keys()];
  expect(names.filter((name) => name.startsWith("p4/"))).toEqual([]);
});

test("while the API server is away a dead container is restarted, and its status arrives afterwards", async () => {
  await node.kill("up", "TERM");
  const id = (await node.containerIds()).get("p1/main");
  await node.sh(`docker kill ${id}`);
  await eventually("another instance runs", async () => {
    const now = (await node.containerIds()).get("p1/main");
    return now !== undefined && now !== id;
  });
  await startControlPlane();
  await cluster.until(
    "p1",
    "reported with one restart",
    (pod) => pod.status.containerStatuses?.[0]?.restartCount === 1,
  );
});

test("a pod deleted while the agent is away is removed when it is back", async () => {
  await node.kill("agent");
  await cluster.kubectl("delete", "pod", "p3", "--force", "--grace-period=0");
  await startAgent();
  await eventually("its containers are gone", async () =>
    [...(await node.containerIds()).keys()].every((name) => !name.startsWith("p3/")),
  );
  const links = await node.sh("ls /var/lib/longshore/pods | wc -l");
  expect(Number(links)).toBe(2);
});

test("after a restart of the Engine the pods run again, in new sandboxes", async () => {
  const before = await cluster.pod("p2");
  await node.sh("pkill -TERM -x dockerd");
  const after = await cluster.until(
    "p2",
    "restarted and Ready",
    (pod) =>
      (pod.status.containerStatuses?.[0]?.restartCount ?? 0) >= 1 &&
      pod.status.containerStatuses?.[0]?.ready === true,
    90_000,
  );
  expect(after.metadata.uid).toBe(before.metadata.uid);
  expect(await cluster.kubectl("exec", "p2", "--", "echo", "hello")).toBe("hello\n");
  await eventually("the node is Ready", async () =>
    / Ready /.test((await node.exec(["kubectl", "get", "nodes"])).stdout),
  );
});

test("kill -9 while a pod is over its sizeLimit: the next agent evicts it", async () => {
  await cluster.apply(
    podManifest("over", {
      containers: [
        shell("main", `dd if=/dev/zero of=/x/f bs=1M count=2; ${IDLE}`, {
          volumeMounts: [{ name: "x", mountPath: "/x" }],
        }),
      ],
      volumes: [{ name: "x", emptyDir: { sizeLimit: "1Mi" } }],
    }),
  );
  await cluster.ready("over");
  await node.kill("agent");
  await startAgent();
  const isFailed = (pod: SeenPod): boolean => pod.status.phase === "Failed";
  const { status } = await cluster.until("over", "evicted", isFailed);
  expect(status).toMatchObject({
    reason: "Evicted",
    message: 'Usage of EmptyDir volume "x" exceeds the limit "1Mi". ',
  });
});
