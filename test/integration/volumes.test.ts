/**
 * Volumes on the real kernel: tmpfs mounts, modes under a hard umask, hostile links, interruption at every step,
 * and a search of the disk for a secret. Works below a temporary directory only.
 */

import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type {
  ClusterTrustBundle,
  ConfigMap,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  Secret,
  Volume,
} from "../../src/api/types.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import type { Logger } from "../../src/core/logger.ts";
import type { Syscalls } from "../../src/core/syscalls.ts";
import { createSyscalls } from "../../src/core/syscalls-linux.ts";
import type { ClaimSource } from "../../src/volumes/claims.ts";
import type { HostPathType } from "../../src/volumes/plan.ts";
import { VolumeManager } from "../../src/volumes/volume-manager.ts";
import type { ObjectSource, PodFacts } from "../../src/volumes/volumes.ts";

const TMPFS_MAGIC = 0x1021994;
const MARKER = "longshore-secret-marker-5c1d";
const FACTS: PodFacts = {
  ...{ podIps: [], hostIps: [], nodeName: "n", nodeLabels: { zone: "here" } },
  allocatable: { cpu: 2000, memory: 1e9 },
};
const signal = new AbortController().signal;
const quiet: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quiet,
};
const metadata = { name: "o", namespace: "default", uid: "o-1", resourceVersion: "1" };
const exec = createExec(systemClock);
const syscalls = createSyscalls({ exec });

const never = async (): Promise<never> => {
  throw new Error("nobody mounts images here");
};

let root: string;
let configMaps: Map<string, Record<string, string>>;
let secrets: Map<string, Record<string, string>>;
let claims: Map<string, PersistentVolumeClaim>;
let persistent: Map<string, PersistentVolume>;
let tokens: number;
let tokenLifeMs: number;
let bundles: ClusterTrustBundle[];

const objects: ObjectSource & ClaimSource = {
  async getConfigMap(_namespace, name) {
    const data = configMaps.get(name);
    return data === undefined ? undefined : ({ metadata, data } as ConfigMap);
  },
  async getSecret(_namespace, name) {
    const text = secrets.get(name);
    if (text === undefined) return undefined;
    const data = Object.fromEntries(
      Object.entries(text).map(([key, value]) => [key, Buffer.from(value).toString("base64")]),
    );
    return { metadata, data } as Secret;
  },
  getClaim: async (_namespace, name) => claims.get(name),
  getPersistentVolume: async (name) => persistent.get(name),
  listClusterTrustBundles: async () => bundles,
  async requestToken() {
    tokens++;
    return { token: `token-${tokens}`, expiresAt: Date.now() + tokenLifeMs };
  },
};

function bundle(anchor: string): ClusterTrustBundle {
  const base64 = Buffer.from(anchor).toString("base64");
  const trustBundle = `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
  return { metadata: { ...metadata, name: "ca" }, spec: { trustBundle } };
}

function podWith(volumes: readonly Volume[], uid = "uid-1"): Pod {
  const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/${name}` }));
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...metadata, name: "web", uid, labels: { b: '2"', a: "1" } },
    spec: { volumes: [...volumes], containers: [{ name: "c", image: "i", volumeMounts }] },
  };
}

const EVERYTHING: readonly Volume[] = [
  { name: "disk", emptyDir: {} },
  { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "2Mi" } },
  { name: "config", configMap: { name: "app", items: [{ key: "k", path: "deep/er/k" }] } },
  { name: "secret", secret: { secretName: "tls", defaultMode: 0o400 } },
  {
    name: "labels",
    downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] },
  },
  {
    name: "all",
    projected: {
      sources: [
        { configMap: { name: "app" } },
        { secret: { name: "tls" } },
        { serviceAccountToken: { path: "token" } },
        { downwardAPI: { items: [{ path: "name", fieldRef: { fieldPath: "metadata.name" } }] } },
      ],
    },
  },
];

/** Directories made, file systems mounted and contents written for them. */
const STEPS_OF_EVERYTHING = 6 + 3 + 4;

async function createManager(calls: Syscalls = syscalls): Promise<VolumeManager> {
  const images = { holdImage: never, releaseImages: never };
  const options = {
    rootDir: root,
    objects,
    syscalls: calls,
    exec,
    images,
    certificates: { get: never, forget: () => undefined },
    clock: systemClock,
    log: quiet,
  };
  const manager = new VolumeManager(options);
  await manager.start();
  return manager;
}

function mountsBelow(path: string): readonly string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(path));
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "volumes-test-"));
  configMaps = new Map([["app", { k: "v1" }]]);
  secrets = new Map([["tls", { key: MARKER }]]);
  claims = new Map();
  persistent = new Map();
  tokens = 0;
  tokenLifeMs = 3_600_000;
  bundles = [];
});

afterEach(() => {
  for (const line of mountsBelow(root).toReversed())
    execFileSync("umount", ["-l", line.split(" ")[4] ?? ""]);
  rmSync(root, { recursive: true, force: true });
});

describe("volumes of a pod", () => {
  it("are laid out as the kubelet lays them out, with the asked modes under a hard umask", async () => {
    const before = process.umask(0o077);
    try {
      const manager = await createManager();
      const mounted = await manager.ensure(podWith(EVERYTHING), FACTS, signal);
      const path = (name: string): string => mounted.get(name)?.hostPath ?? "";
      expect(path("disk")).toBe(join(root, "pods/uid-1/volumes/kubernetes.io~empty-dir/disk"));
      expect(statSync(path("disk")).mode & 0o7777).toBe(0o777);
      expect(statSync(path("memory")).mode & 0o7777).toBe(0o777);
      expect(statfsSync(path("memory")).type).toBe(TMPFS_MAGIC);
      expect(statfsSync(path("memory")).blocks * 4096).toBe(2 * 1024 * 1024);
      expect(readFileSync(join(path("config"), "deep/er/k"), "utf8")).toBe("v1");
      expect(statSync(join(path("config"), "deep/er/k")).mode & 0o777).toBe(0o644);
      expect(statSync(join(path("secret"), "key")).mode & 0o777).toBe(0o400);
      expect(readlinkSync(join(path("secret"), "key"))).toBe("..data/key");
      expect(readFileSync(join(path("labels"), "labels"), "utf8")).toBe('a="1"\nb="2\\""');
      const shown = readdirSync(path("all")).filter((name) => !name.startsWith(".."));
      expect(shown.sort()).toEqual(["k", "key", "name", "token"]);
      expect(mounted.get("secret")?.readOnly).toBe(true);
      expect(mounted.get("disk")?.readOnly).toBe(false);
    } finally {
      process.umask(before);
    }
  });

  it("belong to the pod's group, readable for it, in every kind that is the pod's own", async () => {
    const before = process.umask(0o077);
    try {
      const pod = podWith(EVERYTHING);
      const spec = { ...pod.spec, securityContext: { fsGroup: 4321, runAsUser: 1000 } };
      const owned: Pod = { ...pod, spec };
      const manager = await createManager();
      const mounted = await manager.ensure(owned, FACTS, signal);
      const seen = (name: string, file = ""): readonly [string, number, number] => {
        const { mode, uid, gid } = statSync(join(mounted.get(name)?.hostPath ?? "", file));
        return [(mode & 0o7777).toString(8), uid, gid];
      };
      for (const { name } of EVERYTHING) expect(seen(name)).toEqual(["2777", 0, 4321]);
      expect(seen("config", "..data/deep")).toEqual(["2755", 0, 4321]);
      expect(seen("config", "deep/er/k")).toEqual(["644", 0, 4321]);
      expect(seen("secret", "key")).toEqual(["440", 0, 4321]);
      expect(seen("labels", "labels")).toEqual(["644", 0, 4321]);
      expect(seen("all", "token")).toEqual(["640", 1000, 4321]);
      mkdirSync(join(mounted.get("disk")?.hostPath ?? "", "made"));
      expect(seen("disk", "made")[2]).toBe(4321);
      // A bigger secret grows its tmpfs and keeps its group.
      secrets.set("tls", { key: "x".repeat(1_000_000) });
      await manager.ensure(owned, FACTS, signal);
      expect(seen("secret")).toEqual(["2777", 0, 4321]);
      expect(seen("secret", "key")).toEqual(["440", 0, 4321]);
    } finally {
      process.umask(before);
    }
  });

  it.each([
    ["one user of all containers", { runAsUser: 7 }, {}, ["600", 7]],
    ["no user where containers differ", { runAsUser: 7 }, { runAsUser: 8 }, ["644", 0]],
    ["no user where one says none", {}, {}, ["644", 0]],
  ])("give a token to %s", async (_sentence, ofPod, ofContainer, expected) => {
    const pod = podWith(EVERYTHING);
    const [first] = pod.spec.containers;
    const containers = [
      { ...first, name: "a" },
      { name: "b", securityContext: ofContainer },
    ];
    const owned: Pod = { ...pod, spec: { ...pod.spec, containers, securityContext: ofPod } };
    const mounted = await (await createManager()).ensure(owned, FACTS, signal);
    const { mode, uid } = statSync(join(mounted.get("all")?.hostPath ?? "", "token"));
    expect([(mode & 0o777).toString(8), uid]).toEqual(expected);
  });

  it("show a renewed token, and trust anchors as they change, in the place of the old", async () => {
    tokenLifeMs = 0;
    bundles = [bundle("one")];
    const anchors = { clusterTrustBundle: { name: "ca", path: "ca" } };
    const sources = [{ serviceAccountToken: { path: "token" } }, anchors];
    const pod = podWith([{ name: "all", projected: { sources } }]);
    const manager = await createManager();
    const path = (await manager.ensure(pod, FACTS, signal)).get("all")?.hostPath ?? "";
    const before = readlinkSync(join(path, "..data"));
    expect(readFileSync(join(path, "token"), "utf8")).toBe("token-1");
    const first = readFileSync(join(path, "ca"), "utf8");
    bundles = [bundle("another")];
    await manager.ensure(pod, FACTS, signal);
    expect(readFileSync(join(path, "token"), "utf8")).toBe("token-2");
    expect(readFileSync(join(path, "ca"), "utf8")).not.toBe(first);
    expect(readlinkSync(join(path, "..data"))).not.toBe(before);
    expect(readdirSync(path)).not.toContain(before);
    expect(statfsSync(path).type).toBe(TMPFS_MAGIC);
  });

  it("never put a secret or a token on disk", async () => {
    const manager = await createManager();
    const mounted = await manager.ensure(podWith(EVERYTHING), FACTS, signal);
    for (const name of ["secret", "all"])
      expect(statfsSync(mounted.get(name)?.hostPath ?? "").type).toBe(TMPFS_MAGIC);
    const onDisk = (...words: readonly string[]): string => {
      const patterns = words.flatMap((word) => ["-e", word]);
      const grep = ["-exec", "grep", "-l", ...patterns, "{}", "+"];
      return spawnSync("find", [root, "-xdev", "-type", "f", ...grep]).stdout.toString();
    };
    expect(onDisk("v1")).toContain("kubernetes.io~configmap/config");
    expect(onDisk(MARKER, "token-1")).toBe("");
  });

  it("keep what containers wrote and write nothing when nothing changed, also after a restart", async () => {
    const pod = podWith(EVERYTHING);
    const mounted = await (await createManager()).ensure(pod, FACTS, signal);
    const memory = mounted.get("memory")?.hostPath ?? "";
    const config = mounted.get("config")?.hostPath ?? "";
    writeFileSync(join(memory, "state"), "kept");
    const generation = readlinkSync(join(config, "..data"));
    const count = mountsBelow(root).length;
    const restarted = await createManager();
    await restarted.ensure(pod, FACTS, signal);
    await restarted.ensure(pod, FACTS, signal);
    expect(readFileSync(join(memory, "state"), "utf8")).toBe("kept");
    expect(readlinkSync(join(config, "..data"))).toBe(generation);
    expect(mountsBelow(root).length).toBe(count);
  });

  it("follow their objects: a changed key, a key gone, an optional one that appears, a bigger secret", async () => {
    const optional: Volume = { name: "late", configMap: { name: "later", optional: true } };
    const pod = podWith([...EVERYTHING, optional]);
    const manager = await createManager();
    const mounted = await manager.ensure(pod, FACTS, signal);
    const secret = mounted.get("secret")?.hostPath ?? "";
    configMaps.set("app", { k: "v2" });
    configMaps.set("later", { here: "now" });
    secrets.set("tls", { other: "x".repeat(1_000_000) });
    await manager.ensure(pod, FACTS, signal);
    const config = mounted.get("config")?.hostPath ?? "";
    expect(readFileSync(join(config, "deep/er/k"), "utf8")).toBe("v2");
    expect(readFileSync(join(mounted.get("late")?.hostPath ?? "", "here"), "utf8")).toBe("now");
    expect(readdirSync(secret).filter((name) => !name.startsWith(".."))).toEqual(["other"]);
    expect(readdirSync(secret)).toHaveLength(3);
    expect(statSync(join(secret, "other")).size).toBe(1_000_000);
  });

  it("have keys of every name that an object may have, a value of a megabyte, and two hundred places", async () => {
    const names = ["-rf", ".hidden", "a..b", "k".repeat(253)];
    const big = "x".repeat(1024 * 1024);
    configMaps.set("odd", { ...Object.fromEntries(names.map((name) => [name, name])), big });
    const volumes = Array.from({ length: 200 }, (_, index): Volume => {
      const kinds: readonly Partial<Volume>[] = [
        { configMap: { name: index < 4 ? "odd" : "app" } },
        { secret: { secretName: "tls" } },
        { emptyDir: {} },
        { emptyDir: { medium: "Memory" } },
      ];
      return { name: `v${index}`, ...kinds[index % kinds.length] };
    });
    const manager = await createManager();
    const shown = await manager.ensure(podWith(volumes), FACTS, signal);
    expect(shown.size).toBe(200);
    const dir = shown.get("v0")?.hostPath ?? "";
    for (const name of names) expect(readFileSync(join(dir, name), "utf8")).toBe(name);
    expect(readFileSync(join(dir, "big"), "utf8")).toBe(big);
    expect(mountsBelow(root)).toHaveLength(100);
    await manager.teardown("uid-1", signal);
    expect(mountsBelow(root)).toEqual([]);
    expect(existsSync(join(root, "pods/uid-1"))).toBe(false);
  });

  it("are found again where the agent's directory is a link, and where it was moved behind one", async () => {
    const place = root;
    const real = join(place, "real");
    mkdirSync(real);
    symlinkSync("real", join(place, "linked"));
    root = join(place, "linked");
    try {
      const shown = await (await createManager()).ensure(podWith(EVERYTHING), FACTS, signal);
      expect(shown.get("secret")?.hostPath.startsWith(`${real}/pods/uid-1/`)).toBe(true);
      const next = await createManager();
      await next.ensure(podWith(EVERYTHING), FACTS, signal);
      expect(mountsBelow(real)).toHaveLength(3);
      await next.teardown("uid-1", signal);
      expect(mountsBelow(real)).toEqual([]);
      expect(readdirSync(join(real, "pods"))).toEqual([]);
    } finally {
      root = place;
    }
  });

  it("wait for a missing object in the kubelet's words", async () => {
    const pod = podWith([{ name: "x", configMap: { name: "y" } }]);
    await expect((await createManager()).ensure(pod, FACTS, signal)).rejects.toMatchObject({
      code: "VolumeNotReady",
      message: 'MountVolume.SetUp failed for volume "x" : configmap "y" not found',
    });
  });

  it.each<readonly [HostPathType, string]>([
    ["File", "not a file"],
    ["Socket", "not a socket file"],
    ["CharDevice", "not a character device"],
    ["BlockDevice", "not a block device"],
  ])("refuse a hostPath of type %s that is a directory", async (type, words) => {
    const pod = podWith([{ name: "h", hostPath: { path: root, type } }]);
    await expect((await createManager()).ensure(pod, FACTS, signal)).rejects.toMatchObject({
      code: "VolumeNotReady",
      message: `MountVolume.SetUp failed for volume "h" : hostPath type check failed: ${root} is ${words}`,
    });
  });

  it("create a hostPath that asks for it and leave it alone at teardown", async () => {
    const manager = await createManager();
    const dir = join(root, "host/a");
    const pod = podWith([
      { name: "d", hostPath: { path: dir, type: "DirectoryOrCreate" } },
      { name: "f", hostPath: { path: join(root, "file"), type: "FileOrCreate" } },
      { name: "null", hostPath: { path: "/dev/null", type: "CharDevice" } },
    ]);
    await manager.ensure(pod, FACTS, signal);
    writeFileSync(join(dir, "mine"), "");
    await manager.teardown("uid-1", signal);
    expect(existsSync(join(dir, "mine"))).toBe(true);
    expect(statSync(join(root, "file")).mode & 0o777).toBe(0o644);
  });
});

describe("persistent volumes", () => {
  const volumeOf = (
    name: string,
    spec: NonNullable<PersistentVolume["spec"]>,
  ): PersistentVolume => ({
    ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { ...metadata, name }, spec },
  });
  const bind = (name: string, spec: NonNullable<PersistentVolume["spec"]>, of = name): string => {
    const dir = join(root, "host", name);
    mkdirSync(join(dir, "sub"), { recursive: true });
    writeFileSync(join(dir, "sub/data"), "precious", { mode: 0o600 });
    symlinkSync("/etc/hostname", join(dir, "link"));
    const meta = { ...metadata, uid: `claim-${of}` };
    claims.set(of, {
      ...{ apiVersion: "v1", kind: "PersistentVolumeClaim" },
      metadata: { ...meta, name: of },
      spec: { volumeName: name },
      status: { phase: "Bound" },
    });
    const claimRef = { name: of, namespace: "default", uid: meta.uid };
    persistent.set(name, volumeOf(name, { claimRef, ...spec }));
    return dir;
  };
  const affinity = (zone: string) => {
    const terms = [
      { matchExpressions: [{ key: "zone", operator: "In" as const, values: [zone] }] },
    ];
    return { required: { nodeSelectorTerms: terms } };
  };
  const pathIn = (name: string): string => join(root, "host", name);
  const claim = (claimName: string, more: object = {}): Volume => ({
    name: "v",
    persistentVolumeClaim: { claimName, ...more },
  });
  const withGroup = (pod: Pod, more: object = {}): Pod => ({
    ...pod,
    spec: { ...pod.spec, securityContext: { fsGroup: 4321, ...more } },
  });
  const groupOf = (path: string): readonly [number, string] => {
    const { gid, mode } = lstatSync(path);
    return [gid, (mode & 0o7777).toString(8)];
  };

  it("are shown where they are, and stay when the pod goes", async () => {
    const dir = bind("h", { hostPath: { path: pathIn("h"), type: "Directory" } });
    const manager = await createManager();
    const shown = await manager.ensure(withGroup(podWith([claim("h")])), FACTS, signal);
    expect(shown.get("v")).toEqual({ name: "v", hostPath: dir, readOnly: false });
    expect(groupOf(dir)[0]).toBe(0);
    await manager.teardown("uid-1", signal);
    expect(readFileSync(join(dir, "sub/data"), "utf8")).toBe("precious");
  });

  it("are shown on a node that they are for, also when their claim is being taken away meanwhile", async () => {
    const dir = bind("n", { local: { path: pathIn("n") }, nodeAffinity: affinity("here") });
    const manager = await createManager();
    const show = async () => (await manager.ensure(podWith([claim("n")]), FACTS, signal)).get("v");
    expect((await show())?.hostPath).toBe(dir);
    claims.clear();
    expect((await show())?.hostPath).toBe(dir);
  });

  it("for one pod only are another's when that has gone", async () => {
    bind("one", { hostPath: { path: pathIn("one") }, accessModes: ["ReadWriteOncePod"] });
    const manager = await createManager();
    const show = (uid: string) => manager.ensure(podWith([claim("one")], uid), FACTS, signal);
    await show("uid-1");
    await show("uid-1");
    await expect(show("uid-2")).rejects.toMatchObject({
      code: "VolumeNotReady",
      message: expect.stringContaining(
        "volume uses the ReadWriteOncePod access mode and is already in use by another pod",
      ),
    });
    await manager.teardown("uid-1", signal);
    await show("uid-2");
  });

  it("are read-only where the pod or the volume says so", async () => {
    bind("a", { hostPath: { path: pathIn("a") } });
    bind("b", { hostPath: { path: pathIn("b") }, accessModes: ["ReadOnlyMany"] });
    const manager = await createManager();
    const readOnly = async (volume: Volume, uid: string) =>
      (await manager.ensure(podWith([volume], uid), FACTS, signal)).get("v")?.readOnly;
    expect(await readOnly(claim("a"), "u1")).toBe(false);
    expect(await readOnly(claim("a", { readOnly: true }), "u2")).toBe(true);
    expect(await readOnly(claim("b"), "u3")).toBe(true);
  });

  it("of kind local are given to the pod's group, once, without following links", async () => {
    const dir = bind("l", { local: { path: pathIn("l") } });
    const outside = groupOf("/etc/hostname");
    const pod = withGroup(podWith([claim("l")]));
    const manager = await createManager();
    await manager.ensure(pod, FACTS, signal);
    expect(groupOf(dir)).toEqual([4321, "2775"]);
    expect(groupOf(join(dir, "sub"))).toEqual([4321, "2775"]);
    expect(groupOf(join(dir, "sub/data"))).toEqual([4321, "660"]);
    expect(groupOf(join(dir, "link"))[0]).toBe(4321);
    expect(groupOf("/etc/hostname")).toEqual(outside);
    writeFileSync(join(dir, "later"), "", { mode: 0o600 });
    await manager.ensure(pod, FACTS, signal);
    expect(groupOf(join(dir, "later"))).toEqual([4321, "600"]);
    // The next pod gives all of it again, unless it looks at the root only.
    const lazy = withGroup(podWith([claim("l")], "uid-2"), {
      fsGroupChangePolicy: "OnRootMismatch",
    });
    await manager.ensure(lazy, FACTS, signal);
    expect(groupOf(join(dir, "later"))).toEqual([4321, "600"]);
    await manager.ensure(withGroup(podWith([claim("l")], "uid-3")), FACTS, signal);
    expect(groupOf(join(dir, "later"))).toEqual([4321, "660"]);
  });

  it("of a claim that the pod itself asks for belong to that pod only", async () => {
    const dir = bind("e", { hostPath: { path: pathIn("e") } }, "web-v");
    const pod = podWith([{ name: "v", ephemeral: { volumeClaimTemplate: { spec: {} } } }]);
    const manager = await createManager();
    await expect(manager.ensure(pod, FACTS, signal)).rejects.toThrow(
      "PVC default/web-v was not created for pod web (pod is not owner)",
    );
    const owner = { apiVersion: "v1", kind: "Pod", name: "web", uid: "uid-1", controller: true };
    const made = claims.get("web-v") as PersistentVolumeClaim;
    claims.set("web-v", { ...made, metadata: { ...made.metadata, ownerReferences: [owner] } });
    expect((await manager.ensure(pod, FACTS, signal)).get("v")?.hostPath).toBe(dir);
  });

  it.each<readonly [string, () => void, string]>([
    ["is missing", () => claims.clear(), 'persistentvolumeclaim "default/c" not found'],
    [
      "is not bound",
      () => bindStatus("Pending"),
      "error processing PVC default/c: PVC is not bound",
    ],
    ["has no volume", () => persistent.clear(), 'persistentvolume "c" not found'],
    [
      "lost its volume to another",
      () => persistent.set("c", volumeOf("c", { claimRef: { uid: "other" } })),
      'persistentvolume "c" is bound to another claim',
    ],
    [
      "is of a driver nobody has",
      () => bind("c2", { csi: { driver: "x.io", volumeHandle: "h" } }, "c"),
      "driver name x.io not found in the list of registered CSI drivers",
    ],
    [
      "is of a kind that is not mounted here",
      () => bind("c2", { iscsi: { targetPortal: "t", iqn: "q", lun: 0 } }, "c"),
      "is of no kind that this node can mount",
    ],
    [
      "is of a block device",
      () => bindMode("Block"),
      "volume v has volumeMode Block, but is specified in volumeMounts",
    ],
    [
      "is of a volume of another node",
      () => bind("c2", { local: { path: pathIn("c2") }, nodeAffinity: affinity("there") }, "c"),
      'persistentvolume "c2" is not for this node: no matching NodeSelectorTerms',
    ],
    [
      "has no directory",
      () => bind("c2", { local: { path: pathIn("nowhere") } }, "c"),
      "is not a directory",
    ],
  ])("wait when the claim %s", async (_sentence, spoil, words) => {
    bind("c", { hostPath: { path: pathIn("c") } });
    spoil();
    await expect(
      (await createManager()).ensure(podWith([claim("c")]), FACTS, signal),
    ).rejects.toMatchObject({ code: "VolumeNotReady", message: expect.stringContaining(words) });
  });

  function bindMode(volumeMode: "Block" | "Filesystem"): void {
    const made = claims.get("c") as PersistentVolumeClaim;
    claims.set("c", { ...made, spec: { ...made.spec, volumeMode } });
  }

  it("of volumeMode Block are devices of local volumes only, and no device is what is none", async () => {
    const manager = await createManager();
    const pod = podWith([claim("c")]);
    const volumeDevices = [{ name: "v", devicePath: "/dev/x" }];
    const asDevice = { ...pod, spec: { ...pod.spec, containers: [{ name: "c", volumeDevices }] } };
    const show = () => manager.ensure(asDevice, FACTS, signal);
    bind("c", { local: { path: pathIn("c") }, volumeMode: "Block" });
    await expect(show()).rejects.toThrow(
      "volume v has volumeMode Filesystem, but is specified in volumeDevices",
    );
    bindMode("Block");
    await expect(show()).rejects.toThrow("is not a block device");
    bind("h", { hostPath: { path: pathIn("h") }, volumeMode: "Block" }, "c");
    bindMode("Block");
    await manager.teardown("uid-1", signal);
    await expect(show()).rejects.toThrow(
      'persistentvolume "h" is of no kind that is a block device',
    );
  });

  function bindStatus(phase: "Pending"): void {
    claims.set("c", { ...(claims.get("c") as PersistentVolumeClaim), status: { phase } });
  }

  it("inline CSI waits in the kubelet's words and leaves nothing", async () => {
    const manager = await createManager();
    const pod = podWith([{ name: "v", csi: { driver: "x.io" } }]);
    await expect(manager.ensure(pod, FACTS, signal)).rejects.toMatchObject({
      code: "VolumeNotReady",
      message:
        'MountVolume.SetUp failed for volume "v" : kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name x.io not found in the list of registered CSI drivers',
    });
    await manager.teardown("uid-1", signal);
  });
});

describe("teardown", () => {
  it("does not follow links that a container planted, at any depth", async () => {
    const manager = await createManager();
    const outside = join(root, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "precious"), "");
    const mounted = await manager.ensure(podWith(EVERYTHING), FACTS, signal);
    const disk = mounted.get("disk")?.hostPath ?? "";
    symlinkSync(outside, join(disk, "link"));
    symlinkSync("/", join(disk, "root"));
    mkdirSync(join(disk, "a"));
    symlinkSync(outside, join(disk, "a/link"));
    mkdirSync(join(disk, ...Array.from({ length: 400 }, () => "deep")), { recursive: true });
    await manager.teardown("uid-1", signal);
    expect(existsSync(join(root, "pods/uid-1"))).toBe(false);
    expect(existsSync(join(outside, "precious"))).toBe(true);
    expect(mountsBelow(root)).toEqual([]);
    await manager.teardown("uid-1", signal);
    expect(await manager.listPodUids()).toEqual([]);
  });

  it("detaches what is mounted inside, stacked too, and leaves the content of a bind mount", async () => {
    const manager = await createManager();
    const outside = join(root, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "precious"), "");
    const mounted = await manager.ensure(podWith(EVERYTHING), FACTS, signal);
    const target = join(mounted.get("disk")?.hostPath ?? "", "with space");
    mkdirSync(target);
    const tmpfs = { source: "tmpfs", target, fstype: "tmpfs", options: [] };
    await syscalls.mount(tmpfs);
    await syscalls.mount({ source: outside, target, fstype: "", options: ["bind"] });
    await manager.teardown("uid-1", signal);
    expect(existsSync(join(outside, "precious"))).toBe(true);
    expect(existsSync(join(root, "pods/uid-1"))).toBe(false);
  });

  it("refuses to remove across a mount that does not go away", async () => {
    const stubborn: Syscalls = { ...syscalls, unmount: async () => undefined };
    const outside = join(root, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "precious"), "");
    const manager = await createManager(stubborn);
    const mounted = await manager.ensure(podWith([{ name: "disk", emptyDir: {} }]), FACTS, signal);
    const target = join(mounted.get("disk")?.hostPath ?? "", "m");
    mkdirSync(target);
    await syscalls.mount({ source: outside, target, fstype: "", options: ["bind"] });
    await expect(manager.teardown("uid-1", signal)).rejects.toMatchObject({
      code: "VolumeNotReady",
    });
    expect(existsSync(join(outside, "precious"))).toBe(true);
  });

  it.each(["../x", "..", ".", "", "a/b", "/etc"])("refuses the UID %j", async (uid) => {
    const manager = await createManager();
    await expect(manager.teardown(uid, signal)).rejects.toMatchObject({ code: "VolumeInvalid" });
  });
});

/** Aborts after so many looks at the signal: the same as dying between two steps. */
function signalThatFiresAfter(looks: number): AbortSignal {
  let left = looks;
  const { signal: fired } = new AbortController();
  return Object.defineProperty(fired, "aborted", { get: () => left-- <= 0 });
}

it("is repaired by the next call wherever ensure and teardown were interrupted", async () => {
  const pod = podWith(EVERYTHING);
  for (let steps = 0; steps < STEPS_OF_EVERYTHING + 12; steps++) {
    const interrupted = await createManager();
    const begun = interrupted.ensure(pod, FACTS, signalThatFiresAfter(steps));
    if (steps < STEPS_OF_EVERYTHING) await expect(begun).rejects.toMatchObject({ code: "Aborted" });
    else expect((await begun).size).toBe(EVERYTHING.length);
    if (steps % 2 === 0) {
      const mounted = await (await createManager()).ensure(pod, FACTS, signal);
      expect(mounted.size).toBe(EVERYTHING.length);
      expect(lstatSync(join(mounted.get("all")?.hostPath ?? "", "token")).isSymbolicLink()).toBe(
        true,
      );
    }
    await interrupted.teardown("uid-1", signalThatFiresAfter(steps)).catch(() => undefined);
    await (await createManager()).teardown("uid-1", signal);
    expect(existsSync(join(root, "pods/uid-1"))).toBe(false);
    expect(mountsBelow(root)).toEqual([]);
  }
});
