/** The cells of tables, kind by kind, as `kubectl get` shows them. */

import { describe, expect, it } from "vitest";
import { humanDuration } from "../../../src/controlplane/duration.ts";
import type { KubeObject } from "../../../src/controlplane/objects.ts";
import * as registry from "../../../src/controlplane/registry.ts";
import { computeTable, type IncludeObject } from "../../../src/controlplane/table.ts";

const NOW = Date.parse("2026-01-01T12:00:00Z");
const CREATED = "2026-01-01T11:59:00Z";

interface Table {
  readonly metadata: object;
  readonly columnDefinitions: readonly { readonly name: string; readonly priority: number }[];
  readonly rows: readonly {
    readonly cells: readonly unknown[];
    readonly conditions?: readonly { readonly reason: string }[];
    readonly object: unknown;
  }[];
}

function tableOf(
  type: registry.ResourceType,
  fields: object,
  include: IncludeObject = "Metadata",
): Table {
  const metadata = { name: "x", namespace: "default", creationTimestamp: CREATED };
  const object: KubeObject = { apiVersion: "v1", kind: type.kind, metadata, ...fields };
  return computeTable(type, [object], { resourceVersion: "7" }, NOW, include) as Table;
}

function cellsOf(type: registry.ResourceType, fields: object): readonly unknown[] {
  return tableOf(type, fields).rows[0]?.cells ?? [];
}

describe("an age", () => {
  const SECOND = 1000;
  const MINUTE = 60 * SECOND;
  const HOUR = 60 * MINUTE;
  const DAY = 24 * HOUR;
  const cases: readonly [number, string][] = [
    [-2 * SECOND, "<invalid>"],
    [-1 * SECOND, "0s"],
    [0, "0s"],
    [5 * SECOND, "5s"],
    [119 * SECOND, "119s"],
    [2 * MINUTE, "2m"],
    [2 * MINUTE + 3 * SECOND, "2m3s"],
    [10 * MINUTE + 3 * SECOND, "10m"],
    [61 * MINUTE, "61m"],
    [3 * HOUR, "3h"],
    [3 * HOUR + 5 * MINUTE, "3h5m"],
    [8 * HOUR + 5 * MINUTE, "8h"],
    [47 * HOUR, "47h"],
    [2 * DAY + 3 * HOUR, "2d3h"],
    [10 * DAY, "10d"],
    [729 * DAY, "729d"],
    [730 * DAY, "2y"],
    [735 * DAY, "2y5d"],
    [9 * 365 * DAY + DAY, "9y"],
  ];
  it.each(cases)("of %i ms is written as %s", (ms, text) => {
    expect(humanDuration(ms)).toBe(text);
  });
});

const running = { running: { startedAt: CREATED } };
const terminated = (fields: object) => ({ terminated: { exitCode: 1, ...fields } });
const waiting = (reason: string) => ({ waiting: { reason } });
const status = (name: string, state: object, more: object = {}) => ({
  name,
  state,
  ready: false,
  restartCount: 0,
  ...more,
});
const up = (name: string) => status(name, running, { ready: true });
const endedAgo = (seconds: number) => ({
  terminated: { exitCode: 1, finishedAt: new Date(NOW - seconds * 1000).toISOString() },
});

describe("the row of a pod", () => {
  const spec = { containers: [{ name: "a" }, { name: "b" }] };
  const initSpec = { ...spec, initContainers: [{ name: "i" }, { name: "j" }] };
  const sidecarSpec = {
    ...spec,
    initContainers: [{ name: "i", restartPolicy: "Always" }],
  };
  const init = (first: object) => ({
    spec: initSpec,
    status: {
      phase: "Pending",
      initContainerStatuses: [first, status("j", waiting("PodInitializing"))],
    },
  });
  const main = (...containerStatuses: object[]) => ({
    spec,
    status: { phase: "Running", containerStatuses },
  });
  const deleted = {
    name: "x",
    creationTimestamp: CREATED,
    deletionTimestamp: "2026-01-01T12:00:00Z",
  };

  const cases: readonly [string, object, string, string, string][] = [
    ["has its phase", { spec, status: { phase: "Pending" } }, "0/2", "Pending", "0"],
    ["has its reason", { status: { phase: "Failed", reason: "Evicted" } }, "0/0", "Evicted", "0"],
    [
      "is gated",
      {
        status: {
          phase: "Pending",
          conditions: [{ type: "PodScheduled", status: "False", reason: "SchedulingGated" }],
        },
      },
      "0/0",
      "SchedulingGated",
      "0",
    ],
    ["runs", main(up("a"), up("b")), "2/2", "Running", "0"],
    ["starts", init(status("i", running)), "0/2", "Init:0/2", "0"],
    ["has no init yet", init(status("i", waiting("PodInitializing"))), "0/2", "Init:0/2", "0"],
    [
      "is in its second init container",
      init(status("i", terminated({ exitCode: 0, reason: "Completed" }))),
      "0/2",
      "Init:1/2",
      "0",
    ],
    ["failed init", init(status("i", terminated({ reason: "Error" }))), "0/2", "Init:Error", "0"],
    ["failed init by code", init(status("i", terminated({}))), "0/2", "Init:ExitCode:1", "0"],
    [
      "failed init by signal",
      init(status("i", terminated({ signal: 9 }))),
      "0/2",
      "Init:Signal:9",
      "0",
    ],
    [
      "backs off in init",
      init(status("i", waiting("CrashLoopBackOff"), { restartCount: 2, lastState: endedAgo(10) })),
      "0/2",
      "Init:CrashLoopBackOff",
      "2 (10s ago)",
    ],
    [
      "is past init",
      main(status("a", waiting("PodInitializing")), status("b", waiting("PodInitializing"))),
      "0/2",
      "PodInitializing",
      "0",
    ],
    [
      "has the word of its first container",
      main(status("a", waiting("ImagePullBackOff")), status("b", waiting("ErrImagePull"))),
      "0/2",
      "ImagePullBackOff",
      "0",
    ],
    [
      "counts restarts and dates the last",
      main(
        status("a", running, { ready: true, restartCount: 1, lastState: endedAgo(3600) }),
        status("b", running, { ready: true, restartCount: 2, lastState: endedAgo(10) }),
      ),
      "2/2",
      "Running",
      "3 (10s ago)",
    ],
    ["ended with a code", main(up("a"), status("b", terminated({}))), "1/2", "ExitCode:1", "0"],
    [
      "ended by a signal",
      main(up("a"), status("b", terminated({ signal: 9 }))),
      "1/2",
      "Signal:9",
      "0",
    ],
    [
      "has one container completed and is not ready",
      main(up("a"), status("b", terminated({ exitCode: 0, reason: "Completed" }))),
      "1/2",
      "NotReady",
      "0",
    ],
    [
      "has one container completed and is ready",
      {
        spec,
        status: {
          phase: "Running",
          conditions: [{ type: "Ready", status: "True" }],
          containerStatuses: [
            up("a"),
            status("b", terminated({ exitCode: 0, reason: "Completed" })),
          ],
        },
      },
      "1/2",
      "Running",
      "0",
    ],
    [
      "counts a running sidecar",
      {
        spec: sidecarSpec,
        status: {
          phase: "Running",
          initContainerStatuses: [
            status("i", running, {
              started: true,
              ready: true,
              restartCount: 1,
              lastState: endedAgo(5),
            }),
          ],
          containerStatuses: [up("a"), up("b")],
        },
      },
      "3/3",
      "Running",
      "1 (5s ago)",
    ],
    ["is deleted", { ...main(up("a"), up("b")), metadata: deleted }, "2/2", "Terminating", "0"],
    [
      "is deleted after its end",
      { metadata: deleted, status: { phase: "Succeeded" } },
      "0/0",
      "Succeeded",
      "0",
    ],
    [
      "is deleted on a lost node",
      { metadata: deleted, status: { phase: "Running", reason: "NodeLost" } },
      "0/0",
      "Unknown",
      "0",
    ],
  ];
  it.each(cases)("of a pod that %s", (_name, fields, ready, word, restarts) => {
    expect(cellsOf(registry.PODS, fields).slice(0, 5)).toEqual(["x", ready, word, restarts, "60s"]);
  });

  it("has place, address and gates in the wide columns", () => {
    const gated = {
      spec: { nodeName: "n", readinessGates: [{ conditionType: "g" }, { conditionType: "h" }] },
      status: { podIPs: [{ ip: "10.0.0.1" }], conditions: [{ type: "g", status: "True" }] },
    };
    expect(cellsOf(registry.PODS, gated).slice(5)).toEqual(["10.0.0.1", "n", "<none>", "1/2"]);
  });

  it("says that a finished pod is completed", () => {
    const [row] = tableOf(registry.PODS, { status: { phase: "Failed" } }).rows;
    expect(row?.conditions?.[0]?.reason).toBe("Failed");
  });
});

describe("the row of", () => {
  const node = {
    metadata: {
      name: "x",
      creationTimestamp: CREATED,
      labels: { "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": "" },
    },
    spec: { unschedulable: true },
    status: {
      conditions: [{ type: "Ready", status: "True" }],
      addresses: [{ type: "InternalIP", address: "10.0.0.2" }],
      nodeInfo: { kubeletVersion: "v1.36.0", osImage: "Debian" },
    },
  };
  const service = (spec: object, more: object = {}) => ({
    spec: {
      type: "ClusterIP",
      clusterIPs: ["10.96.0.9"],
      ports: [{ port: 80, protocol: "TCP" }],
      ...spec,
    },
    ...more,
  });
  const balanced = { status: { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } } };
  const event = {
    type: "Normal",
    reason: "Pulled",
    message: "done\n",
    involvedObject: { kind: "Pod", name: "p", fieldPath: "spec.containers{a}" },
    source: { component: "kubelet", host: "n" },
    firstTimestamp: "2026-01-01T11:00:00Z",
    lastTimestamp: CREATED,
    count: 4,
  };
  const series = {
    type: "Normal",
    reason: "Pulled",
    involvedObject: { kind: "Node" },
    reportingComponent: "kubelet",
    reportingInstance: "n",
    eventTime: "2026-01-01T11:00:00.000000Z",
    series: { count: 9, lastObservedTime: "2026-01-01T11:59:58.000000Z" },
  };
  const fourIps = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::4"];

  const cases: readonly [string, registry.ResourceType, object, readonly unknown[]][] = [
    [
      "a node",
      registry.NODES,
      node,
      [
        "Ready,SchedulingDisabled",
        "control-plane,worker",
        "60s",
        "v1.36.0",
        "10.0.0.2",
        "<none>",
        "Debian",
        "<unknown>",
        "<unknown>",
      ],
    ],
    [
      "a node without a report",
      registry.NODES,
      {},
      ["Unknown", "<none>", "60s", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"],
    ],
    [
      "a service",
      registry.SERVICES,
      service({ selector: { b: "2", a: "1" } }),
      ["ClusterIP", "10.96.0.9", "<none>", "80/TCP", "60s", "a=1,b=2"],
    ],
    [
      "a NodePort service with external addresses",
      registry.SERVICES,
      service({
        type: "NodePort",
        externalIPs: ["192.0.2.7"],
        ports: [
          { port: 80, nodePort: 30080, protocol: "TCP" },
          { port: 53, protocol: "UDP" },
        ],
      }),
      ["NodePort", "10.96.0.9", "192.0.2.7", "80:30080/TCP,53/UDP", "60s", "<none>"],
    ],
    [
      "a load balancer that waits",
      registry.SERVICES,
      service({ type: "LoadBalancer" }),
      ["LoadBalancer", "10.96.0.9", "<pending>", "80/TCP", "60s", "<none>"],
    ],
    [
      "a load balancer that has its address",
      registry.SERVICES,
      service({ type: "LoadBalancer" }, balanced),
      ["LoadBalancer", "10.96.0.9", "192.0.2.1", "80/TCP", "60s", "<none>"],
    ],
    [
      "an external name",
      registry.SERVICES,
      { spec: { type: "ExternalName", externalName: "a.example" } },
      ["ExternalName", "<none>", "a.example", "<none>", "60s", "<none>"],
    ],
    ["endpoints without subsets", registry.ENDPOINTS, {}, ["<none>", "60s"]],
    [
      "endpoints, three at most",
      registry.ENDPOINTS,
      { subsets: [{ addresses: fourIps.map((ip) => ({ ip })), ports: [{ port: 80 }] }] },
      ["10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...", "60s"],
    ],
    [
      "endpoints in IPv6",
      registry.ENDPOINTS,
      { subsets: [{ addresses: [{ ip: "fd00::4" }], ports: [{ port: 80 }] }] },
      ["[fd00::4]:80", "60s"],
    ],
    [
      "an endpoint slice",
      registry.ENDPOINT_SLICES,
      { addressType: "IPv4", ports: [{ port: 80 }], endpoints: [{ addresses: ["10.0.0.1"] }] },
      ["IPv4", "80", "10.0.0.1", "60s"],
    ],
    [
      "an empty endpoint slice",
      registry.ENDPOINT_SLICES,
      { addressType: "IPv4" },
      ["IPv4", "<unset>", "<unset>", "60s"],
    ],
    ["a config map", registry.CONFIG_MAPS, { data: { a: "" }, binaryData: { b: "" } }, [2, "60s"]],
    ["a secret", registry.SECRETS, { type: "Opaque", data: { a: "" } }, ["Opaque", 1, "60s"]],
    ["a namespace", registry.NAMESPACES, { status: { phase: "Active" } }, ["Active", "60s"]],
    ["a service account", registry.SERVICE_ACCOUNTS, {}, [0, "60s"]],
    ["a lease", registry.LEASES, { spec: { holderIdentity: "n" } }, ["n", "60s"]],
  ];
  it.each(cases)("%s", (_name, type, fields, cells) => {
    expect(cellsOf(type, fields)).toEqual(["x", ...cells]);
  });

  it("an event", () => {
    expect(cellsOf(registry.EVENTS, event)).toEqual([
      "60s",
      "Normal",
      "Pulled",
      "pod/p",
      "spec.containers{a}",
      "kubelet, n",
      "done",
      "60m",
      4,
      "x",
    ]);
  });

  it("an event of the new API", () => {
    expect(cellsOf(registry.EVENTS, series)).toEqual([
      "2s",
      "Normal",
      "Pulled",
      "node",
      "",
      "kubelet, n",
      "",
      "60m",
      9,
      "x",
    ]);
  });

  it("claims and the volumes they are bound to", () => {
    const capacity = { storage: "2Gi" };
    const claim = {
      spec: { volumeName: "pv", storageClassName: "fast", volumeMode: "Filesystem" },
      status: { phase: "Bound", capacity, accessModes: ["ReadWriteOnce", "ReadOnlyMany"] },
    };
    expect(cellsOf(registry.PERSISTENT_VOLUME_CLAIMS, claim)).toEqual([
      ...["x", "Bound", "pv", "2Gi", "RWO,ROX", "fast", "<unset>"],
      ...[expect.any(String), "Filesystem"],
    ]);
    const volume = {
      spec: {
        ...{ capacity, accessModes: ["ReadWriteMany"], persistentVolumeReclaimPolicy: "Retain" },
        claimRef: { namespace: "d", name: "c" },
      },
      status: { phase: "Released" },
    };
    expect(cellsOf(registry.PERSISTENT_VOLUMES, volume)).toEqual([
      ...["x", "2Gi", "RWX", "Retain", "Released", "d/c", "", "<unset>", ""],
      ...[expect.any(String), "<unset>"],
    ]);
  });

  it("a kind without a table of its own", () => {
    const unknown = { ...registry.LEASES, plural: "widgets" };
    expect(cellsOf(unknown, {})).toEqual(["x", CREATED]);
  });
});

describe("a table", () => {
  it.each(registry.RESOURCE_TYPES)("of $plural has as many cells as columns", (type) => {
    const { columnDefinitions, rows } = tableOf(type, {});
    expect(rows[0]?.cells).toHaveLength(columnDefinitions.length);
  });

  it("carries the metadata of the list and of each object", () => {
    const table = tableOf(registry.PODS, {});
    expect(table.metadata).toEqual({ resourceVersion: "7" });
    expect(table.rows[0]?.object).toEqual({
      kind: "PartialObjectMetadata",
      apiVersion: "meta.k8s.io/v1",
      metadata: { name: "x", namespace: "default", creationTimestamp: CREATED },
    });
  });

  it("carries whole objects or none when asked so", () => {
    expect(tableOf(registry.PODS, {}, "None").rows[0]?.object).toBeNull();
    expect(tableOf(registry.PODS, {}, "Object").rows[0]?.object).toMatchObject({ kind: "Pod" });
  });
});
