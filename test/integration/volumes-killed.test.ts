/**
 * kill -9 while volumes are made and taken away, at fifty instants spread over a whole round: what comes after mounts
 * all of it again or takes all of it away, the host's data is as it was, and no secret was ever on disk.
 */

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { createSyscalls } from "../../src/core/syscalls-linux.ts";
import { Churn, hostDirectory, MARKER, UID } from "../support/volume-churn.ts";

const KILLS = 50;
/** A round takes about as long as all the instants are apart. */
const STEP_MS = 1.3;

const syscalls = createSyscalls({ exec: createExec(systemClock) });

let root: string;

function mountPoints(): readonly string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path.startsWith(root));
}

/** Files on the disk itself that hold the text: a plain bind mount shows what lies below other mounts. */
async function onDisk(text: string): Promise<readonly string[]> {
  const raw = mkdtempSync(join(tmpdir(), "volumes-raw-"));
  await syscalls.mount({ source: root, target: raw, fstype: "", options: ["bind"] });
  const found = spawnSync("grep", ["-r", "-l", "-e", text, raw]).stdout.toString();
  await syscalls.unmount(raw);
  rmdirSync(raw);
  return found.split("\n").flatMap((path) => path.replace(`${raw}/`, "") || []);
}

async function churnUntilKilled(afterMs: number): Promise<void> {
  const program = new URL("../support/volume-churn.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [program, root], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = once(child, "exit");
  await Promise.race([once(child.stdout, "data"), ended]);
  expect(child.exitCode).toBeNull();
  await delay(afterMs);
  child.kill("SIGKILL");
  await ended;
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "volumes-killed-"));
  mkdirSync(join(hostDirectory(root), "sub"), { recursive: true });
  writeFileSync(join(hostDirectory(root), "data"), "precious");
  writeFileSync(join(hostDirectory(root), "sub/data"), "precious too");
});

afterEach(() => {
  for (const path of mountPoints().toReversed()) execFileSync("umount", ["-l", path]);
  rmSync(root, { recursive: true, force: true });
});

it("leaves nothing that the next agent does not mend", async () => {
  const left = new Set<number>();
  for (let kill = 0; kill < KILLS; kill++) {
    await churnUntilKilled(kill * STEP_MS);
    left.add(mountPoints().length);
    expect(await onDisk(MARKER)).toEqual([]);
    const next = await Churn.open(root);
    if (kill % 2 === 0) {
      const shown = await next.mount();
      const read = (name: string, file = ""): string =>
        readFileSync(join(shown.get(name) ?? "", file), "utf8");
      expect(read("secret")).toBe(MARKER);
      expect(read("token")).toBe(MARKER);
      expect(read("config")).toBe("value");
      expect(read("host", "data")).toBe("precious too");
      expect(await onDisk(MARKER)).toEqual([]);
      expect(await onDisk("value")).not.toEqual([]);
    }
    await next.unmount();
    expect(mountPoints()).toEqual([]);
    expect(existsSync(join(root, "pods", UID))).toBe(false);
    expect((await onDisk("precious")).toSorted()).toEqual(["host/data", "host/sub/data"]);
    expect(readdirSync(hostDirectory(root)).sort()).toEqual(["data", "sub"]);
  }
  // Else every kill hit the same instant.
  expect(left.size).toBeGreaterThan(2);
}, 300_000);
