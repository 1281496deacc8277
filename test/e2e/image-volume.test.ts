/** Image volumes with a real Engine, registry and kubectl: pulled by policy, shown read-only, gone with the pod. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { IDLE, podManifest, type SeenPod, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();
const REGISTRY = "127.0.0.1:5005";
const KITTEN = `${REGISTRY}/kitten:1`;

const push = (content: string) =>
  cluster.node.sh(`
    set -e; d=$(mktemp -d); echo ${content} >$d/data.json; mkdir $d/etc; echo Kitten >$d/etc/os-release
    tar -C $d -c . | docker import - ${KITTEN} >/dev/null; docker push -q ${KITTEN}; docker rmi ${KITTEN}; rm -r $d`);

const podOf = (name: string, image: object) =>
  podManifest(name, {
    containers: [
      shell("main", IDLE, {
        volumeMounts: [
          { name: "v", mountPath: "/volume" },
          { name: "v", mountPath: "/part", subPath: "etc" },
        ],
      }),
    ],
    volumes: [{ name: "v", image }],
  });

const waitingOf = (pod: SeenPod) => pod.status.containerStatuses?.[0]?.state.waiting;

beforeAll(async () => {
  const config = `version: 0.1\nstorage: {filesystem: {rootdirectory: /srv/kittens}}\nhttp: {addr: "${REGISTRY}"}\n`;
  await cluster.node.sh("mkdir -p /srv/kittens; cat >/srv/kittens.yml", { input: config });
  await cluster.node.background("kittens", "docker-registry serve /srv/kittens.yml");
  await eventually("the registry answers", () =>
    cluster.node.sh(`curl -fsS http://${REGISTRY}/v2/`),
  );
  await push("kitten.jpg");
});

afterAll(async () => {
  await cluster.node.kill("kittens", "TERM");
});

test("an image with pull policy Always is pulled for each start and shown read-only", async () => {
  await cluster.apply(podOf("always", { reference: KITTEN, pullPolicy: "Always" }));
  const pod = await cluster.ready("always");
  const exec = (line: string) => cluster.tryKubectl("exec", "always", "--", "sh", "-c", line);
  expect((await exec("cat /volume/data.json /volume/etc/os-release /part/os-release")).stdout).toBe(
    "kitten.jpg\nKitten\nKitten\n",
  );
  for (const mount of (await exec("grep -E ' /(volume|part) ' /proc/mounts")).stdout.split("\n", 2))
    expect(mount).toMatch(/ ro,nosuid,nodev,noexec,/);
  expect((await exec("touch /volume/x")).stderr).toContain("Read-only file system");
  expect((await exec("touch /part/x")).stderr).toContain("Read-only file system");

  await push("other.jpg");
  await cluster.kubectl("exec", "always", "--", "kill", "1");
  await eventually(
    "the next start shows the image of now",
    async () => (await exec("cat /volume/data.json")).stdout === "other.jpg\n",
  );
  expect(await cluster.eventReasons("always")).toEqual(
    expect.arrayContaining(["Pulling", "Pulled"]),
  );

  await cluster.kubectl("delete", "pod", "always");
  const { uid } = pod.metadata;
  const left = `grep -c ${uid} /proc/self/mountinfo; docker ps -aq --filter label=io.kubernetes.pod.uid=${uid} | wc -l; ls /var/lib/longshore/pods | grep -c ${uid}; true`;
  expect(await cluster.node.sh(left)).toBe("0\n0\n0\n");
});

test.each([
  ["absent", `${REGISTRY}/nowhere:1`, "IfNotPresent", ["ErrImagePull", "ImagePullBackOff"]],
  ["forbidden", `${REGISTRY}/nowhere:1`, "Never", ["ErrImageNeverPull"]],
  ["misnamed", "UPPER//case", "IfNotPresent", ["InvalidImageName"]],
])(
  "an image that is %s makes its container wait with the reason",
  async (name, reference, pullPolicy, reasons) => {
    await cluster.apply(podOf(name, { reference, pullPolicy }));
    const pod = await cluster.until(name, reasons.join(" or "), (seen) =>
      reasons.includes(waitingOf(seen)?.reason ?? ""),
    );
    expect(pod.status.phase).toBe("Pending");
    await cluster.kubectl("delete", "pod", name);
  },
);
