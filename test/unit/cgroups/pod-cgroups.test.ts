/** The cgroups of pods on directories that look like either version, and on a systemd that is only asked. */

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Pod } from "../../../src/api/types.ts";
import { removeCgroups } from "../../../src/cgroups/cleanup.ts";
import { PodCgroups, type PodCgroupsOptions } from "../../../src/cgroups/pod-cgroups.ts";
import type { Command } from "../../../src/core/exec.ts";
import { createLogger } from "../../../src/core/logger.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { makePod } from "../pods/support.ts";

const never = new AbortController().signal;
let root = "";
let pods: Pod[] = [];
let warnings: string[] = [];
let commands: string[] = [];
let refused: readonly string[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "h-resources-cgroups-"));
  [pods, warnings, commands, refused] = [[], [], [], []];
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function create(version: 1 | 2, change: Partial<PodCgroupsOptions> = {}): PodCgroups {
  const log = createLogger({
    ...{ level: "warn", pretty: false },
    write: (line) => void warnings.push((JSON.parse(line) as { msg: string }).msg),
  });
  const exec = async ({ file, args }: Command) => {
    const method = args.find((word) => /^(Start|Stop|Set)/.test(word)) ?? "";
    commands.push([file, method, ...args.slice(args.indexOf(method) + 2)].join(" "));
    return { code: refused.includes(method) ? 1 : 0, stdout: "", stderr: "refused" };
  };
  return new PodCgroups({
    ...{ root, driver: "cgroupfs", version, exec, log, podPidsLimit: 40 },
    node: () => ({ cpuMillis: 1500, memoryBytes: 1024 }),
    pods: () => pods,
    clock: new FakeClock(),
    onOperation: () => undefined,
    ...change,
  });
}

function podOf(uid: string, resources: object): Pod {
  return makePod({ containers: [{ name: "web", resources }] }, { uid });
}

const read = (path: string): string => readFileSync(join(root, path), "utf8");

test.each([
  ["cgroupfs", "kubepods/burstable/podu-1", "abc"],
  [
    "systemd",
    "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podu_1.slice",
    "docker-abc.scope",
  ],
] as const)(
  "counts the OOM kills of ended containers on version 2, %s",
  async (driver, own, id) => {
    const kills = (directory: string, count: number): void => {
      mkdirSync(join(root, directory), { recursive: true });
      const events = `low 0\nhigh 0\nmax 9\noom 9\noom_kill ${count}\noom_group_kill 7\n`;
      writeFileSync(join(root, directory, "memory.events"), events);
    };
    const pod = podOf("u-1", { requests: { cpu: "1" } });
    const cgroups = create(2, { driver });
    kills(own, 5);
    expect(await cgroups.countOomKills(pod, [])).toBe(5);
    kills(`${own}/${id}`, 2);
    expect(await cgroups.countOomKills(pod, ["abc"])).toBe(3);
    expect(await cgroups.countOomKills(pod, ["gone"]), "it ends just now").toBeUndefined();
    expect(await create(1, { driver }).countOomKills(pod, [])).toBeUndefined();
  },
);

describe("version 2", () => {
  const CONTROLLERS = "cpuset cpu io memory hugetlb pids rdma";
  beforeEach(() => {
    for (const name of ["", "kubepods", "kubepods/burstable", "kubepods/besteffort"]) {
      mkdirSync(join(root, name), { recursive: true });
      writeFileSync(join(root, name, "cgroup.controllers"), `${CONTROLLERS}\n`);
    }
  });

  test("has the node, the classes and the pod, with what each may use", async () => {
    const pod = podOf("u1", { requests: { cpu: "1" }, limits: { memory: "64Mi" } });
    mkdirSync(join(root, "kubepods/burstable/podu1"));
    writeFileSync(join(root, "kubepods/burstable/podu1/cgroup.controllers"), "cpu memory pids\n");
    pods = [pod];
    const parent = { cgroupParent: "/kubepods/burstable/podu1" };
    expect(await create(2).ensurePod(pod, never)).toEqual(parent);
    expect(read("cgroup.subtree_control")).toBe("+cpuset +cpu +io +memory +hugetlb +pids");
    expect(read("kubepods/cpu.weight")).toBe("138");
    expect(read("kubepods/memory.max")).toBe("1024");
    expect(read("kubepods/burstable/cpu.weight")).toBe("100");
    expect(read("kubepods/besteffort/cpu.weight")).toBe("1");
    const own = "kubepods/burstable/podu1";
    expect(read(`${own}/cgroup.subtree_control`)).toBe("+cpu +memory +pids");
    expect(read(`${own}/cpu.weight`)).toBe("100");
    expect(read(`${own}/cpu.max`)).toBe("max 100000");
    expect(read(`${own}/memory.max`)).toBe("67108864");
    expect(read(`${own}/pids.max`)).toBe("40");
    expect(warnings).toEqual([]);
  });

  test("grows before its containers do, and shrinks after them", async () => {
    const own = "kubepods/burstable/podu1";
    mkdirSync(join(root, own));
    writeFileSync(join(root, own, "cgroup.controllers"), "cpu memory pids\n");
    const small = podOf("u1", { requests: { cpu: "100m" }, limits: { cpu: "1", memory: "64Mi" } });
    const mixed = podOf("u1", { requests: { cpu: "1" }, limits: { cpu: "2", memory: "32Mi" } });
    const cgroups = create(2);
    await cgroups.ensurePod(small, never);
    const values = () => ["cpu.max", "memory.max", "cpu.weight"].map((it) => read(`${own}/${it}`));
    await cgroups.resizePod(mixed, "grow", never);
    expect(values()).toEqual(["200000 100000", "67108864", "100"]);
    await cgroups.resizePod(mixed, "exact", never);
    expect(values()).toEqual(["200000 100000", "33554432", "100"]);
    await cgroups.resizePod(podOf("u1", { requests: { cpu: "1" } }), "grow", never);
    expect(values()).toEqual(["max 100000", "max", "100"]);
    await cgroups.resizePod(mixed, "grow", never);
    expect(values()).toEqual(["max 100000", "max", "100"]);
    await expect(cgroups.resizePod(podOf("u2", {}), "grow", never)).rejects.toThrow("ENOENT");
  });

  test("is done without, and says so once, where it cannot be made", async () => {
    rmSync(root, { recursive: true });
    const cgroups = create(2);
    expect(await cgroups.ensurePod(podOf("u1", {}), never)).toEqual({ pidsLimit: 40 });
    expect(await cgroups.ensurePod(podOf("u2", {}), never)).toEqual({ pidsLimit: 40 });
    await cgroups.sync(never);
    expect(warnings).toEqual([expect.stringContaining("cgroups of pods cannot be made")]);
    expect(await create(2, { podPidsLimit: undefined }).ensurePod(podOf("u", {}), never)).toEqual(
      {},
    );
  });
});

describe("version 1", () => {
  beforeEach(() => {
    for (const controller of ["cpu", "memory", "pids", "freezer"])
      mkdirSync(join(root, controller));
  });

  test("has each cgroup once for each controller that is mounted", async () => {
    const limits = { cpu: "500m", memory: "64Mi", "hugepages-2Mi": "2Mi" };
    const pod = podOf("u1", { limits });
    pods = [pod];
    const parent = { cgroupParent: "/kubepods/podu1" };
    expect(await create(1).ensurePod(pod, never)).toEqual(parent);
    expect(read("cpu/kubepods/cpu.shares")).toBe("1536");
    expect(read("cpu/kubepods/podu1/cpu.cfs_quota_us")).toBe("50000");
    expect(read("memory/kubepods/podu1/memory.limit_in_bytes")).toBe("67108864");
    expect(read("pids/kubepods/podu1/pids.max")).toBe("40");
    expect(existsSync(join(root, "hugetlb"))).toBe(false);
  });

  test("loses the cgroups of pods that ended, and only those", async () => {
    const cgroups = create(1);
    pods = [podOf("u1", {}), podOf("u2", { requests: { cpu: "1" } })];
    for (const pod of pods) await cgroups.ensurePod(pod, never);
    const gone = join(root, "cpu/kubepods/besteffort/podu1");
    const directories = ["cpu", "memory", "pids"].map((name) => join(root, name));
    // A kernel's directory is empty for rmdir whatever files it shows.
    for (const directory of directories) {
      const own = join(directory, "kubepods/besteffort/podu1");
      rmSync(own, { recursive: true });
      mkdirSync(own);
    }
    mkdirSync(join(root, "freezer/kubepods/besteffort/podu1"), { recursive: true });
    pods = pods.slice(1);
    await cgroups.sync(never);
    expect(existsSync(gone)).toBe(false);
    expect(existsSync(join(root, "freezer/kubepods/besteffort/podu1"))).toBe(false);
    expect(existsSync(join(root, "cpu/kubepods/burstable/podu2"))).toBe(true);
    pods = [];
    await cgroups.sync(never);
    expect(read("cpu/kubepods/burstable/cpu.shares")).toBe("2");
    expect(existsSync(join(root, "cpu/kubepods/burstable/podu2"))).toBe(true);
  });
});

describe("systemd", () => {
  const slices = (change: Partial<PodCgroupsOptions> = {}) =>
    create(2, { driver: "systemd", ...change });

  test("is asked for a slice for the node, each class and the pod", async () => {
    const pod = podOf("a-1", { limits: { cpu: "500m", memory: "64Mi" } });
    const parent = { cgroupParent: "kubepods-poda_1.slice" };
    expect(await slices().ensurePod(pod, never)).toEqual(parent);
    const unlimited = "18446744073709551615";
    const start = (slice: string, weight: number, quota: string, memory: string, tasks: string) =>
      `busctl StartTransientUnit ${slice} replace 5 DefaultDependencies b false CPUWeight t ${weight} CPUQuotaPerSecUSec t ${quota} MemoryMax t ${memory} TasksMax t ${tasks} 0`;
    expect(commands).toEqual([
      start("kubepods.slice", 138, unlimited, "1024", unlimited),
      start("kubepods-burstable.slice", 1, unlimited, unlimited, unlimited),
      start("kubepods-besteffort.slice", 1, unlimited, unlimited, unlimited),
      start("kubepods-poda_1.slice", 59, "500000", "67108864", "40"),
    ]);
  });

  test("is told the values of a slice that runs already", async () => {
    refused = ["StartTransientUnit"];
    await slices({ podPidsLimit: undefined }).ensurePod(podOf("a", {}), never);
    expect(commands.filter((line) => line.includes("SetUnitProperties"))).toHaveLength(4);
    refused = ["StartTransientUnit", "SetUnitProperties"];
    expect(await slices().ensurePod(podOf("a", {}), never)).toEqual({ pidsLimit: 40 });
    expect(warnings).toHaveLength(1);
  });

  test("stops the slice of a pod that ended", async () => {
    // Also one that was made before this agent.
    const cgroups = slices();
    const own = "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda_1.slice";
    mkdirSync(join(root, own, "docker-1.scope"), { recursive: true });
    mkdirSync(join(root, "kubepods.slice/kubepods-burstable.slice"), { recursive: true });
    commands = [];
    // Which is nobody's yet, but has a container in it.
    await cgroups.sync(never);
    expect(commands.filter((line) => line.includes("StopUnit"))).toEqual([]);
    rmSync(join(root, own, "docker-1.scope"), { recursive: true });
    await cgroups.sync(never);
    expect(commands).toContain("busctl StopUnit kubepods-besteffort-poda_1.slice replace");
    expect(existsSync(join(root, own))).toBe(false);
  });
});

describe("the clean-up", () => {
  test.each(["", "cpu/", "memory/"])(
    "removes what is empty below %j, and only pods'",
    async (top) => {
      for (const name of ["kubepods/burstable/podu1", "kubepods.slice/a.slice", "system.slice/b"])
        mkdirSync(join(root, top, name), { recursive: true });
      mkdirSync(join(root, top, "kubepods/podu2"));
      // As a cgroup with processes in it.
      writeFileSync(join(root, top, "kubepods/podu2/held"), "");
      await removeCgroups(root);
      expect(existsSync(join(root, top, "kubepods/burstable"))).toBe(false);
      expect(existsSync(join(root, top, "kubepods.slice"))).toBe(false);
      expect(existsSync(join(root, top, "kubepods/podu2"))).toBe(true);
      expect(existsSync(join(root, top, "system.slice/b"))).toBe(true);
    },
  );
});
