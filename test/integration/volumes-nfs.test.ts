/**
 * nfs volumes with a mount.nfs of the test's own, since the kernel may have none: it binds a directory, or refuses, or
 * is as silent as a server that is gone. What unmounts is umount(8).
 */

import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PersistentVolume, PersistentVolumeClaim, Pod, Volume } from "../../src/api/types.ts";
import { createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import { createSyscalls } from "../../src/core/syscalls-linux.ts";
import { VolumeManager } from "../../src/volumes/volume-manager.ts";
import type { PodFacts } from "../../src/volumes/volumes.ts";
import { FakeClock } from "../fakes/clock.ts";
import { eventually } from "../support/node-container.ts";

/** `good` has what lies in the exports' directory; `silent` never answers. */
const HELPER = `#!/bin/sh
echo "$@" >>"$LOG"
case $1 in
good:*) mount --bind "$EXPORTS/\${1#good:}" "$2"; case $4 in *ro*) mount -o remount,bind,ro "$2";; esac;;
silent:*) exec sleep 1000;;
*) echo "mount.nfs: access denied by server while mounting $1" >&2; exit 32;;
esac
`;
/** Hangs, as one does whose server is gone, unless it is to be lazy. */
const SILENT_UMOUNT =
  '#!/bin/sh\ncase "$*" in *" -l "*) exec /bin/umount "$@";; esac\nexec sleep 1000\n';
const signal = new AbortController().signal;
const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const facts: PodFacts = {
  ...{ podIps: [], hostIps: [], nodeName: "n", nodeLabels: {}, allocatable: {} },
};
const PATH = process.env.PATH;

let root: string;
let data: string;
let clock: FakeClock;
let manager: VolumeManager;
const claims = new Map<string, PersistentVolumeClaim>();
const persistent = new Map<string, PersistentVolume>();

const never = async (): Promise<never> => {
  throw new Error("nobody asks for it here");
};

async function createManager(): Promise<VolumeManager> {
  const exec = createExec(clock);
  const made = new VolumeManager({
    rootDir: root,
    objects: {
      ...{
        getConfigMap: never,
        getSecret: never,
        requestToken: never,
        listClusterTrustBundles: never,
      },
      getClaim: async (_namespace, name) => claims.get(name),
      getPersistentVolume: async (name) => persistent.get(name),
    },
    ...{ exec, syscalls: createSyscalls({ exec }), clock, log, statsPeriodMs: 60_000 },
    images: { holdImage: never, releaseImages: never },
    certificates: { get: never, forget: () => undefined },
  });
  await made.start();
  return made;
}

function program(name: string, text: string): void {
  writeFileSync(join(root, "bin", name), text, { mode: 0o755 });
}

function podWith(volume: Partial<Volume>): Pod {
  const metadata = { name: "web", namespace: "d", uid: "uid-1", resourceVersion: "1" };
  const volumeMounts = [{ name: "v", mountPath: "/v" }];
  return {
    ...{ apiVersion: "v1", kind: "Pod", metadata },
    spec: {
      volumes: [{ name: "v", ...volume }],
      containers: [{ name: "c", volumeMounts }],
      securityContext: { fsGroup: 4321 },
    },
  };
}

const nfs = (server: string, more: object = {}) =>
  podWith({ nfs: { server, path: "/data", ...more } });
const ensure = async (pod: Pod, by = manager) => (await by.ensure(pod, facts, signal)).get("v");
const place = (): string => join(root, "pods/uid-1/volumes/kubernetes.io~nfs/v");
const calls = (): readonly string[] =>
  existsSync(join(root, "log")) ? readFileSync(join(root, "log"), "utf8").trim().split("\n") : [];

function mounts(): readonly string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(root));
}

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "volumes-nfs-"));
  data = join(root, "exports/data");
  mkdirSync(join(data, "sub"), { recursive: true });
  mkdirSync(join(root, "bin"));
  writeFileSync(join(data, "sub/file"), "precious", { mode: 0o600 });
  program("mount.nfs", HELPER);
  Object.assign(process.env, {
    ...{ PATH: `${root}/bin:${PATH}`, LOG: join(root, "log"), EXPORTS: join(root, "exports") },
  });
  clock = new FakeClock();
  manager = await createManager();
});

afterEach(async () => {
  await manager.stop();
  process.env.PATH = PATH;
  for (const line of mounts().toReversed())
    execFileSync("umount", ["-l", line.split(" ")[4] ?? ""]);
  rmSync(root, { recursive: true, force: true });
});

describe("an nfs volume", () => {
  it("is mounted once below the pod's directory, adopted by the next agent, and unmounted with its files left alone", async () => {
    expect(await ensure(nfs("good"))).toEqual({ name: "v", hostPath: place(), readOnly: false });
    expect(readFileSync(join(place(), "sub/file"), "utf8")).toBe("precious");
    const next = await createManager();
    await ensure(nfs("good"), next);
    expect(calls()).toEqual([`good:/data ${place()}`]);
    // Whose the files are is the server's to say.
    expect(
      execFileSync("stat", ["-c", "%g %a", join(data, "sub/file")], { encoding: "utf8" }),
    ).toBe("0 600\n");
    const request = { podUid: "uid-1", subPath: "sub", container: "c", index: 0 };
    const volume = { name: "v", hostPath: place(), readOnly: false };
    const part = await next.bindSubPath({ ...request, volume }, signal);
    expect(readdirSync(part)).toEqual(["file"]);
    await next.teardown("uid-1", signal);
    expect(mounts()).toEqual([]);
    expect(existsSync(join(root, "pods/uid-1"))).toBe(false);
    expect(readFileSync(join(data, "sub/file"), "utf8")).toBe("precious");
  });

  it("that is read-only cannot be written", async () => {
    expect((await ensure(nfs("good", { readOnly: true })))?.readOnly).toBe(true);
    expect(calls()).toEqual([`good:/data ${place()} -o ro`]);
    expect(() => writeFileSync(join(place(), "x"), "")).toThrow("EROFS");
  });

  it("of a claim has the mount options of its volume, and is measured", async () => {
    const metadata = { name: "c", namespace: "d", uid: "claim", resourceVersion: "1" };
    claims.set("c", {
      ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata },
      ...{ spec: { volumeName: "p" }, status: { phase: "Bound" } },
    });
    persistent.set("p", {
      ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { ...metadata, name: "p" } },
      spec: {
        ...{ claimRef: { uid: "claim" }, mountOptions: ["vers=4.1", "hard"] },
        ...{ nfs: { server: "good", path: "/data" }, accessModes: ["ReadWriteMany"] },
      },
    });
    const pod = podWith({ persistentVolumeClaim: { claimName: "c" } });
    chmodSync(join(root, "bin/mount.nfs"), 0o600);
    await expect(ensure(pod)).rejects.toThrow('MountVolume.SetUp failed for volume "p" : ');
    chmodSync(join(root, "bin/mount.nfs"), 0o755);
    await ensure(pod);
    expect(calls()).toEqual([`good:/data ${place()} -o hard,vers=4.1`]);
    expect(await manager.usage("uid-1")).toEqual([]);
    await eventually("measured", async () => (await manager.usage("uid-1")).length > 0);
    const [usage] = await manager.usage("uid-1");
    expect(usage).toMatchObject({ name: "v", claim: "c" });
    expect(usage?.capacityBytes).toBeGreaterThan(usage?.usedBytes ?? 0);
  });

  it("tells why it cannot be mounted, in mount.nfs's own words", async () => {
    await expect(ensure(nfs("other"))).rejects.toMatchObject({
      code: "VolumeNotReady",
      message: [
        'MountVolume.SetUp failed for volume "v" : mount failed: exit status 32',
        "Output: mount.nfs: access denied by server while mounting other:/data",
        "Mounting command: mount.nfs",
        `Mounting arguments: other:/data ${place()}`,
      ].join("\n"),
    });
    await manager.teardown("uid-1", signal);
    expect(existsSync(join(root, "pods/uid-1"))).toBe(false);
  });

  it("waits where the node has no mount.nfs", async () => {
    rmSync(join(root, "bin/mount.nfs"));
    process.env.PATH = join(root, "bin");
    await expect(ensure(nfs("good"))).rejects.toMatchObject({
      code: "VolumeNotReady",
      message: expect.stringContaining("mount.nfs is not installed on this node"),
    });
  });
});

describe("a server that does not answer", () => {
  it("keeps its pod waiting, with one mount under way however often it asks, and goes with it", async () => {
    for (let turn = 0; turn < 3; turn++) {
      const asked = expect(ensure(nfs("silent"))).rejects.toMatchObject({
        code: "VolumeNotReady",
        message: expect.stringContaining("mounting silent:/data: the server has not answered yet"),
      });
      // For its answer, and not for ever.
      await eventually("it is waited for", async () => clock.pendingTimers === 2);
      await clock.advance(3_000);
      await asked;
    }
    expect(calls()).toHaveLength(1);
    await manager.teardown("uid-1", signal);
    expect(existsSync(join(root, "pods/uid-1"))).toBe(false);
    await eventually("mount.nfs has ended", async () => sleepers() === 0);
  });

  it("is given up in the end, and tried again", async () => {
    const first = expect(ensure(nfs("silent"))).rejects.toThrow("has not answered yet");
    await eventually("it is asked", async () => calls().length === 1);
    await clock.advance(200_000);
    await first;
    await expect(ensure(nfs("silent"))).rejects.toThrow("did not end within 150 s");
    const again = expect(ensure(nfs("silent"))).rejects.toThrow("has not answered yet");
    await eventually("it is asked again", async () => calls().length === 2);
    await eventually("it is waited for", async () => clock.pendingTimers === 2);
    await clock.advance(3_000);
    await again;
  });

  it("is unmounted lazily", async () => {
    await ensure(nfs("good"));
    program("umount", SILENT_UMOUNT);
    const gone = manager.teardown("uid-1", signal);
    await eventually("umount hangs", async () => sleepers() === 1);
    await clock.advance(5_000);
    await gone;
    expect(mounts()).toEqual([]);
    expect(readFileSync(join(data, "sub/file"), "utf8")).toBe("precious");
  });

  it("is never asked by a thread of the agent's, which has no more than a few, for a path of the host's either", async () => {
    await ensure(nfs("good"));
    program("stat", "#!/bin/sh\nexec sleep 1000\n");
    const path = join(place(), "sub");
    const shown = expect(ensure(podWith({ hostPath: { path } }))).rejects.toThrow(
      "the file server does not answer",
    );
    await eventually("stat hangs", async () => sleepers() === 1);
    await clock.advance(5_000);
    await shown;
    await eventually("it is given up", async () => sleepers() === 0);
    const request = { podUid: "uid-1", subPath: "sub", container: "c", index: 0 };
    const volume = { name: "v", hostPath: place(), readOnly: false };
    const bound = expect(manager.bindSubPath({ ...request, volume }, signal)).rejects.toThrow(
      "the file server does not answer",
    );
    await eventually("stat hangs", async () => sleepers() === 1);
    expect(await manager.usage("uid-1")).toEqual([]);
    await eventually("and another", async () => sleepers() === 2);
    await clock.advance(5_000);
    await bound;
    await eventually("both are given up", async () => sleepers() === 0);
  });
});

it("what somebody works in goes all the same, and stays his until he is done", async () => {
  await ensure(nfs("good"));
  const user = spawn("sleep", ["999"], { cwd: join(place(), "sub") });
  try {
    await manager.teardown("uid-1", signal);
    expect(mounts()).toEqual([]);
    expect(readdirSync(`/proc/${user.pid}/cwd`)).toEqual(["file"]);
  } finally {
    user.kill();
  }
});

/** Programs of ours that hang. */
function sleepers(): number {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const isHung = readFileSync(`/proc/${pid}/cmdline`, "utf8") === "sleep\x001000\x00";
        return isHung && readFileSync(`/proc/${pid}/environ`, "utf8").includes(root);
      } catch {
        return false;
      }
    }).length;
}
