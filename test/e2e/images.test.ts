/** Scenario 22, private registries with kubectl: secrets, credential plugins, shared pulls, a kill in the middle. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { Cluster, IDLE, podManifest, type SeenPod } from "../support/cluster.ts";
import { eventually, NodeContainer } from "../support/node-container.ts";
import { HTPASSWD, PASSWORDS, registryConfig } from "../support/registry.ts";

const REGISTRY = "127.0.0.1:5000";
/** The same registry; a credential plugin answers for it by this address only. */
const BY_PLUGIN = "127.0.0.2:5000";
const PLUGIN = `#!/bin/sh
cat >>/srv/registry/asked
echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Global","auth":{"127.0.0.*:5000":{"username":"bob","password":"'$PASSWORD'"}}}'
`;
const PROVIDERS = {
  apiVersion: "kubelet.config.k8s.io/v1",
  kind: "CredentialProviderConfig",
  providers: [
    {
      name: "plugin",
      apiVersion: "credentialprovider.kubelet.k8s.io/v1",
      matchImages: [BY_PLUGIN],
      defaultCacheDuration: "1h",
      env: [{ name: "PASSWORD", value: PASSWORDS.bob }],
    },
  ],
};

let node: NodeContainer;
let cluster: Cluster;

async function startAgent(): Promise<void> {
  const dir = "/var/lib/longshore/controlplane";
  await node.background(
    "agent",
    `longshore agent --kubeconfig ${dir}/node.kubeconfig --proxy-kubeconfig ${dir}/proxy.kubeconfig --hostname-override node1 --client-ca-file ${dir}/pki/ca.crt --cluster-cidr 10.244.0.0/16 --image-credential-provider-config /srv/registry/providers.json --image-credential-provider-bin-dir /srv/registry`,
  );
}

async function write(path: string, content: string): Promise<void> {
  await node.sh(`mkdir -p $(dirname ${path}); cat >${path}; chmod 755 ${path}`, { input: content });
}

/** An image of its own content that is in the registry only. */
async function push(path: string, megabytes = 0): Promise<string> {
  const image = `${REGISTRY}/${path}`;
  await node.sh(`
    set -e; d=$(mktemp -d); docker save busybox:latest -o $d/save.tar; id=$(docker create busybox:latest true)
    docker export $id -o $d/root.tar; docker rm $id >/dev/null; mkdir $d/more; echo ${path} >$d/more/name
    [ ${megabytes} = 0 ] || head -c ${megabytes}000000 /dev/urandom >$d/more/ballast
    tar -C $d -rf $d/root.tar more; docker import -c 'ENV PATH=/bin' $d/root.tar ${image} >/dev/null; rm -r $d
    echo ${PASSWORDS.alice} | docker login -u alice --password-stdin ${REGISTRY} >/dev/null 2>&1
    docker push -q ${image} >/dev/null; docker logout ${REGISTRY} >/dev/null; docker rmi ${image} >/dev/null`);
  return image;
}

/** Pulls that the registry served: one request for the manifest by its tag each, with credentials. */
async function countPulls(path: string): Promise<number> {
  const text = await node.sh(
    `grep -c '"HEAD /v2/${path}/manifests/[^"]*" 200 ' /var/log/registry.log /var/log/registry.out || true`,
  );
  return [...text.matchAll(/:(\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
}

function podOf(name: string, image: string, secrets: readonly string[] = []): object {
  return podManifest(name, {
    containers: [
      {
        ...{ name: "main", image, imagePullPolicy: "IfNotPresent" },
        command: ["sh", "-c", IDLE],
      },
    ],
    imagePullSecrets: secrets.map((secret) => ({ name: secret })),
  });
}

function waitingOf(pod: SeenPod): { readonly reason: string; readonly message?: string } {
  return pod.status.containerStatuses?.[0]?.state.waiting ?? { reason: "" };
}

/** ErrImagePull is shown for five seconds only, and its words are in what follows. */
const DENIED = ["ErrImagePull", "ImagePullBackOff"];

async function untilWaiting(name: string, ...reasons: readonly string[]): Promise<string> {
  const pod = await cluster.until(name, `waiting with ${reasons.join(" or ")}`, (seen) =>
    reasons.includes(waitingOf(seen).reason),
  );
  return waitingOf(pod).message ?? "";
}

async function eventsOf(name: string): Promise<string> {
  const format = 'jsonpath={range .items[*]}{.reason} {.message}{"\\n"}{end}';
  const about = `involvedObject.name=${name}`;
  return cluster.kubectl("get", "events", "--field-selector", about, "-o", format);
}

async function createSecret(name: string, user: string, password: string): Promise<void> {
  await cluster.kubectl(
    ...["create", "secret", "docker-registry", name, `--docker-server=${REGISTRY}`],
    ...[`--docker-username=${user}`, `--docker-password=${password}`],
  );
}

beforeAll(async () => {
  node = await NodeContainer.start();
  cluster = new Cluster(node, "default");
  await write("/srv/registry/htpasswd", HTPASSWD);
  await write("/srv/registry/config.yml", registryConfig("/srv/registry", "0.0.0.0:5000"));
  await write("/srv/registry/plugin", PLUGIN);
  await write("/srv/registry/providers.json", JSON.stringify(PROVIDERS));
  await node.background("registry", "docker-registry serve /srv/registry/config.yml");
  await node.background("up", "longshore up --control-plane-only --node-name node1");
  await eventually(
    "the API server answers",
    async () => (await node.exec(["kubectl", "get", "namespaces"])).code === 0,
  );
  await startAgent();
  await eventually("the node is Ready", async () =>
    / Ready /.test((await node.exec(["kubectl", "get", "nodes"])).stdout),
  );
  await createSecret("alice", "alice", PASSWORDS.alice);
  await createSecret("wrong", "alice", "guess");
});

afterAll(() => node.stop());

test("scenario 22: a pod with the registry's secret runs; one without waits with the registry's words", async () => {
  const image = await push("team/private:1");
  await cluster.apply(podOf("stranger", image));
  expect(await untilWaiting("stranger", ...DENIED)).toContain("no basic auth credentials");
  expect(await untilWaiting("stranger", "ImagePullBackOff")).toMatch(
    /^Back-off pulling image "127.0.0.1:5000\/team\/private:1": ErrImagePull: /,
  );
  await cluster.apply(podOf("owner", image, ["alice"]));
  await cluster.ready("owner");
  expect(await eventsOf("owner")).toMatch(
    /Successfully pulled image "127.0.0.1:5000\/team\/private:1" in \S+s \(\S+s including waiting\)\. Image size: \d+ bytes\./,
  );
  // It is on the node by now, but not for who has no right to it.
  await cluster.apply(podOf("thief", image, ["wrong"]));
  expect(await untilWaiting("thief", ...DENIED)).toContain("unauthorized");
  await cluster.apply(podOf("friend", image, ["alice"]));
  await cluster.ready("friend");
  expect(await eventsOf("friend")).toContain("already present on machine");
  expect(await countPulls("team/private")).toBe(1);
});

test("of several secrets, one missing and one wrong, the one that works is found, of the old type too", async () => {
  const image = await push("team/several:1");
  const auth = Buffer.from(`bob:${PASSWORDS.bob}`).toString("base64");
  await cluster.apply({
    ...{ apiVersion: "v1", kind: "Secret", metadata: { name: "bob" } },
    type: "kubernetes.io/dockercfg",
    data: {
      ".dockercfg": Buffer.from(JSON.stringify({ [REGISTRY]: { auth } })).toString("base64"),
    },
  });
  await cluster.apply(podOf("several", image, ["missing", "wrong", "bob"]));
  await cluster.ready("several");
  expect(await eventsOf("several")).toContain(
    "FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets (missing); attempting to pull the image may not succeed.",
  );
});

test("a secret that comes later is found by the next attempt, and a pod is corrected without waiting", async () => {
  const image = await push("team/later:1");
  await cluster.apply(podOf("later", image, ["later"]), podOf("typo", `${image}0`, ["alice"]));
  await untilWaiting("later", "ImagePullBackOff");
  await createSecret("later", "alice", PASSWORDS.alice);
  await cluster.ready("later");
  expect(await untilWaiting("typo", "ImagePullBackOff")).toContain("not found");
  await cluster.kubectl("set", "image", "pod/typo", `main=${image}`);
  await cluster.ready("typo");
});

test("five pods that want an image at once are one pull, by digest too", async () => {
  const image = await push("team/five:1");
  const names = ["five-1", "five-2", "five-3", "five-4", "five-5"];
  await cluster.apply(...names.map((name) => podOf(name, image, ["alice"])));
  for (const name of names) await cluster.ready(name);
  expect(await countPulls("team/five")).toBe(1);
  const digest = await node.sh(`docker inspect -f '{{index .RepoDigests 0}}' ${image}`);
  expect(digest).toContain("@sha256:");
  await cluster.apply(podOf("digest", digest.trim(), ["alice"]));
  await cluster.ready("digest");
});

test("a credential plugin gives the node's credentials to a pod without secrets", async () => {
  await push("team/plugin:1");
  await cluster.apply(podOf("plugin", `${BY_PLUGIN}/team/plugin:1`));
  await cluster.ready("plugin");
  expect(await node.sh("cat /srv/registry/asked")).toContain(
    '"image":"127.0.0.2:5000/team/plugin"',
  );
});

test("names that are none are InvalidImageName, and what is not there with policy Never says so", async () => {
  await cluster.apply(
    podOf("upper", "UPPER/Case"),
    podOf("path", "../../etc/passwd"),
    podOf("long", `a/${"b".repeat(300)}`),
    podManifest("never", {
      containers: [{ name: "main", image: "no-such:1", imagePullPolicy: "Never" }],
    }),
  );
  for (const name of ["upper", "path", "long"]) {
    expect(await untilWaiting(name, "InvalidImageName")).toMatch(
      /^Failed to apply default image tag ".*": couldn't parse image name/,
    );
    expect(await cluster.eventReasons(name)).toContain("InspectFailed");
  }
  expect(await untilWaiting("never", "ErrImageNeverPull")).toBe(
    'Container image "no-such:1" is not present with pull policy of Never',
  );
});

test("kill -9 in the middle of a pull: the next agent pulls it, and it stays private", async () => {
  const image = await push("team/killed:1", 60);
  const halted = node.sh(
    "until ls /var/lib/docker/tmp/GetImageBlob* >/dev/null 2>&1; do sleep 0.005; done; kill -STOP $(cat /run/registry.pid)",
  );
  await cluster.apply(podOf("killed", image, ["alice"]));
  await halted;
  await node.kill("agent");
  await node.sh("kill -CONT $(cat /run/registry.pid)");
  expect(await node.sh("ls /var/lib/longshore/image_manager/pulling")).toContain("sha256-");
  await startAgent();
  await cluster.ready("killed");
  await cluster.apply(podOf("late-thief", image));
  expect(await untilWaiting("late-thief", ...DENIED)).toContain("no basic auth");
  expect(await node.sh("ls -A /var/lib/longshore/image_manager/pulling")).toBe("");
  expect(await node.sh("cat /var/log/agent.log /var/log/agent.out")).not.toContain(PASSWORDS.alice);
  const records = "/var/lib/longshore/image_manager/pulled";
  expect(await node.sh(`cat ${records}/*`)).not.toContain(PASSWORDS.alice);
});
