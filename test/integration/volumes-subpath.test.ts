/**
 * Parts of volumes on the real kernel: files and directories, links that lead out, and a container that exchanges
 * directories for links while its neighbour is restarted. Works below a temporary directory only.
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { hasCode } from "../../src/core/errors.ts";
import { createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import { createSyscalls } from "../../src/core/syscalls-linux.ts";
import type { ClaimSource } from "../../src/volumes/claims.ts";
import { VolumeManager } from "../../src/volumes/volume-manager.ts";
import type { ObjectSource } from "../../src/volumes/volumes.ts";

const RESTARTS = 1000;
const UID = "uid-1";
const signal = new AbortController().signal;
const quiet = createLogger({ level: "silent", pretty: false, write: () => undefined });
const never = async (): Promise<never> => {
  throw new Error("nobody asks for objects here");
};
const objects: ObjectSource & ClaimSource = {
  ...{ getConfigMap: never, getSecret: never, requestToken: never, listClusterTrustBundles: never },
  ...{ getClaim: never, getPersistentVolume: never },
};

let root: string;
let volume: string;
let manager: VolumeManager;

async function createManager(useFfi = true): Promise<VolumeManager> {
  const exec = createExec(systemClock);
  const syscalls = createSyscalls({ exec, useFfi });
  const made = new VolumeManager({
    ...{ rootDir: root, objects, syscalls, exec },
    ...{ clock: systemClock, log: quiet, images: { holdImage: never, releaseImages: never } },
    certificates: { get: never, forget: () => undefined },
  });
  await made.start();
  return made;
}

function bind(subPath: string, index = 0, by = manager): Promise<string> {
  const about = { name: "data", hostPath: volume, readOnly: false };
  return by.bindSubPath({ podUid: UID, volume: about, subPath, container: "main", index }, signal);
}

function mountsBelow(path: string): readonly string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((mountPoint) => mountPoint.startsWith(path));
}

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "subpath-test-"));
  volume = join(root, "pods", UID, "volumes/kubernetes.io~empty-dir/data");
  mkdirSync(volume, { recursive: true });
  mkdirSync(join(root, "outside"));
  writeFileSync(join(root, "outside/secret"), "of the host");
  manager = await createManager();
});

afterEach(() => {
  for (const mountPoint of mountsBelow(root).toReversed())
    execFileSync("umount", ["-l", mountPoint]);
  rmSync(root, { recursive: true, force: true });
});

describe("a part of a volume", () => {
  it("is mounted at a place of its own, a directory or a file", async () => {
    mkdirSync(join(volume, "a/b"), { recursive: true });
    writeFileSync(join(volume, "a/b/file"), "text");
    const directory = await bind("a/b");
    expect(directory).toBe(join(root, "pods", UID, "volume-subpaths/data/main/0"));
    expect(readdirSync(directory)).toEqual(["file"]);
    expect(readFileSync(await bind("a//./b/file", 1), "utf8")).toBe("text");
    // The next start may find a file where a directory was.
    expect(readFileSync(await bind("a/b/file"), "utf8")).toBe("text");
    expect(mountsBelow(root)).toHaveLength(2);
  });

  it("is made with the volume's mode when it is missing", async () => {
    const before = process.umask(0o077);
    try {
      chownSync(volume, 0, 1234);
      chmodSync(volume, 0o2770);
      await bind("new/deep");
    } finally {
      process.umask(before);
    }
    for (const path of ["new", "new/deep"]) {
      expect(statSync(join(volume, path)).mode & 0o7777).toBe(0o2770);
      expect(statSync(join(volume, path)).gid).toBe(1234);
    }
  });

  it("follows links that stay inside, such as those of the atomic writer", async () => {
    mkdirSync(join(volume, "..2026"));
    writeFileSync(join(volume, "..2026/key"), "v1");
    symlinkSync("..2026", join(volume, "..data"));
    symlinkSync("..data/key", join(volume, "key"));
    mkdirSync(join(volume, "real/inner"), { recursive: true });
    symlinkSync("../real", join(volume, "real/up"));
    symlinkSync(join(volume, "key"), join(volume, "absolute"));
    expect(readFileSync(await bind("key", 0), "utf8")).toBe("v1");
    expect(readFileSync(await bind("absolute", 1), "utf8")).toBe("v1");
    expect(readdirSync(await bind("real/up/up", 2)).sort()).toEqual(["inner", "up"]);
  });

  it.each([
    ["a link to the host", "/etc"],
    ["a link upwards", "../../../../../../outside"],
    ["a link to the directory beside", "../data2"],
    ["a link to the host's own root by proc", "/proc/1/root"],
    ["a link to itself", "link"],
  ])("is refused: %s", async (_sentence, target) => {
    symlinkSync(target, join(volume, "link"));
    const refused = expect.objectContaining({
      code: "ContainerConfigInvalid",
      message:
        'failed to prepare subPath for volumeMount "data" of container "main": a link leads out of the volume',
    });
    await expect(bind("link")).rejects.toEqual(refused);
    await expect(bind("link/new")).rejects.toEqual(refused);
    expect(mountsBelow(root)).toEqual([]);
  });

  it("is refused below a file", async () => {
    writeFileSync(join(volume, "file"), "");
    await expect(bind("file/x")).rejects.toMatchObject({ code: "ContainerConfigInvalid" });
  });

  it("is adopted by another agent and goes with the pod, leaving the volume of the host alone", async () => {
    const host = join(root, "outside");
    const about = { name: "host", hostPath: host, readOnly: false };
    const request = { podUid: UID, volume: about, subPath: "in", container: "c", index: 0 };
    writeFileSync(join(await manager.bindSubPath(request, signal), "kept"), "by the host");
    await bind("x");
    const next = await createManager(false);
    await bind("x", 0, next);
    expect(mountsBelow(root)).toHaveLength(2);
    await next.teardown(UID, signal);
    expect(mountsBelow(root)).toEqual([]);
    expect(existsSync(join(root, "pods", UID))).toBe(false);
    expect(readFileSync(join(host, "in/kept"), "utf8")).toBe("by the host");
  });
});

describe("a container that exchanges its directory for a link to / while its neighbour restarts", () => {
  let racer: ChildProcess;

  beforeEach(() => {
    mkdirSync(join(volume, "mine/deep"), { recursive: true });
    writeFileSync(join(volume, "mine/deep/marker"), "");
    // Without pause; what it finds made in between by us it takes away.
    racer = spawn(
      process.execPath,
      [
        "-e",
        `const { renameSync, rmSync, symlinkSync } = require("node:fs");
         const attempt = (step, ...args) => { try { step(...args); } catch {} };
         process.chdir(${JSON.stringify(volume)});
         for (;;) {
           attempt(renameSync, "mine", "away");
           attempt(rmSync, "mine", { recursive: true });
           attempt(symlinkSync, "/", "mine");
           attempt(rmSync, "mine", { recursive: true });
           attempt(renameSync, "away", "mine");
         }`,
      ],
      { stdio: "ignore" },
    );
  });

  afterEach(async () => {
    const ended = new Promise((resolve) => racer.once("exit", resolve));
    racer.kill("SIGKILL");
    await ended;
  });

  it("never gets a mount outside of the volume", async () => {
    const inside = statSync(volume).dev;
    const outcomes = { inside: 0, refused: 0 };
    for (let restart = 0; restart < RESTARTS; restart++) {
      try {
        const target = await bind("mine/deep");
        expect(readdirSync(target).filter((name) => name !== "marker")).toEqual([]);
        expect(statSync(target).dev).toBe(inside);
        outcomes.inside++;
      } catch (error) {
        if (!hasCode(error, "ContainerConfigInvalid")) throw error;
        outcomes.refused++;
      }
      expect(mountsBelow(root).length).toBeLessThanOrEqual(1);
    }
    expect(readdirSync("/")).not.toContain("deep");
    // Else nothing raced.
    expect(outcomes.inside).toBeGreaterThan(0);
    expect(outcomes.refused).toBeGreaterThan(0);
  });
});
