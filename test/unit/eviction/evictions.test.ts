import { describe, expect, test } from "vitest";
import type { Pod } from "../../../src/api/types.ts";
import { computeEviction, hasSizeLimit, hasStorageLimit } from "../../../src/eviction/evictions.ts";
import { makePod } from "../pods/support.ts";

const MI = 1024 ** 2;

function podOf(limits: readonly (string | undefined)[], emptyDir: object = {}): Pod {
  const containers = limits.map((limit, i) => ({
    name: `c${i}`,
    ...(limit === undefined ? {} : { resources: { limits: { "ephemeral-storage": limit } } }),
  }));
  return makePod({ containers, volumes: [{ name: "x", emptyDir }] });
}

const usage = (emptyDir: number, ...containers: readonly number[]) => ({
  emptyDirs: new Map([["x", emptyDir]]),
  containers: new Map(containers.map((bytes, i) => [`c${i}`, bytes])),
});

describe("a pod", () => {
  test.each<readonly [string, Pod, ReturnType<typeof usage>, string | undefined]>([
    ["without limits stays", podOf([undefined]), usage(9e12, 9e12), undefined],
    [
      "that uses just its limits stays",
      podOf(["1Mi"], { sizeLimit: "1Mi" }),
      usage(0, MI),
      undefined,
    ],
    [
      "whose emptyDir is just full stays",
      podOf([undefined], { sizeLimit: "1Mi" }),
      usage(MI),
      undefined,
    ],
    ["with a sizeLimit of 0 has none", podOf([undefined], { sizeLimit: "0" }), usage(1), undefined],
    [
      "with an emptyDir in memory leaves it to the kernel",
      podOf([undefined], { sizeLimit: "1Mi", medium: "Memory" }),
      usage(2 * MI),
      undefined,
    ],
    [
      "goes for its emptyDir first",
      podOf(["1Mi"], { sizeLimit: "1Mi" }),
      usage(MI + 1, 2 * MI),
      'Usage of EmptyDir volume "x" exceeds the limit "1Mi". ',
    ],
    [
      "goes for the sum of all, emptyDirs with it",
      podOf(["1Mi", "1536Ki"]),
      usage(MI, MI, MI),
      "Pod ephemeral local storage usage exceeds the total limit of containers 2560Ki. ",
    ],
    [
      "has the sum told in round units",
      podOf(["1Gi", "1Gi"]),
      usage(3e9),
      "Pod ephemeral local storage usage exceeds the total limit of containers 2Gi. ",
    ],
    [
      "has a decimal sum told so",
      podOf(["1M", "2M"]),
      usage(3e6 + 1),
      "Pod ephemeral local storage usage exceeds the total limit of containers 3M. ",
    ],
    [
      "goes for one container, though the sum would do",
      podOf(["1Mi", "9Mi"]),
      usage(0, MI + 1, 0),
      'Container c0 exceeded its local ephemeral storage limit "1Mi". ',
    ],
    [
      "is judged by the limits there are, when one container has none",
      podOf(["1Mi", undefined]),
      usage(0, 0, 2 * MI),
      "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
    ],
  ])("%s", (_, pod, used, message) => {
    expect(computeEviction(pod, used)?.message).toBe(message);
  });

  test.each([
    ["nothing", podOf([undefined]), false, false],
    ["an emptyDir in memory", podOf([undefined], { medium: "Memory", sizeLimit: 1 }), false, false],
    ["an emptyDir", podOf([undefined], { sizeLimit: 1 }), true, false],
    ["a container", podOf([undefined, "1"]), false, true],
  ])("is looked at for the limit of %s", (_, pod, hasSize, hasStorage) => {
    expect([hasSizeLimit(pod), hasStorageLimit(pod)]).toEqual([hasSize, hasStorage]);
  });
});
