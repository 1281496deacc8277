/** The node loop against the fake API on a fake clock: registration, status, lease, events. */

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ApiClient } from "../../../src/api/client.ts";
import { LEASES, NODES } from "../../../src/api/resources.ts";
import type { Node } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import { createLogger } from "../../../src/core/logger.ts";
import type { HostReader } from "../../../src/node/host.ts";
import { NodeLoop, type NodeLoopOptions } from "../../../src/node/node-loop.ts";
import type { RuntimeInfo } from "../../../src/runtime/runtime.ts";
import { FakeApi } from "../../fakes/api.ts";
import { FakeClock } from "../../fakes/clock.ts";

const FILES: Readonly<Record<string, string>> = {
  "/proc/meminfo": "MemTotal:  2097152 kB\n",
  "/proc/cpuinfo": "processor : 0\nprocessor : 1\n",
  "/etc/machine-id": "m1\n",
  "/proc/sys/kernel/random/boot_id": "b1\n",
  "/etc/os-release": "PRETTY_NAME=Test\n",
};

const host: HostReader = {
  architecture: "amd64",
  readText: async (path) => FILES[path],
  readDir: async () => [],
  fsCapacityBytes: async () => 100 * 1024 ** 3,
  interfaces: () => ({}),
};

const info = { name: "docker", version: "26.1.0", handlers: [] as const } as unknown as RuntimeInfo;

describe("NodeLoop", () => {
  let clock: FakeClock;
  let api: FakeApi;
  let problems: string[];
  let isEngineUp: boolean;
  let recorded: string[];
  const ref = { name: "n1" };
  const leaseRef = { namespace: "kube-node-lease", name: "n1" };

  beforeEach(() => {
    clock = new FakeClock();
    api = new FakeApi(clock);
    problems = [];
    isEngineUp = true;
    recorded = [];
  });

  function createLoop(changes: Partial<NodeLoopOptions> = {}): NodeLoop {
    return new NodeLoop({
      client: api as ApiClient,
      config: {
        nodeName: "n1",
        nodeIps: ["10.0.0.1"],
        nodeLabels: { zone: "a" },
        registerNode: true,
        registerWithTaints: [],
        rootDir: "/x",
        port: 10250,
        maxPods: 110,
        nodeStatusUpdateFrequencyMs: 10_000,
        ...{ nodeStatusReportFrequencyMs: 300_000, nodeStatusMaxImages: 50, providerID: "" },
        nodeLeaseDurationSeconds: 40,
        ...{ systemReserved: {}, kubeReserved: {} },
        evictionHard: {
          "memory.available": { bytes: 100 * 1024 ** 2 },
          "nodefs.available": { fraction: 0.1 },
        },
      },
      runtime: {
        async info() {
          if (!isEngineUp) throw new LongshoreError("EngineUnreachable", "down");
          return info;
        },
        listImages: async () => [],
      },
      host,
      readiness: () => problems,
      declaredFeatures: [],
      version: "0.1.0",
      clock,
      events: { record: (_about, _type, reason) => recorded.push(reason) },
      log: createLogger({ level: "silent", pretty: false, write: () => undefined }),
      ...changes,
    });
  }

  function readyCondition(): { status?: string; reason?: string; message?: string } | undefined {
    return api.peek(NODES, ref)?.status?.conditions?.find(({ type }) => type === "Ready");
  }

  function writes(resource: string): number {
    return api.calls.filter((call) => call.resource === resource && call.verb !== "get").length;
  }

  test("registers, reports, takes a lease and says what it did", async () => {
    const loop = createLoop();
    const seen: Node[] = [];
    loop.onNode((node) => seen.push(node));
    await loop.start();
    await clock.advance(100);
    expect(api.peek(NODES, ref)).toMatchObject({
      metadata: { labels: { zone: "a", "kubernetes.io/arch": "amd64" } },
      status: {
        nodeInfo: { containerRuntimeVersion: "docker://26.1.0", systemUUID: "m1", bootID: "b1" },
      },
    });
    expect(readyCondition()).toMatchObject({ status: "True", reason: "KubeletReady" });
    expect(api.peek(LEASES, leaseRef)).toMatchObject({
      metadata: { ownerReferences: [{ kind: "Node", name: "n1" }] },
      spec: { holderIdentity: "n1", leaseDurationSeconds: 40 },
    });
    expect(recorded).toContain("Starting");
    expect(recorded).toContain("NodeReady");
    expect(seen.at(-1)?.metadata.name).toBe("n1");
    expect(loop.getAllocatable()).toMatchObject({
      cpu: 2000,
      pods: 110,
      memory: 2 * 1024 ** 3 - 100 * 1024 ** 2,
      "ephemeral-storage": 90 * 1024 ** 3,
    });
    await loop.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  describe("after a restart of a node that was Ready", () => {
    let loop: NodeLoop;

    beforeEach(async () => {
      const first = createLoop();
      await first.start();
      await clock.advance(100);
      await first.stop();
      recorded = [];
      problems = ["the pod network is not started"];
      loop = createLoop();
      await loop.start();
    });

    afterEach(() => loop.stop());

    test("it stays Ready while it comes up, without an event", async () => {
      await clock.advance(3_000);
      expect(readyCondition()?.status).toBe("True");
      problems = [];
      await clock.advance(30_000);
      expect(readyCondition()?.status).toBe("True");
      expect(recorded).toEqual(["Starting"]);
      problems = ["broken"];
      await clock.advance(2_000);
      expect(readyCondition()?.status).toBe("False");
    });

    test("it is NotReady when it does not come up within ten seconds", async () => {
      await clock.advance(9_000);
      expect(readyCondition()?.status).toBe("True");
      await clock.advance(3_000);
      expect(readyCondition()?.status).toBe("False");
      expect(recorded).toContain("NodeNotReady");
    });
  });

  test("renews the lease each 10 s, and soon again after a failure", async () => {
    const loop = createLoop();
    await loop.start();
    await clock.advance(1_000);
    const renewTime = (): string | undefined => api.peek(LEASES, leaseRef)?.spec?.renewTime;
    expect(renewTime()).toBe("2026-01-01T00:00:00.000000Z");
    await clock.advance(10_000);
    expect(renewTime()).toBe("2026-01-01T00:00:10.000000Z");
    api.failNext("ApiUnreachable", { resource: "leases" });
    await clock.advance(10_000);
    expect(renewTime()).toBe("2026-01-01T00:00:20.200000Z");
    await loop.stop();
  });

  test("takes a lease that somebody deleted or changed", async () => {
    const loop = createLoop();
    await loop.start();
    await clock.advance(1_000);
    api.remove(LEASES, leaseRef);
    await clock.advance(10_000);
    const lease = api.peek(LEASES, leaseRef);
    expect(lease?.spec?.renewTime).toBe("2026-01-01T00:00:10.000000Z");
    if (lease !== undefined) api.put(LEASES, lease);
    await clock.advance(10_000);
    expect(api.peek(LEASES, leaseRef)?.spec?.renewTime).toBe("2026-01-01T00:00:20.000000Z");
    await loop.stop();
  });

  test("writes an unchanged status each 5 minutes only", async () => {
    const loop = createLoop();
    await loop.start();
    await clock.advance(1_000);
    const before = writes("nodes");
    await clock.advance(290_000);
    expect(writes("nodes")).toBe(before);
    await clock.advance(20_000);
    expect(writes("nodes")).toBe(before + 1);
    await loop.stop();
  });

  test("reports a change of readiness within a second or so, both ways", async () => {
    const loop = createLoop();
    await loop.start();
    await clock.advance(62_500);
    problems = ["container runtime network not ready"];
    await clock.advance(1_000);
    expect(readyCondition()).toMatchObject({ status: "False", message: problems[0] });
    problems = [];
    await clock.advance(1_000);
    expect(readyCondition()).toMatchObject({ status: "True" });
    expect(recorded.slice(-2)).toEqual(["NodeNotReady", "NodeReady"]);
    await loop.stop();
  });

  test("is not ready while the engine is down, with the facts it told last", async () => {
    const loop = createLoop();
    await loop.start();
    await clock.advance(1_000);
    isEngineUp = false;
    await clock.advance(10_000);
    expect(readyCondition()).toMatchObject({ message: "container runtime is down" });
    expect(api.peek(NODES, ref)?.status?.nodeInfo?.containerRuntimeVersion).toContain("26.1.0");
    await loop.stop();
  });

  test("corrects the labels of a Node that exists, and nothing else of it", async () => {
    api.put(NODES, {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "n1", uid: "u", resourceVersion: "1", labels: { mine: "x" } },
      spec: { taints: [{ key: "k", effect: "NoSchedule" }], podCIDR: "10.1.0.0/24" },
      status: { conditions: [{ type: "NetworkUnavailable", status: "False" }] },
    });
    const loop = createLoop();
    await loop.start();
    await clock.advance(1_000);
    const node = api.peek(NODES, ref);
    expect(node?.metadata.labels).toMatchObject({ mine: "x", "kubernetes.io/hostname": "n1" });
    expect(node?.spec).toEqual({
      taints: [{ key: "k", effect: "NoSchedule" }],
      podCIDR: "10.1.0.0/24",
    });
    expect(node?.status?.conditions?.map(({ type }) => type)).toContain("NetworkUnavailable");
    await loop.stop();
  });

  test("registers when the API server is there at last, and again when the Node was deleted", async () => {
    for (let i = 0; i < 5; i += 1) api.failNext("ApiUnreachable", { resource: "nodes" });
    const loop = createLoop();
    await loop.start();
    await clock.advance(10_000);
    expect(readyCondition()).toMatchObject({ status: "True" });
    api.remove(NODES, ref);
    await clock.advance(20_000);
    expect(readyCondition()).toMatchObject({ status: "True" });
    await loop.stop();
  });
});
