import { describe, expect, test } from "vitest";
import { computeAllocation, initialAllocation } from "../../../src/pods/resize/allocation.ts";
import type { Allocation, Resources } from "../../../src/pods/snapshot.ts";
import { computePodStatus } from "../../../src/pods/status.ts";
import { RESOURCES_ANNOTATION } from "../../../src/runtime/container-config.ts";
import { OPEN, resized } from "./resize-cases.ts";
import { makeContainer, makePod, makeSandbox, makeSnapshot, NOW } from "./support.ts";

const of = (cpu: string, memory = "64Mi"): Resources => ({ requests: { cpu, memory } });
const podOf = (resources: Resources, name = "p") =>
  makePod({ containers: [{ name: "web", resources }] }, { name, generation: 3 });
const DONE: Allocation = { containers: { web: of("1") }, isDone: true };

describe("what is allocated", () => {
  const decide = (resources: Resources, beside: readonly Resources[] = []) =>
    computeAllocation({
      pod: podOf(resources),
      allocation: DONE,
      active: () => beside.map((other, index) => podOf(other, `other-${index}`)),
      allocatable: { cpu: 4000, memory: 2 ** 30, pods: 3 },
    });

  test.each([
    ["the same", of("1")],
    ["the same in other words", of("1000m", "65536Ki")],
    [
      "another resource, which cannot be resized",
      { requests: { cpu: "1", memory: "64Mi", x: "1" } },
    ],
  ])("stays with %s", (_what, resources) => {
    expect(decide(resources)).toEqual({ kind: "kept" });
  });

  test("takes null for nothing, as a client may write it", () => {
    const none = { containers: { web: {} }, isDone: true };
    const resources = null as unknown as Resources;
    const pod = makePod({ containers: [{ name: "web", resources }], resources });
    const input = { pod, allocation: none, active: () => [], allocatable: {} };
    expect(computeAllocation(input)).toEqual({ kind: "kept" });
    expect(computePodStatus(makeSnapshot({ pod })).resources).toBeUndefined();
  });

  test("is what the spec asks for where there is room", () => {
    expect(decide(of("3"), [of("1")])).toEqual({
      kind: "granted",
      allocation: { containers: { web: of("3") }, generation: 3, isDone: false },
    });
  });

  test("changes for a smallest request, though no cgroup does", () => {
    expect(decide(of("999m"))).toMatchObject({ kind: "granted" });
  });

  test.each([
    [
      "Infeasible",
      "more cpu than the node has",
      of("5"),
      [],
      "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000",
    ],
    [
      "Infeasible",
      "more memory than the node has, which is told first",
      of("5", "2Gi"),
      [],
      "Node didn't have enough capacity: memory, requested: 2147483648, capacity: 1073741824",
    ],
    [
      "Deferred",
      "more than others leave",
      of("3"),
      [of("1500m")],
      "Node didn't have enough resource: cpu, requested: 3000, used: 1500, capacity: 4000",
    ],
  ] as const)("waits as %s for %s", (reason, _what, resources, beside, message) => {
    expect(decide(resources, beside)).toEqual({ kind: "pending", pending: { reason, message } });
  });

  test("is at first what the containers were made with, else what the spec asks for", () => {
    const made = makeContainer({
      annotations: { [RESOURCES_ANNOTATION]: JSON.stringify(of("2")) },
    });
    const annotations = { [RESOURCES_ANNOTATION]: JSON.stringify(of("7")) };
    const pod = makePod({
      containers: [
        { name: "web", resources: of("1") },
        { name: "new", resources: of("1") },
      ],
    });
    const observed = { sandboxes: [makeSandbox({ annotations })], containers: [made] };
    expect(initialAllocation(pod, observed)).toEqual({
      ...{ pod: of("7"), containers: { web: of("2"), new: of("1") }, isDone: true },
    });
  });
});

describe("the status of a resize", () => {
  const statusOf = (...given: Parameters<typeof resized>) => {
    const { conditions, containerStatuses } = computePodStatus(makeSnapshot(resized(...given)));
    const ours = conditions?.filter(({ type }) => type.startsWith("PodResize")) ?? [];
    return { conditions: ours, ...containerStatuses?.[0] };
  };
  const big = { cpuShares: 307, cpuQuotaMicros: 40_000, memoryBytes: 2 ** 27 };

  test("tells what runs and what is allocated while it goes on", () => {
    expect(statusOf({})).toMatchObject({
      conditions: [{ type: "PodResizeInProgress", status: "True", observedGeneration: 2 }],
      resources: { requests: { cpu: "100m" }, limits: { cpu: "200m", memory: "64Mi" } },
      allocatedResources: { cpu: "300m" },
    });
  });

  test("tells what was told before where a resize follows another", () => {
    const resources = { requests: { cpu: "7" } };
    const told = { name: "web", containerID: "docker://web-0", resources };
    const previous = {
      containerStatuses: [{ ...told, image: "", imageID: "", ready: true, restartCount: 0 }],
    };
    expect(statusOf({}, {}, { previous })).toMatchObject({ resources });
  });

  test("tells what is allocated once the container has it", () => {
    const { resources } = statusOf({ resources: big });
    expect(resources).toEqual(OPEN.containers.web);
    expect(
      statusOf({ resources: big }, {}, { allocation: { ...OPEN, isDone: true } }).conditions,
    ).toEqual([]);
  });

  test("tells why it failed, and why another waits", () => {
    const { conditions } = statusOf(
      {},
      {},
      {
        resizeFailure: { message: "m", retryAt: NOW },
        resizePending: { reason: "Deferred", message: "later" },
      },
    );
    expect(conditions).toMatchObject([
      { type: "PodResizePending", reason: "Deferred", message: "later", observedGeneration: 1 },
      { type: "PodResizeInProgress", reason: "Error", message: "m", observedGeneration: 2 },
    ]);
  });

  test("tells of the pod's own resources too", () => {
    const [small, big] = [{ requests: { cpu: "1" } }, { requests: { cpu: "2" } }];
    const at = (isDone: boolean) => {
      const pod = makePod({ resources: big });
      const allocation = { containers: {}, pod: big, generation: 2, isDone };
      return computePodStatus(makeSnapshot({ pod, allocation, previous: { resources: small } }));
    };
    expect(at(false)).toMatchObject({ resources: small, allocatedResources: { cpu: "2" } });
    expect(at(true)).toMatchObject({ resources: big, allocatedResources: { cpu: "2" } });
  });

  test("is silent in a pod that ends", () => {
    expect(statusOf({}, {}, { phase: "terminating" }).conditions).toEqual([]);
  });
});
