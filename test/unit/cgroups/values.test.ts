import { describe, expect, test } from "vitest";
import type { PodSpec } from "../../../src/api/types.ts";
import {
  cgroupPath,
  engineParent,
  NODE_CGROUP,
  podCgroup,
  podUidOf,
} from "../../../src/cgroups/names.ts";
import { computeQuota, computeShares, computeWeight } from "../../../src/cgroups/units.ts";
import { computeClassShares, computePodValues, toFiles } from "../../../src/cgroups/values.ts";

const UID = "0d51-a8";

describe("the cgroup of a pod", () => {
  test.each([
    ["cgroupfs", "Guaranteed", "/kubepods/pod0d51-a8", "kubepods/pod0d51-a8"],
    ["cgroupfs", "Burstable", "/kubepods/burstable/pod0d51-a8", "kubepods/burstable/pod0d51-a8"],
    [
      ...["systemd", "BestEffort", "kubepods-besteffort-pod0d51_a8.slice"],
      "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0d51_a8.slice",
    ],
    [
      ...["systemd", "Guaranteed", "kubepods-pod0d51_a8.slice"],
      "kubepods.slice/kubepods-pod0d51_a8.slice",
    ],
  ] as const)("with %s and class %s is %s at %s", (driver, qosClass, parent, path) => {
    const name = podCgroup(UID, qosClass);
    expect(engineParent(driver, name)).toBe(parent);
    expect(cgroupPath(driver, name)).toBe(path);
    expect(podUidOf(driver, path.split("/").at(-1) ?? "")).toBe(UID);
  });

  test.each([
    ["cgroupfs", "burstable"],
    ["cgroupfs", "pod"],
    ["systemd", "kubepods-burstable.slice"],
    ["systemd", "cgroup.procs"],
    ["cgroupfs", "cpu.shares"],
  ] as const)("with %s is not %s", (driver, directory) => {
    expect(podUidOf(driver, directory)).toBeUndefined();
  });

  test("is below that of the node", () => {
    expect(engineParent("systemd", NODE_CGROUP)).toBe("kubepods.slice");
  });
});

const asking = (resources: object): PodSpec => ({ containers: [{ name: "c", resources }] });

describe("the values of a cgroup", () => {
  test.each([
    [0, 2, 1000, 1],
    [1, 2, 1000, 1],
    [5, 5, 1000, 2],
    [100, 102, 10_000, 17],
    [1000, 1024, 100_000, 100],
    [2500, 2560, 250_000, 208],
    [500_000, 262_144, 50_000_000, 10_000],
  ])("of %d millicores are %d shares, a quota of %d and a weight of %d", (milli, ...expected) => {
    const shares = computeShares(milli);
    expect([shares, computeQuota(milli), computeWeight(shares)]).toEqual(expected);
  });

  test("are a pod's requests and limits", () => {
    const limits = { cpu: "1", memory: "64Mi", "hugepages-2Mi": "4Mi" };
    expect(computePodValues(asking({ requests: { cpu: "250m" }, limits }), 99)).toEqual({
      ...{ cpuShares: 256, cpuQuotaMicros: 100_000, memoryBytes: 67_108_864, pids: 99 },
      hugePages: { "2Mi": 4_194_304 },
    });
    expect(computePodValues(asking({}), undefined)).toEqual({ cpuShares: 2 });
  });

  test("of a class weigh its pods together", () => {
    const specs = [
      asking({ requests: { cpu: "1" } }),
      asking({ requests: { cpu: "500m" } }),
      asking({ limits: { cpu: "4", memory: "1Gi" } }),
      asking({}),
    ];
    expect(computeClassShares(specs, "Burstable")).toBe(1536);
    expect(computeClassShares(specs, "BestEffort")).toBe(2);
    expect(computeClassShares([], "Burstable")).toBe(2);
  });

  const some = {
    ...{ cpuShares: 1024, cpuQuotaMicros: 50_000, memoryBytes: 9, pids: 7 },
    hugePages: { "2Mi": 8, "1Gi": 0 },
  };
  test.each([
    [
      ...[1, { cpuShares: 2 }],
      "cpu.shares=2 cpu.cfs_period_us=100000 cpu.cfs_quota_us=-1 memory.limit_in_bytes=-1 pids.max=max",
    ],
    [
      ...[1, some],
      "cpu.shares=1024 cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000 memory.limit_in_bytes=9 pids.max=7 hugetlb.2MB.limit_in_bytes=8 hugetlb.1GB.limit_in_bytes=0",
    ],
    [2, { cpuShares: 2 }, "cpu.weight=1 cpu.max=max 100000 memory.max=max pids.max=max"],
    [
      ...[2, some],
      "cpu.weight=100 cpu.max=50000 100000 memory.max=9 pids.max=7 hugetlb.2MB.max=8 hugetlb.1GB.max=0",
    ],
  ] as const)("are files of version %d: %j is %s", (version, values, expected) => {
    const files = toFiles(version, values).map(({ name, text }) => `${name}=${text}`);
    expect(files.join(" ")).toBe(expected);
  });
});
