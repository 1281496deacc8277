/** Node status, its patch, the machine's facts, registration: all pure. */

import { describe, expect, test } from "vitest";
import type { Node, NodeStatus } from "../../../src/api/types.ts";
import { kubeletVersion } from "../../../src/core/version.ts";
import { parseCpuCount, parseHugePageSize, parseMemTotal } from "../../../src/node/capacity.ts";
import type { HostReader } from "../../../src/node/host.ts";
import { findUplinkMtu, parseDefaultInterface, parseOsImage } from "../../../src/node/node-info.ts";
import {
  computeAllocatable,
  computePodsShare,
  formatBinary,
  formatCpu,
  type Reservations,
} from "../../../src/node/quantities.ts";
import { computeLabelPatch, computeNode } from "../../../src/node/register.ts";
import {
  computeNodeStatus,
  computeTransitionEvents,
  type NodeStatusInput,
} from "../../../src/node/status.ts";
import { computeStatusPatch, isStatusChanged } from "../../../src/node/status-patch.ts";

const MI = 1024 ** 2;
const capacity = {
  ...{ cpuMillis: 2000, memoryBytes: 1024 * MI, ephemeralStorageBytes: 1000 * 1024, pods: 110 },
  hugePages: { "2Mi": 0 },
};
const NOTHING: Reservations = { systemReserved: {}, kubeReserved: {}, evictionHard: {} };

const input: NodeStatusInput = {
  now: "2026-01-01T00:00:10Z",
  hostname: "n1",
  nodeIps: ["10.0.0.1"],
  capacity,
  allocatable: { ...capacity, memoryBytes: 924 * MI, ephemeralStorageBytes: 900 * 1024 },
  nodeInfo: { bootID: "b", kubeletVersion: "v1.36.0+longshore.0.1.0" } as NonNullable<
    NodeStatus["nodeInfo"]
  >,
  images: [],
  handlers: [{ name: "", recursiveReadOnlyMounts: true }],
  maxImages: 50,
  kubeletPort: 10250,
  problems: [],
  declaredFeatures: [],
  previous: {},
};

function readyOf(status: NodeStatus): object | undefined {
  return status.conditions?.find(({ type }) => type === "Ready");
}

describe("computeNodeStatus", () => {
  test("has the kubelet's capacity, allocatable and addresses", () => {
    expect(computeNodeStatus(input)).toMatchObject({
      capacity: { cpu: "2", memory: "1Gi", pods: "110", "ephemeral-storage": "1000Ki" },
      allocatable: { memory: "924Mi", "ephemeral-storage": "900Ki", "hugepages-2Mi": "0" },
      addresses: [
        { type: "InternalIP", address: "10.0.0.1" },
        { type: "Hostname", address: "n1" },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
      features: { supplementalGroupsPolicy: true },
      runtimeHandlers: [
        { name: "", features: { recursiveReadOnlyMounts: true, userNamespaces: false } },
      ],
    });
  });

  test.each([
    [[], "True", "KubeletReady", "kubelet is posting ready status"],
    [["a"], "False", "KubeletNotReady", "a"],
    [["a", "b"], "False", "KubeletNotReady", "[a, b]"],
  ])("with problems %j", (problems, status, reason, message) => {
    const ready = readyOf(computeNodeStatus({ ...input, problems }));
    expect(ready).toMatchObject({ status, reason, message });
  });

  test.each([
    ["True", "2025-01-01T00:00:00Z"],
    ["False", "2026-01-01T00:00:10Z"],
  ])("keeps the transition time while the status stays: before %s", (status, time) => {
    const before = { type: "Ready", status, lastTransitionTime: "2025-01-01T00:00:00Z" };
    const next = computeNodeStatus({
      ...input,
      previous: { conditions: [before as NonNullable<NodeStatus["conditions"]>[number]] },
    });
    expect(readyOf(next)).toMatchObject({
      lastTransitionTime: time,
      lastHeartbeatTime: "2026-01-01T00:00:10Z",
    });
  });

  test("lists the 50 largest images with at most 5 names", () => {
    const images = Array.from({ length: 60 }, (_, index) => ({
      id: `${index}`,
      tags: ["a", "b", "c", "d", "e"].map((tag) => `${tag}:${index}`),
      digests: [`r@${index}`],
      sizeBytes: index,
      user: "",
    }));
    const status = computeNodeStatus({ ...input, images });
    expect(status.images?.length).toBe(50);
    const countOf = (maxImages: number): number | undefined =>
      computeNodeStatus({ ...input, images, maxImages }).images?.length;
    expect([countOf(3), countOf(0), countOf(-1)]).toEqual([3, 0, 60]);
    expect(status.images?.[0]).toEqual({
      names: ["r@59", "a:59", "b:59", "c:59", "d:59"],
      sizeBytes: 59,
    });
  });
});

describe("the status patch", () => {
  const next = computeNodeStatus(input);

  test("is not needed for a heartbeat alone", () => {
    const later = computeNodeStatus({ ...input, now: "2026-01-01T00:00:20Z", previous: next });
    expect(isStatusChanged(next, later)).toBe(false);
  });

  test("leaves the conditions and resources of others alone", () => {
    const foreign = {
      ...next,
      conditions: [
        ...(next.conditions ?? []),
        { type: "NetworkUnavailable", status: "False" as const },
      ],
      capacity: { ...next.capacity, "example.com/gpu": "1" },
    };
    expect(isStatusChanged(foreign, next)).toBe(false);
    expect(JSON.stringify(computeStatusPatch(foreign, next))).not.toMatch(/gpu|NetworkUnavail/);
  });

  test.each([
    ["readiness", { ...input, problems: ["x"] }],
    ["a capacity", { ...input, capacity: { ...input.capacity, pods: 5 } }],
    ["an address", { ...input, nodeIps: ["10.0.0.2"] }],
    ["a feature", { ...input, declaredFeatures: ["X"] }],
  ])("is needed when %s changes", (_what, changed) => {
    expect(isStatusChanged(next, computeNodeStatus(changed))).toBe(true);
  });

  test("removes huge page sizes that are gone", () => {
    const before = { ...next, capacity: { ...next.capacity, "hugepages-1Gi": "0" } };
    expect(isStatusChanged(before, next)).toBe(true);
    expect(computeStatusPatch(before, next)).toMatchObject({
      status: { capacity: { "hugepages-1Gi": null, "hugepages-2Mi": "0" } },
    });
  });

  test("replaces the addresses when merging by type would lose one", () => {
    const dual = computeNodeStatus({ ...input, nodeIps: ["10.0.0.1", "fd00::1"] });
    const { addresses } = computeStatusPatch(next, dual).status as { addresses: object[] };
    expect(addresses.at(-1)).toEqual({ $patch: "replace" });
    expect(computeStatusPatch(next, next)).toMatchObject({ status: { addresses: next.addresses } });
  });

  test("tells which conditions changed", () => {
    expect(computeTransitionEvents({}, next)).toEqual([
      "NodeHasSufficientMemory",
      "NodeHasNoDiskPressure",
      "NodeHasSufficientPID",
      "NodeReady",
    ]);
    const unready = computeNodeStatus({ ...input, problems: ["x"] });
    expect(computeTransitionEvents(next, unready)).toEqual(["NodeNotReady"]);
  });
});

describe("the machine's facts", () => {
  test.each([
    [0, "0"],
    [1024, "1Ki"],
    [1025, "1025"],
    [8_039_940 * 1024, "8039940Ki"],
    [1024 ** 3, "1Gi"],
  ])("%i bytes are %s", (bytes, text) => {
    expect(formatBinary(bytes)).toBe(text);
  });

  test("are parsed from what the kernel and the distribution write", () => {
    expect(formatCpu(1500)).toBe("1500m");
    expect(parseMemTotal("MemTotal:       16 kB\nMemFree: 1 kB\n")).toBe(16_384);
    expect(parseCpuCount("processor\t: 0\nmodel\t: x\nprocessor\t: 1\n")).toBe(2);
    expect(parseHugePageSize("hugepages-2048kB")).toBe(2 * 1024 ** 2);
    expect(parseOsImage('NAME=x\nPRETTY_NAME="Debian 13"\n')).toBe("Debian 13");
    expect(parseOsImage("")).toBe("Linux");
    expect(kubeletVersion("0.1.0")).toMatch(/^v\d+\.\d+\.\d+\+[0-9A-Za-z.-]+$/);
    const head = "Iface Destination Gateway Flags RefCnt Use Metric Mask\n";
    const routes = `${head}eth1 00000000 0 3 0 0 200 00000000\neth0 00000000 0 3 0 0 100 00000000\n`;
    expect(parseDefaultInterface(routes)).toBe("eth0");
    expect(parseDefaultInterface(head)).toBeUndefined();
  });

  test("huge pages are no ordinary memory", () => {
    const huge = { ...capacity, hugePages: { "2Mi": 100 * MI } };
    expect(computeAllocatable(huge, NOTHING).memoryBytes).toBe(924 * MI);
  });

  test("what is reserved is neither for pods to request nor, but for the margin of eviction, to use", () => {
    const reservations: Reservations = {
      systemReserved: { cpu: 300, memory: 100 * MI, "ephemeral-storage": 1024 },
      kubeReserved: { cpu: 200, memory: 24 * MI },
      evictionHard: {
        "memory.available": { bytes: 100 * MI },
        "nodefs.available": { fraction: 0.1 },
      },
    };
    expect(computePodsShare(capacity, reservations)).toMatchObject({
      ...{ cpuMillis: 1500, memoryBytes: 900 * MI, ephemeralStorageBytes: 999 * 1024 },
    });
    expect(computeAllocatable(capacity, reservations)).toEqual({
      ...{ cpuMillis: 1500, memoryBytes: 800 * MI, ephemeralStorageBytes: 899 * 1024 },
      ...{ pods: 110, hugePages: { "2Mi": 0 } },
    });
    const tooMuch = { ...NOTHING, systemReserved: { cpu: 9000, memory: 9000 * MI } };
    expect(computeAllocatable(capacity, tooMuch)).toMatchObject({ cpuMillis: 0, memoryBytes: 0 });
  });
});

describe("the Node object", () => {
  const labels = { "kubernetes.io/os": "linux" };

  test("is made with the default labels winning", () => {
    const node = computeNode({
      nodeName: "n1",
      architecture: "amd64",
      labels: { zone: "a", "kubernetes.io/os": "windows" },
      taints: [],
      providerID: "cloud://1",
    });
    expect(node).toMatchObject({
      metadata: {
        name: "n1",
        labels: {
          zone: "a",
          "kubernetes.io/os": "linux",
          "kubernetes.io/arch": "amd64",
          "kubernetes.io/hostname": "n1",
        },
      },
      spec: { providerID: "cloud://1" },
    });
  });

  test.each([
    [{ "kubernetes.io/os": "linux", other: "x" }, undefined],
    [{ other: "x" }, { metadata: { labels } }],
    [{ "kubernetes.io/os": "windows" }, { metadata: { labels } }],
  ])("with labels %j is patched only where it is wrong", (present, patch) => {
    const node = { metadata: { name: "n1", labels: present } } as unknown as Node;
    expect(computeLabelPatch(node, labels)).toEqual(patch);
  });
});

describe("the uplink's MTU", () => {
  const host = {
    interfaces: () => ({
      lo: ["127.0.0.1", "192.0.2.9"],
      eth0: ["192.0.2.1"],
      eth1: ["192.0.2.2", "fd00::2"],
    }),
    readText: async (path: string) => (path === "/sys/class/net/eth1/mtu" ? "8951\n" : undefined),
  } as unknown as HostReader;

  test.each([
    ["is that of the interface with the node's address", ["fd00::2"], 8951],
    ["is not known when the kernel does not tell", ["192.0.2.1"], undefined],
    ["is not known when the address is none of the host's", ["203.0.113.1"], undefined],
    ["is never that of the loopback device", ["192.0.2.9"], undefined],
  ])("%s", async (_, nodeIps, expected) => {
    expect(await findUplinkMtu(host, nodeIps)).toBe(expected);
  });
});
