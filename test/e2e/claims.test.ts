/** PersistentVolumeClaims with kubectl: bound to volumes that are there, ephemeral ones, and drivers nobody has. */

import { expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();

const spec = (more: object = {}) => ({
  accessModes: ["ReadWriteOnce"],
  resources: { requests: { storage: "1Gi" } },
  ...more,
});
const claim = (name: string, more: object = {}) => ({
  ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name } },
  spec: spec(more),
});
/** Of a class of its own, so that the tests of this file do not take each other's. */
const volume = (name: string, more: object) => ({
  ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name } },
  spec: {
    ...{ accessModes: ["ReadWriteOnce"], capacity: { storage: "2Gi" }, storageClassName: name },
    ...more,
  },
});
const podOf = (name: string, source: object, more: object = {}) =>
  podManifest(name, {
    containers: [
      shell("main", `echo ${name} >>/data/seen; ${IDLE}`, {
        volumeMounts: [{ name: "v", mountPath: "/data" }],
      }),
    ],
    volumes: [{ name: "v", ...source }],
    ...more,
  });
const put = (object: object) => cluster.node.apply(object);
const phaseOf = (kind: string, name: string) =>
  cluster.kubectl("get", kind, name, "-o", "jsonpath={.status.phase}");

test("data outlives the pod, and the volume is released with its claim", async () => {
  await put(volume("host", { hostPath: { path: "/srv/pv-host", type: "DirectoryOrCreate" } }));
  await cluster.apply(
    claim("data", { storageClassName: "host" }),
    podOf("first", { persistentVolumeClaim: { claimName: "data" } }),
  );
  await cluster.ready("first");
  expect(await phaseOf("pvc", "data")).toBe("Bound");
  await cluster.kubectl("delete", "pod", "first");
  await cluster.apply(podOf("second", { persistentVolumeClaim: { claimName: "data" } }));
  await cluster.ready("second");
  const read = () => cluster.kubectl("exec", "second", "--", "cat", "/data/seen");
  expect(await eventually("both wrote", async () => /second/.test(await read()) && read())).toBe(
    "first\nsecond\n",
  );
  await cluster.kubectl("delete", "pod", "second");
  await cluster.kubectl("delete", "pvc", "data");
  await eventually("released", async () => (await phaseOf("pv", "host")) === "Released");
  expect(await cluster.node.sh("cat /srv/pv-host/seen")).toBe("first\nsecond\n");
});

test("a pod whose claim comes later waits for it, and its group gets a local volume", async () => {
  await cluster.node.sh("mkdir -p /srv/pv-local");
  await cluster.apply(
    podOf(
      "late",
      { persistentVolumeClaim: { claimName: "late" } },
      { securityContext: { runAsUser: 1000, fsGroup: 4321 } },
    ),
  );
  await eventually("the wait is told", async () =>
    (await cluster.kubectl("describe", "pod", "late")).includes(
      `persistentvolumeclaim "${cluster.namespace}/late" not found`,
    ),
  );
  expect((await cluster.pod("late")).status.phase).toBe("Pending");
  await put(volume("local", { local: { path: "/srv/pv-local" } }));
  await cluster.apply(claim("late", { storageClassName: "local" }));
  await cluster.ready("late");
  expect(
    await eventually("written", () => cluster.node.sh("stat -c %u:%g /srv/pv-local/seen")),
  ).toBe("1000:4321\n");
});

test("a generic ephemeral volume has a claim that comes and goes with its pod", async () => {
  await put(volume("ephemeral", { hostPath: { path: "/srv/pv-ephemeral" } }));
  const template = { spec: spec({ storageClassName: "ephemeral" }) };
  await cluster.apply(podOf("own", { ephemeral: { volumeClaimTemplate: template } }));
  await cluster.ready("own");
  expect(await phaseOf("pvc", "own-v")).toBe("Bound");
  await cluster.kubectl("delete", "pod", "own");
  await eventually("the claim is gone", async () =>
    (await cluster.tryKubectl("get", "pvc", "own-v")).stderr.includes("NotFound"),
  );
});

test("a local volume of mode Block is a device of the container's, for reading only where the claim says so", async () => {
  const attach =
    "[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237; truncate -s 1M /srv/disk; n=$(losetup -f | cut -d' ' -f1); [ -e $n ] || mknod $n b 7 $(echo $n | tr -dc 0-9); losetup $n /srv/disk; echo $n";
  const device = (await cluster.node.sh(attach)).trim();
  try {
    const mode = { volumeMode: "Block" };
    await put(volume("disk", { local: { path: device }, ...mode }));
    const podOfDevice = (name: string, readOnly: boolean) =>
      podManifest(name, {
        containers: [shell("main", IDLE, { volumeDevices: [{ name: "v", devicePath: "/dev/x" }] })],
        volumes: [{ name: "v", persistentVolumeClaim: { claimName: "disk", readOnly } }],
      });
    await cluster.apply(
      claim("disk", { storageClassName: "disk", ...mode }),
      podOfDevice("writer", false),
      podOfDevice("reader", true),
    );
    await cluster.ready("writer");
    await cluster.ready("reader");
    const exec = (pod: string, script: string) =>
      cluster.tryKubectl("exec", pod, "--", "sh", "-c", script);
    const write = "echo written | dd of=/dev/x conv=sync,fsync bs=512 2>&1";
    expect((await exec("writer", write)).code).toBe(0);
    expect((await exec("reader", "head -n 1 /dev/x")).stdout).toBe("written\n");
    expect((await exec("reader", write)).stdout).toContain("Operation not permitted");
    await cluster.kubectl("delete", "pod", "writer", "reader");
  } finally {
    await cluster.node.sh(`losetup -d ${device}`);
  }
});

test("a claim and its volume that are deleted while a pod uses them stay until it has gone", async () => {
  await put(volume("kept", { hostPath: { path: "/srv/pv-kept" } }));
  await cluster.apply(
    claim("kept", { storageClassName: "kept" }),
    podOf("keeper", { persistentVolumeClaim: { claimName: "kept" } }),
  );
  await cluster.ready("keeper");
  await cluster.kubectl("delete", "pvc", "kept", "--wait=false");
  await cluster.kubectl("delete", "pv", "kept", "--wait=false");
  const statusOf = async (kind: string) =>
    (await cluster.kubectl("get", kind, "kept")).split("\n")[1];
  expect(await phaseOf("pvc", "kept")).toBe("Bound");
  expect(await statusOf("pvc")).toContain("Terminating");
  expect(await statusOf("pv")).toContain("Terminating");
  // Nobody else gets it any more.
  await cluster.apply(podOf("late-keeper", { persistentVolumeClaim: { claimName: "kept" } }));
  await eventually("it is told", async () =>
    (await cluster.kubectl("describe", "pod", "late-keeper")).includes("PVC is being deleted"),
  );
  await cluster.kubectl("delete", "pod", "keeper", "late-keeper");
  await eventually("both are gone", async () => {
    const seen = await cluster.tryKubectl("get", "pvc,pv", "--ignore-not-found");
    return !seen.stdout.includes("kept");
  });
  expect(await cluster.node.sh("cat /srv/pv-kept/seen")).toBe("keeper\n");
});

test("a pod with a CSI volume stays Pending with FailedMount and deletes cleanly", async () => {
  await cluster.apply(podOf("csi", { csi: { driver: "inline.example.com" } }));
  const text = await eventually("the wait is told", async () => {
    const described = await cluster.kubectl("describe", "pod", "csi");
    return described.includes("FailedMount") && described;
  });
  expect(text).toContain(
    "driver name inline.example.com not found in the list of registered CSI drivers",
  );
  const { status, metadata } = await cluster.pod("csi");
  expect(status.phase).toBe("Pending");
  await cluster.kubectl("delete", "pod", "csi");
  expect(await cluster.node.sh(`ls /var/lib/longshore/pods | grep -c ${metadata.uid}; true`)).toBe(
    "0\n",
  );
});
