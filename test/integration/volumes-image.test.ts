/**
 * Image volumes on the real Engine: layers mounted where its storage driver tells them, an export unpacked where it
 * does not, held as long as the pod shows them.
 */

import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import { createSyscalls } from "../../src/core/syscalls-linux.ts";
import { Engine } from "../../src/runtime/docker/engine.ts";
import { holdImage } from "../../src/runtime/docker/image-files.ts";
import type { ImagePort } from "../../src/volumes/image-volume.ts";
import { VolumeManager } from "../../src/volumes/volume-manager.ts";
import { createReal, never } from "../support/runtime.ts";

const TAG = "h-volumes-image-test:latest";
const POD = "h-volumes-image-uid";
const signal = never();
const exec = createExec(systemClock);
const runtime = createReal();
const docker = (...args: readonly string[]): string =>
  execFileSync("docker", [...args], { encoding: "utf8" }).trim();
const refuse = async (): Promise<never> => {
  throw new Error("nobody asks for objects here");
};

/** An Engine whose storage driver tells nothing, as vfs does. */
class SilentEngine extends Engine {
  override async call<T>(what: string, ...rest: never): Promise<T> {
    const [within, work, deadlineMs] = rest as unknown as Parameters<Engine["call"]> extends [
      string,
      ...infer Rest,
    ]
      ? Rest
      : never;
    const answer = await super.call(what, within, work, deadlineMs);
    if (what.startsWith("look at image"))
      (answer as { GraphDriver: object }).GraphDriver = { Name: "vfs", Data: null };
    return answer as T;
  }
}

const PORTS: Readonly<Record<string, ImagePort>> = {
  layers: runtime,
  archive: {
    holdImage: (hold, inner) => {
      const engine = new SilentEngine("unix:///var/run/docker.sock", systemClock);
      return holdImage({ engine, exec }, hold, inner);
    },
    releaseImages: (podUid, inner) => runtime.releaseImages(podUid, inner),
  },
};

let root: string;
let imageId: string;

function mounts(): readonly string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(root));
}

async function createManager(images: ImagePort): Promise<VolumeManager> {
  const manager = new VolumeManager({
    rootDir: root,
    objects: {
      ...{ getConfigMap: refuse, getSecret: refuse, requestToken: refuse },
      ...{ getClaim: refuse, getPersistentVolume: refuse, listClusterTrustBundles: refuse },
    },
    syscalls: createSyscalls({ exec }),
    exec,
    clock: systemClock,
    log: createLogger({ level: "silent", pretty: false, write: () => undefined }),
    images,
    certificates: { get: refuse, forget: () => undefined },
  });
  await manager.start();
  return manager;
}

const holders = (): string => docker("ps", "-aq", "--filter", `label=io.kubernetes.pod.uid=${POD}`);

beforeAll(() => {
  // Two layers above busybox, the second of which takes away from both below.
  for (const script of [
    "mkdir /data; echo gone >/data/gone; echo kitten.jpg >/data/data.json; ln -s data.json /data/link",
    "rm /data/gone /bin/vi; chown 7:8 /data/data.json; chmod 640 /data/data.json",
  ]) {
    const base = script.startsWith("mkdir") ? "busybox:latest" : TAG;
    const id = docker("create", "--network", "none", base, "sh", "-c", script);
    docker("start", "-a", id);
    docker("commit", "--change", "CMD []", id, TAG);
    docker("rm", id);
  }
  imageId = docker("inspect", "-f", "{{.Id}}", TAG);
});

afterAll(() => {
  docker("rmi", "-f", TAG);
});

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "image-volume-test-"));
});

afterEach(async () => {
  for (const line of mounts().toReversed())
    execFileSync("umount", ["-l", line.split(" ")[4] ?? ""]);
  rmSync(root, { recursive: true, force: true });
  await runtime.releaseImages(POD, signal);
});

describe.each(Object.keys(PORTS))("an image volume from %s", (name) => {
  const images = PORTS[name] as ImagePort;

  it("shows the files of the image, read-only, and goes with the pod", async () => {
    const manager = await createManager(images);
    const request = { podUid: POD, volume: "kitten", imageId };
    const { hostPath, readOnly } = await manager.showImage(request, signal);
    expect(readOnly).toBe(true);
    expect(readdirSync(join(hostPath, "data")).sort()).toEqual(["data.json", "link"]);
    expect(readFileSync(join(hostPath, "data/link"), "utf8")).toBe("kitten.jpg\n");
    const { uid, gid, mode } = lstatSync(join(hostPath, "data/data.json"));
    expect([uid, gid, mode & 0o7777]).toEqual([7, 8, 0o640]);
    expect(existsSync(join(hostPath, "bin/sh"))).toBe(true);
    expect(existsSync(join(hostPath, "bin/vi"))).toBe(false);
    expect(() => writeFileSync(join(hostPath, "x"), "")).toThrow("EROFS");

    // Another agent finds it as it is; the image cannot go meanwhile.
    expect((await (await createManager(images)).showImage(request, signal)).hostPath).toBe(
      hostPath,
    );
    expect(mounts()).toHaveLength(1);
    expect(holders().split("\n")).toHaveLength(1);
    expect(() => docker("rmi", imageId)).toThrow();
    expect((await runtime.list(signal, POD)).containers).toEqual([]);

    await manager.teardown(POD, signal);
    expect(mounts()).toEqual([]);
    expect(holders()).toBe("");
    expect(existsSync(join(root, "pods", POD))).toBe(false);
  });

  it("can be shown in part", async () => {
    const manager = await createManager(images);
    const volume = await manager.showImage({ podUid: POD, volume: "kitten", imageId }, signal);
    const part = { podUid: POD, volume, container: "main", index: 0 };
    const path = await manager.bindSubPath({ ...part, subPath: "data" }, signal);
    expect(readdirSync(path).sort()).toEqual(["data.json", "link"]);
    expect(() => writeFileSync(join(path, "x"), "")).toThrow("EROFS");
    await expect(manager.bindSubPath({ ...part, subPath: "none" }, signal)).rejects.toMatchObject({
      code: "ContainerConfigInvalid",
    });
    await manager.teardown(POD, signal);
    expect(mounts()).toEqual([]);
  });
});

it("an image that is not there is told, and nothing stays", async () => {
  const manager = await createManager(runtime);
  const request = { podUid: POD, volume: "kitten", imageId: `sha256:${"0".repeat(64)}` };
  await expect(manager.showImage(request, signal)).rejects.toMatchObject({
    code: "ContainerConfigInvalid",
    message: expect.stringContaining('failed to mount image volume "kitten": '),
  });
  await manager.teardown(POD, signal);
  expect(holders()).toBe("");
});
