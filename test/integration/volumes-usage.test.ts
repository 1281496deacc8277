/** What volumes use, on real file systems: totals of their own, trees measured behind, nothing outside of them. */

import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { LongshoreError } from "../../src/core/errors.ts";
import { createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import { createSyscalls } from "../../src/core/syscalls-linux.ts";
import { measureTree } from "../../src/volumes/tree-usage.ts";
import { VolumeUsages } from "../../src/volumes/usage.ts";
import { FakeClock } from "../fakes/clock.ts";
import { eventually } from "../support/node-container.ts";

const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const syscalls = createSyscalls({ exec: createExec(systemClock) });
const signal = new AbortController().signal;
const remote = { totals: () => Promise.reject(new Error("nobody asks a server here")) };

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "volumes-usage-"));
});

afterEach(async () => {
  await syscalls.unmount(join(root, "tree/memory"));
  rmSync(root, { recursive: true, force: true });
});

async function fill(): Promise<string> {
  const tree = join(root, "tree");
  mkdirSync(join(tree, "a/b"), { recursive: true });
  writeFileSync(join(tree, "a/file"), Buffer.alloc(1_000_000, 1));
  linkSync(join(tree, "a/file"), join(tree, "a/b/again"));
  symlinkSync("/", join(tree, "a/root"));
  mkdirSync(join(tree, "memory"));
  const options = { source: "tmpfs", fstype: "tmpfs", options: [], data: "size=8m" };
  await syscalls.mount({ ...options, target: join(tree, "memory") });
  writeFileSync(join(tree, "memory/file"), Buffer.alloc(3_000_000, 1));
  return tree;
}

it("a tree is counted as du counts it: no link followed, no file twice, no other file system", async () => {
  const tree = await fill();
  const du = Number(execFileSync("du", ["-sxB1", tree], { encoding: "utf8" }).split("\t")[0]);
  const usage = await measureTree(tree, systemClock, signal);
  // The mount point itself: du counts the directory below it as little as we do.
  expect(usage).toEqual({ usedBytes: du, inodesUsed: 5 });
});

it("asking tells the totals of a file system at once, and a tree as it was measured last", async () => {
  const tree = await fill();
  const clock = new FakeClock();
  const usages = new VolumeUsages({ clock, log, remote, statsPeriodMs: 60_000 });
  usages.set("u", [
    { name: "disk", path: tree, how: "tree" },
    { name: "memory", path: join(tree, "memory"), how: "file-system" },
  ]);
  const names = async (): Promise<readonly string[]> =>
    (await usages.read("u")).map(({ name }) => name);
  const used = async (): Promise<number> => (await usages.read("u"))[0]?.usedBytes ?? 0;
  const [first] = await usages.read("u");
  expect(first).toMatchObject({ name: "memory", capacityBytes: 8 * 1024 * 1024, inodesUsed: 2 });
  expect(first?.usedBytes).toBeGreaterThanOrEqual(3_000_000);
  expect((first?.usedBytes ?? 0) + (first?.availableBytes ?? 0)).toBe(first?.capacityBytes);
  await eventually("the tree is measured", async () => (await names()).length === 2);

  const before = await used();
  expect(before).toBeGreaterThanOrEqual(1_000_000);
  writeFileSync(join(tree, "more"), Buffer.alloc(2_000_000, 1));
  expect(await used()).toBe(before);
  await clock.advance(60_000);
  await eventually("it is measured again", async () => (await used()) >= before + 2_000_000);

  usages.forget("u");
  expect(await usages.read("u")).toEqual([]);
  await usages.stop();

  const off = new VolumeUsages({ clock, log, remote });
  off.set("u", [{ name: "disk", path: tree, how: "tree" }]);
  expect(await off.read("u")).toEqual([]);
  await off.stop();
});

it("a file server is asked behind, and one that is silent holds up nobody", async () => {
  const clock = new FakeClock();
  const totals = { bsize: 1024, blocks: 100, bfree: 40, bavail: 30, files: 10, ffree: 4 };
  let asked = 0;
  // The first answers once, and then no more; the second never.
  const usages = new VolumeUsages({
    ...{ clock, log, statsPeriodMs: 60_000 },
    remote: {
      totals: async () => {
        if (asked++ === 0) return totals;
        throw new LongshoreError("VolumeNotReady", "no answer");
      },
    },
  });
  usages.set("u", [{ name: "a", path: "/a", how: "remote", claim: "c" }]);
  expect(await usages.read("u")).toEqual([]);
  const read = () => usages.read("u");
  await eventually("it has answered", async () => (await read()).length === 1);
  const told = {
    ...{ name: "a", claim: "c", at: clock.now(), capacityBytes: 102_400, availableBytes: 30_720 },
    ...{ usedBytes: 61_440, inodes: 10, inodesFree: 4, inodesUsed: 6 },
  };
  expect(await read()).toEqual([told]);
  await clock.advance(60_000);
  await read();
  await eventually("it was asked again", async () => asked === 2);
  expect(await read()).toEqual([told]);
  await usages.stop();
});

it("where servers take longer than the period none is asked twice at once", async () => {
  const clock = new FakeClock();
  const asked: string[] = [];
  let answer = (): void => undefined;
  const usages = new VolumeUsages({
    ...{ clock, log, statsPeriodMs: 60_000 },
    remote: {
      totals: async (path) => {
        asked.push(path);
        await new Promise<void>((resolve) => (answer = resolve));
        throw new LongshoreError("VolumeNotReady", "no answer");
      },
    },
  });
  usages.set(
    "u",
    ["a", "b"].map((name) => ({ name, path: `/${name}`, how: "remote" as const })),
  );
  for (let minute = 0; minute < 5; minute++) {
    await usages.read("u");
    await clock.advance(60_000);
  }
  answer();
  await eventually("the next one is asked", async () => asked.length === 2);
  answer();
  await new Promise(setImmediate);
  answer();
  await usages.stop();
  expect(asked).toEqual(["/a", "/b"]);
});

it("a huge tree is given up with the agent", async () => {
  const tree = join(root, "tree");
  for (let directory = 0; directory < 30; directory++) {
    mkdirSync(join(tree, String(directory)), { recursive: true });
    for (let file = 0; file < 100; file++) writeFileSync(join(tree, `${directory}/${file}`), "");
  }
  const usages = new VolumeUsages({ clock: new FakeClock(), log, remote, statsPeriodMs: 60_000 });
  usages.set("u", [{ name: "disk", path: tree, how: "tree" }]);
  await usages.read("u");
  // The clock stands still, so it is still in its first pause.
  await usages.stop();
  expect(await usages.read("u")).toEqual([]);
});
