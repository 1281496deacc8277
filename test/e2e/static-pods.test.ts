/** Static pods on a node: they run without an API server, show there as mirror pods, and follow their files alone. */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cluster, IDLE, podManifest, type SeenPod, shell } from "../support/cluster.ts";
import { eventually, NodeContainer } from "../support/node-container.ts";

const DIR = "/run/manifests";
const STATE = "/var/lib/longshore/controlplane";

let node: NodeContainer;
let cluster: Cluster;

interface MirrorPod extends SeenPod {
  readonly metadata: SeenPod["metadata"] & {
    readonly annotations: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly kind: string; readonly name: string }[];
  };
}

async function startControlPlane(): Promise<void> {
  await node.background("up", "longshore up --control-plane-only --node-name node1");
  await eventually(
    "the API server answers",
    async () => (await node.exec(["kubectl", "get", "namespaces"])).code === 0,
  );
}

function startAgent(...flags: readonly string[]): Promise<void> {
  return node.background(
    "agent",
    [
      `longshore agent --kubeconfig ${STATE}/node.kubeconfig --proxy-kubeconfig ${STATE}/proxy.kubeconfig`,
      `--hostname-override node1 --client-ca-file ${STATE}/pki/ca.crt --cluster-cidr 10.244.0.0/16`,
      `--pod-manifest-path ${DIR}`,
      ...flags,
    ].join(" "),
  );
}

/** Puts a file in the place of another at once, as careful tools do. */
function write(file: string, manifest: object): Promise<string> {
  return node.sh(`cat >/run/draft && mv /run/draft ${DIR}/${file}`, {
    input: JSON.stringify(manifest),
  });
}

function manifest(name: string, script: string, spec: object = {}): object {
  return podManifest(name, { containers: [shell("main", script)], ...spec });
}

async function containerOf(pod: string): Promise<string | undefined> {
  return (await node.containerIds()).get(`${pod}/main`);
}

/** Waits for a running container of the pod, other than the one given. */
function running(pod: string, other?: string): Promise<string> {
  return eventually(`a container of ${pod} runs`, async () => {
    const id = await containerOf(pod);
    return id !== other && id;
  });
}

beforeAll(async () => {
  node = await NodeContainer.start();
  cluster = new Cluster(node, "default");
  await node.sh(`mkdir ${DIR}`);
  await startControlPlane();
});

afterAll(() => node.stop());

test("a static pod of the host's network runs before the API server was ever reached, all others after it", async () => {
  await node.kill("up", "TERM");
  const containers = [shell("main", IDLE, { ports: [{ containerPort: 8123 }] })];
  await write("host.json", podManifest("host", { hostNetwork: true, containers }));
  await write("own.json", manifest("own", IDLE));
  await startAgent();
  const id = await running("host-node1");
  expect(await containerOf("own-node1")).toBeUndefined();
  await startControlPlane();
  await cluster.ready("host-node1");
  const own = await cluster.ready("own-node1");
  expect(own.status.podIP).toMatch(/^10\.244\./);
  expect(await containerOf("host-node1")).toBe(id);
});

test("its mirror tells the hash, the source and the node it belongs to, and logs, exec and describe find it", async () => {
  const mirror = (await cluster.pod("own-node1")) as MirrorPod;
  const { annotations, ownerReferences } = mirror.metadata;
  expect(annotations["kubernetes.io/config.mirror"]).toMatch(/^[0-9a-f]{32}$/);
  expect(annotations["kubernetes.io/config.hash"]).toBe(annotations["kubernetes.io/config.mirror"]);
  expect(annotations["kubernetes.io/config.source"]).toBe("file");
  expect(ownerReferences).toMatchObject([{ kind: "Node", name: "node1" }]);
  expect(mirror.status.containerStatuses?.[0]).toMatchObject({ ready: true, restartCount: 0 });
  expect(await cluster.kubectl("exec", "own-node1", "--", "hostname")).toBe("own-node1\n");
  await write("talk.json", manifest("talk", `echo hello; ${IDLE}`));
  await cluster.ready("talk-node1");
  expect(await cluster.kubectl("logs", "talk-node1")).toBe("hello\n");
  expect(await cluster.kubectl("describe", "pod", "talk-node1")).toMatch(/Started container main/);
});

test("a mirror that somebody deletes is made anew, and the container is the same", async () => {
  const before = await cluster.pod("own-node1");
  const id = await containerOf("own-node1");
  await cluster.kubectl("delete", "pod", "own-node1", "--wait=false");
  const after = await cluster.until(
    "own-node1",
    "there again",
    (pod) => pod.metadata.uid !== before.metadata.uid && pod.status.phase === "Running",
  );
  expect(after.status.containerStatuses?.[0]?.containerID).toBe(`docker://${id}`);
});

test("a mirror whose status says Failed is put right, and the pod runs on", async () => {
  const id = await containerOf("own-node1");
  await cluster.kubectl(
    ...["patch", "pod", "own-node1", "--subresource=status", "--type=merge"],
    ...["-p", '{"status":{"phase":"Failed","reason":"Tricked"}}'],
  );
  await cluster.until("own-node1", "Running again", (pod) => pod.status.phase === "Running");
  expect(await containerOf("own-node1")).toBe(id);
});

test("a pod that somebody makes with the mirror annotation never runs, and goes", async () => {
  const annotations = { "kubernetes.io/config.mirror": "0123456789abcdef0123456789abcdef" };
  const fake = manifest("fake", IDLE, { nodeName: "node1" }) as { metadata: object };
  await cluster.apply({ ...fake, metadata: { name: "fake", annotations } });
  await cluster.gone("fake");
  expect(await node.sh("docker ps -a --format '{{.Names}}' | grep -c fake || true")).toBe("0\n");
});

test("a changed file ends the old pod and begins another under the same name", async () => {
  const before = (await cluster.pod("talk-node1")) as MirrorPod;
  const id = await containerOf("talk-node1");
  await write("talk.json", manifest("talk", `echo changed; ${IDLE}`));
  await running("talk-node1", id);
  const after = (await cluster.until(
    "talk-node1",
    "another pod",
    (pod) => pod.metadata.uid !== before.metadata.uid && pod.status.phase === "Running",
  )) as MirrorPod;
  const hash = (pod: MirrorPod) => pod.metadata.annotations["kubernetes.io/config.mirror"];
  expect(hash(after)).not.toBe(hash(before));
  expect(await cluster.kubectl("logs", "talk-node1")).toBe("changed\n");
});

test("rubbish beside them is told once and hurts nothing; a file that becomes good runs", async () => {
  await node.sh(`cd ${DIR}; echo '{' >broken.yaml; echo 'kind: ConfigMap' >map.yaml; mkfifo fifo; ln -s loop loop
    mkdir dir; : >empty; truncate -s 11M big; cp talk.json .hidden.json; head -c 1000 /dev/urandom >noise; ln -s /dev/zero zero
    printf 'a: &a [x,x,x,x,x,x,x,x,x]\\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\\n' >bomb`);
  await write(
    "secret.json",
    manifest("secret", IDLE, { volumes: [{ name: "v", secret: { secretName: "s" } }] }),
  );
  await eventually("the secret is refused", async () =>
    (await node.logs("agent")).includes("static pods may not reference secrets"),
  );
  await write("broken.yaml", manifest("mended", IDLE));
  await cluster.ready("mended-node1");
  const names = (await node.logs("agent"))
    .split("\n")
    .filter((line) => line.includes("not a static pod"));
  for (const file of ["broken.yaml", "map.yaml", "fifo", "loop", "empty", "big", "noise", "zero"])
    expect(names.filter((line) => line.includes(`"path":"${DIR}/${file}"`)).length, file).toBe(1);
  expect(await cluster.kubectl("get", "pods", "-o", "name")).not.toMatch(/secret|hidden/);
});

test("after kill -9 the agent adopts what runs, and ends what lost its file meanwhile", async () => {
  const before = await node.containerIds();
  await node.kill("agent");
  await node.sh(`rm ${DIR}/broken.yaml`);
  await startAgent();
  await cluster.gone("mended-node1");
  await eventually("its container is gone", async () => !(await containerOf("mended-node1")));
  const after = await node.containerIds();
  for (const pod of ["host-node1", "own-node1", "talk-node1"])
    expect(after.get(`${pod}/main`), pod).toBe(before.get(`${pod}/main`));
});

test("while the API server is away a file makes a pod, a change replaces it, its removal ends it", async () => {
  await node.kill("up", "TERM");
  await write("away.json", manifest("away", IDLE));
  const first = await running("away-node1");
  await write("away.json", manifest("away", `true; ${IDLE}`));
  await running("away-node1", first);
  await node.sh(`rm ${DIR}/talk.json`);
  await eventually("its container is gone", async () => !(await containerOf("talk-node1")));
  await startControlPlane();
  await cluster.ready("away-node1");
  await cluster.gone("talk-node1");
});

test("a static pod that may not restart ends Succeeded, and stays so after a restart of the agent", async () => {
  await write("once.json", manifest("once", "echo done", { restartPolicy: "Never" }));
  await cluster.until("once-node1", "Succeeded", (pod) => pod.status.phase === "Succeeded");
  await node.kill("agent");
  await startAgent();
  await write("canary.json", manifest("canary", IDLE));
  await cluster.ready("canary-node1");
  const once = await cluster.pod("once-node1");
  expect(once.status.phase).toBe("Succeeded");
  expect(once.status.containerStatuses?.[0]?.restartCount).toBe(0);
  expect(await cluster.kubectl("logs", "once-node1")).toBe("done\n");
});

test("a list of pods comes from a URL with the header it wants, and stays while the URL is away", async () => {
  const list = { apiVersion: "v1", kind: "PodList" };
  const items = [manifest("far", IDLE), manifest("further", IDLE)];
  const web = createServer((request, response) => {
    if (request.headers["x-key"] !== "k") response.statusCode = 403;
    response.end(JSON.stringify({ ...list, items }));
  });
  await new Promise<void>((listening) => web.listen(0, listening));
  const host = (await node.sh("ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'")).trim();
  const url = `--manifest-url http://${host}:${(web.address() as AddressInfo).port}/`;
  await node.kill("agent");
  await startAgent(url, "--manifest-url-header X-Key:k");
  const far = (await cluster.ready("far-node1")) as MirrorPod;
  await cluster.ready("further-node1");
  expect(far.metadata.annotations["kubernetes.io/config.source"]).toBe("http");
  const before = await node.containerIds();
  await new Promise((closed) => web.close(closed));
  await node.kill("agent");
  await startAgent(url, "--manifest-url-header X-Key:k");
  await eventually("the failure is told", async () =>
    (await node.logs("agent")).includes("static pods could not be fetched"),
  );
  // Only what this agent has read can it miss: what went before may have come from the URL.
  await write("seen.json", manifest("seen", IDLE));
  await running("seen-node1");
  await node.sh(`rm ${DIR}/canary.json`);
  await eventually("what has no file ends", async () => !(await containerOf("canary-node1")));
  for (const pod of ["far-node1", "further-node1"])
    expect(await containerOf(pod), pod).toBe(before.get(`${pod}/main`));
});
