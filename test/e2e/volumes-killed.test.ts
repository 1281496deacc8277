/**
 * The agent is killed with SIGKILL at random moments while pods with volumes of every kind come and go. Afterwards no
 * mount is left, what the host, a PersistentVolume and a file server have is as it was, and no secret was ever on disk.
 * CHAOS_SEED and CHAOS_KILLS make another run or a longer one (200 by hand).
 */

import { afterAll, beforeAll, expect, test } from "vitest";
import { type Cluster, IDLE, podManifest, shell } from "../support/cluster.ts";
import {
  createRandom,
  startAgent,
  startLoneAgent,
  untilNothingIsLeft,
} from "../support/lone-agent.ts";
import { eventually, type NodeContainer } from "../support/node-container.ts";

const SEED = Number(process.env.CHAOS_SEED ?? 11);
const KILLS = Number(process.env.CHAOS_KILLS ?? 8);
const MARKER = "longshore-killed-secret-93ab";
/** The search finds what may be on disk. */
const PUBLIC = "longshore-killed-public-70de";
/** How each token of a service account begins. */
const TOKEN = "eyJhbGciOi";
const NAMES = ["v0", "v1", "v2", "v3", "v4"] as const;

let node: NodeContainer;
let cluster: Cluster;
const random = createRandom(SEED);
/** How many mounts of pods each kill left behind: if it is always the same, every kill hit the same instant. */
const mountsAtKill = new Set<string>();

const VOLUMES = [
  { name: "secret", secret: { secretName: "killed" } },
  { name: "config", configMap: { name: "killed" } },
  {
    name: "all",
    projected: {
      sources: [
        { secret: { name: "killed", items: [{ key: "key", path: "deep/key" }] } },
        { configMap: { name: "killed" } },
        { downwardAPI: { items: [{ path: "n", fieldRef: { fieldPath: "metadata.name" } }] } },
      ],
    },
  },
  { name: "disk", emptyDir: {} },
  { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
  { name: "host", hostPath: { path: "/srv/killed/host", type: "Directory" } },
  { name: "claimed", persistentVolumeClaim: { claimName: "killed" } },
  { name: "served", nfs: { server: "nas", path: "/srv/killed/served" } },
  { name: "image", image: { reference: "busybox", pullPolicy: "IfNotPresent" } },
];
const PARTS = {
  secret: "key",
  config: "key",
  disk: "part",
  host: "sub",
  claimed: "sub",
  served: "sub",
};

function podWithAll(name: string): object {
  const volumeMounts = [
    ...VOLUMES.map((volume) => ({ name: volume.name, mountPath: `/whole/${volume.name}` })),
    ...Object.entries(PARTS).map(([part, subPath]) => ({
      ...{ name: part, subPath, mountPath: `/part/${part}` },
    })),
  ];
  const check = `cmp /whole/secret/key /part/secret && echo ${name} >/part/disk/${name} && ${IDLE}`;
  const manifest = podManifest(name, {
    containers: [shell("main", check, { volumeMounts })],
    volumes: VOLUMES,
    terminationGracePeriodSeconds: 0,
  });
  return { ...manifest, metadata: { name, namespace: "default" } };
}

/** Some pods come and others go; what it meets (already there, not there) does not matter. */
async function churn(): Promise<void> {
  const come = NAMES.filter(() => random(2) === 0);
  const go = NAMES.filter((name) => !come.includes(name));
  const items = come.map(podWithAll);
  await Promise.all([
    cluster.tryKubectl("delete", "pod", ...go, "--wait=false", "--ignore-not-found"),
    node.exec(["kubectl", "create", "-f", "-"], {
      input: JSON.stringify({ apiVersion: "v1", kind: "List", items }),
    }),
  ]);
}

const checksums = () =>
  node.sh(
    "cd /srv/killed && find . -exec stat -c '%n %a %u:%g %s' {} + | sort && find . -type f -exec sha256sum {} + | sort",
  );

/**
 * Files of the disks themselves that hold one of the texts, as it is or encoded, but those of the API server: a plain
 * bind mount shows what lies below other mounts.
 */
const onDisk = (...texts: readonly string[]) => {
  const encoded = texts.map((text) => Buffer.from(text).toString("base64"));
  const patterns = [...texts, ...encoded].map((text) => `-e ${text}`).join(" ");
  return node.sh(
    `for d in / /var/lib/longshore /var/lib/docker; do mkdir -p /run/raw && mount --bind $d /run/raw && grep -rl --exclude-dir=controlplane ${patterns} /run/raw; umount /run/raw; done; true`,
  );
};

beforeAll(async () => {
  cluster = await startLoneAgent();
  node = cluster.node;
  await node.sh(`for d in host claimed served; do mkdir -p /srv/killed/$d/sub/deep && cd /srv/killed/$d &&
    for i in 1 2 3; do head -c 20000 /dev/urandom >sub/deep/$i; echo $d-$i >file-$i; done; ln -s /etc/passwd link; chmod 600 file-1; done
    printf '#!/bin/sh\\nexec mount --bind "\${1#nas:}" "$2"\\n' >/usr/local/sbin/mount.nfs; chmod +x /usr/local/sbin/mount.nfs`);
  const storage = { accessModes: ["ReadWriteMany"], storageClassName: "killed" };
  await cluster.apply(
    ...[
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "killed" }, data: { key: PUBLIC } },
    ],
    {
      ...{ apiVersion: "v1", kind: "Secret", metadata: { name: "killed" } },
      stringData: { key: MARKER },
    },
    {
      ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "killed" } },
      spec: { ...storage, resources: { requests: { storage: "1Gi" } } },
    },
  );
  await node.apply({
    ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "killed" } },
    spec: { ...storage, capacity: { storage: "1Gi" }, local: { path: "/srv/killed/claimed" } },
  });
});

afterAll(() => node.stop());

test(`${KILLS} kills among volumes (seed ${SEED})`, {
  timeout: KILLS * 6_000 + 60_000,
}, async () => {
  const before = await checksums();
  await node.apply(podWithAll("lasting"));
  await cluster.ready("lasting");
  const ids = await node.containerIds();
  for (let kill = 0; kill < KILLS; kill++) {
    const waitMs = random(1_800);
    await Promise.all([new Promise((wake) => setTimeout(wake, waitMs)), churn()]);
    await node.kill("agent");
    const mounts = await node.sh("grep -c /var/lib/longshore/pods /proc/self/mountinfo; true");
    mountsAtKill.add(mounts.trim());
    if (random(3) === 0) await churn();
    await startAgent(node);
  }
  await cluster.ready("lasting");
  for (const [name, id] of ids)
    if (name.startsWith("lasting/")) expect((await node.containerIds()).get(name)).toBe(id);
  expect(
    await cluster.kubectl("exec", "lasting", "--", "cat", "/whole/secret/key", "/part/secret"),
  ).toBe(MARKER + MARKER);
  const token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
  expect(await cluster.kubectl("exec", "lasting", "--", "cat", token)).toContain(TOKEN);
  await node.apply({ apiVersion: "v1", kind: "List", items: NAMES.map(podWithAll) });
  for (const name of NAMES) await cluster.ready(name);
  expect(await onDisk(MARKER, TOKEN)).toBe("");
  expect(await onDisk(PUBLIC)).toContain("/run/raw/pods/");
  await cluster.kubectl("delete", "pods", "--all", "--wait=false");
  await eventually(
    "all pods are gone",
    async () => (await cluster.kubectl("get", "pods", "-o", "name")) === "",
  );
  await untilNothingIsLeft(node);
  expect(await onDisk(MARKER, TOKEN)).toBe("");
  expect(await checksums()).toBe(before);
  expect(await node.sh("cat /var/log/agent.log")).not.toContain("(bug)");
  console.info(`mounts left by the kills: ${[...mountsAtKill].sort().join(" ")}`);
  expect(mountsAtKill.size).toBeGreaterThan(1);
});
