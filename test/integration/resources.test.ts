/** What requests and limits come to inside a container, and around it, on a real Engine with cgroups of version 1. */

import { existsSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Container, Pod } from "../../src/api/types.ts";
import { PodCgroups } from "../../src/cgroups/pod-cgroups.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import { computeResources } from "../../src/runtime/resources.ts";
import { createReal, never } from "../support/runtime.ts";
import { SpecPods } from "../support/spec-pod.ts";

type Resources = NonNullable<Container["resources"]>;

const ROOT = "/sys/fs/cgroup";
const warnings: string[] = [];
const runtime = createReal();
const live: Pod[] = [];
const cgroups = new PodCgroups({
  ...{ root: ROOT, driver: "cgroupfs", version: 1, exec: createExec(systemClock) },
  ...{ clock: systemClock, onOperation: () => undefined },
  log: createLogger({ level: "warn", pretty: false, write: (line) => void warnings.push(line) }),
  ...{ podPidsLimit: 64, node: () => undefined, pods: () => live },
});
const pods = new SpecPods(runtime, cgroups);

beforeAll(async () => {
  const { cgroupDriver, cgroupVersion } = await runtime.info(never());
  expect([cgroupDriver, cgroupVersion]).toEqual(["cgroupfs", 1]);
});
afterEach(() => pods.removeAll());
afterAll(async () => {
  live.length = 0;
  await cgroups.sync(never());
  const controllers = readFileSync("/proc/cgroups", "utf8").match(/^\w+/gm) ?? [];
  for (const controller of [...controllers, "systemd", "unified"]) {
    for (const name of ["kubepods/burstable", "kubepods/besteffort", "kubepods"]) {
      const path = join(ROOT, controller, name);
      if (existsSync(path)) rmdirSync(path);
    }
  }
});

const read = (path: string): string => readFileSync(join(ROOT, path), "utf8").trim();
const FILES =
  "cd /sys/fs/cgroup; cat cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes /proc/self/oom_score_adj";
const UNLIMITED = "9223372036854771712";
const MI = 1024 ** 2;

describe("a container sees", () => {
  it.each<readonly [string, Resources, Partial<Pod["spec"]>, readonly (number | string)[]]>([
    ["nothing asked for", {}, {}, [2, -1, 100_000, UNLIMITED, UNLIMITED, 1000]],
    [
      "a request",
      { requests: { cpu: "250m", memory: "4Gi" } },
      {},
      [256, -1, 100_000, UNLIMITED, UNLIMITED, 500],
    ],
    [
      "limits, without swap",
      { limits: { cpu: "500m", memory: "64Mi" } },
      {},
      // Never negative without CAP_SYS_RESOURCE, though the pod is Guaranteed.
      [512, 50_000, 100_000, 64 * MI, 64 * MI, 0],
    ],
    ["the least", { limits: { cpu: "1m" } }, {}, [2, 1000, 100_000, UNLIMITED, UNLIMITED, 999]],
    [
      "its pod's limits",
      { requests: { cpu: "100m" } },
      { resources: { limits: { cpu: "1", memory: "64Mi" }, requests: { memory: "8Mi" } } },
      [102, 100_000, 100_000, 64 * MI, 64 * MI, 999],
    ],
  ])("%s", async (_what, resources, spec, expected) => {
    const { output } = await pods.run(FILES, { resources }, spec);
    expect(output.trim().split("\n")).toEqual(expected.map(String));
  });
});

describe("the hierarchy of version 2 that this kernel has beside the others", () => {
  const v2 = join(ROOT, "unified");
  const controllers = existsSync(join(v2, "cgroup.controllers"))
    ? readFileSync(join(v2, "cgroup.controllers"), "utf8").trim()
    : "";

  it.runIf(controllers === "hugetlb")(
    "passes its controllers down, and pods are told to do without the others",
    async () => {
      const said: string[] = [];
      const beside = new PodCgroups({
        ...{ root: v2, driver: "cgroupfs", version: 2, exec: createExec(systemClock) },
        ...{ clock: systemClock, onOperation: () => undefined },
        log: createLogger({ level: "warn", pretty: false, write: (line) => void said.push(line) }),
        ...{ podPidsLimit: 64, node: () => ({ cpuMillis: 1000, memoryBytes: MI }), pods: () => [] },
      });
      const pod = { metadata: { uid: "h-resources" }, spec: { containers: [] } };
      expect(await beside.ensurePod(pod as unknown as Pod, never())).toEqual({ pidsLimit: 64 });
      expect(read("unified/kubepods/cgroup.subtree_control")).toBe("hugetlb");
      expect(said.join()).toMatch(/EACCES.*kubepods\/cpu\.weight.*cgroups of pods cannot be made/);
    },
  );
});

describe("a pod", () => {
  it("has a cgroup of its class, in which its containers are", async () => {
    const resources = { requests: { cpu: "500m" }, limits: { cpu: "1", memory: "64Mi" } };
    const second: Container = { name: "second", resources };
    const { pod, id } = await pods.start(
      { command: ["sleep", "1000"], resources },
      { containers: [second] },
    );
    live.push(pod);
    await cgroups.sync(never());
    const own = `kubepods/burstable/pod${pod.metadata.uid}`;
    expect(read(`cpu/${own}/cpu.shares`)).toBe("1024");
    expect(read(`cpu/${own}/cpu.cfs_quota_us`)).toBe("200000");
    expect(read(`memory/${own}/memory.limit_in_bytes`)).toBe(String(128 * MI));
    expect(read(`pids/${own}/pids.max`)).toBe("64");
    expect(read("cpu/kubepods/burstable/cpu.shares")).toBe("1024");
    expect(read("cpu/kubepods/besteffort/cpu.shares")).toBe("2");
    expect(read(`memory/${own}/${id}/cgroup.procs`)).not.toBe("");
    live.length = 0;
    await cgroups.sync(never());
    expect(existsSync(join(ROOT, "memory", own))).toBe(true);
    await pods.removeAll();
    await cgroups.sync(never());
    for (const controller of ["cpu", "memory", "pids", "freezer", "cpuset"])
      expect(existsSync(join(ROOT, controller, own)), controller).toBe(false);
    expect(warnings).toEqual([]);
  });

  it("is resized while it runs: its own cgroup first when it grows, last when it shrinks", async () => {
    const limited = (cpu: string, memory: string) => ({ limits: { cpu, memory } });
    const command = ["sleep", "1000"];
    const { pod, id } = await pods.start({ command, resources: limited("100m", "16Mi") });
    live.push(pod);
    const step = (cpu: string, memory: string) => {
      const container: Container = { name: "main", resources: limited(cpu, memory) };
      const next: Pod = { ...pod, spec: { containers: [container] } };
      const wanted = computeResources(next.spec, container, undefined);
      return { next, update: () => runtime.updateResources(id, wanted, never()) };
    };
    const own = `kubepods/pod${pod.metadata.uid}`;
    const values = () =>
      ["cpu/X/cpu.cfs_quota_us", "cpu/X/cpu.shares", "memory/X/memory.limit_in_bytes"].map((path) =>
        [own, `${own}/${id}`].map((directory) => read(path.replace("X", directory))),
      );
    const big = step("300m", "48Mi");
    await expect(big.update(), "more than its pod has").rejects.toThrow("invalid argument");
    await cgroups.resizePod(big.next, "grow", never());
    await big.update();
    const bytes = (mib: number) => [mib * MI, mib * MI].map(String);
    expect(values()).toEqual([["30000", "30000"], ["307", "307"], bytes(48)]);
    const small = step("100m", "32Mi");
    await cgroups.resizePod(small.next, "grow", never());
    expect(values()).toEqual([["30000", "30000"], ["102", "307"], bytes(48)]);
    await expect(cgroups.resizePod(small.next, "exact", never())).rejects.toThrow("EINVAL");
    await small.update();
    await cgroups.resizePod(small.next, "exact", never());
    expect(values()).toEqual([["10000", "10000"], ["102", "102"], bytes(32)]);
    const { containers } = await runtime.list(never(), pod.metadata.uid);
    expect(containers).toMatchObject([{ id, state: "running" }]);
  });

  it("is not given less memory than it uses, and is none the worse for it", async () => {
    const hog = "x=$(head -c 20971520 /dev/zero | tr '\\0' x); touch /held; sleep 1000; :";
    const resources = { limits: { memory: "256Mi" } };
    const { pod, id } = await pods.start({ command: ["sh", "-c", hog], resources });
    const held = ["sh", "-c", "until [ -e /held ]; do sleep 0.1; done"];
    await runtime.execSync(id, held, 30_000, never());
    const less = { cpuShares: 2, memoryBytes: 8 * MI };
    await expect(runtime.updateResources(id, less, never())).rejects.toMatchObject({
      code: "EngineConflict",
      message: expect.stringMatching(/memory limit \(8388608\) below current usage \(\d+\)/),
    });
    const { containers } = await runtime.list(never(), pod.metadata.uid);
    expect(containers).toMatchObject([{ state: "running", resources: { memoryBytes: 256 * MI } }]);
  });

  it("cannot make more processes than its limit", async () => {
    const script = "for i in $(seq 100); do sleep 5 & done 2>&1; wait";
    const { output } = await pods.run(script, {});
    expect(output).toMatch(/can't fork: Resource temporarily unavailable/);
  });

  it("without a cgroup of its own has its container's processes limited", async () => {
    const ensurePod = async () => ({ pidsLimit: 50 });
    const without = new SpecPods(runtime, {
      ensurePod,
      resizePod: async () => undefined,
      countOomKills: async () => undefined,
      sync: async () => undefined,
    });
    try {
      const { output } = await without.run("cat /sys/fs/cgroup/pids/pids.max; sleep 0", {});
      expect(output).toBe("50\n");
    } finally {
      await without.removeAll();
    }
  });

  it("whose child process takes more memory than the limit is told as killed for it", async () => {
    const hog = "sh -c 'x=$(yes | head -c 67108864)'";
    const limits = { memory: "16Mi" };
    const { container, output } = await pods.run(`${hog}; echo lives; exit 3`, {
      resources: { limits },
    });
    expect(output).toContain("lives");
    expect(container).toMatchObject({ oomKilled: true, exitCode: 3 });
  });

  it("that takes more memory than all its containers may is ended as one container would be", async () => {
    const hog = "x=$(head -c 67108864 /dev/zero | tr '\\0' x); echo held";
    const resources = { limits: { memory: "16Mi" } };
    const { container, output } = await pods.run(hog, {}, { resources });
    expect(output).not.toContain("held");
    expect(container).toMatchObject({ oomKilled: true, exitCode: 137 });
  });
});
