import { describe, expect, it } from "vitest";
import type { Pod, Service } from "../../../src/api/types.ts";
import {
  computeEndpointSlices,
  computeEndpoints,
} from "../../../src/controlplane/controllers/endpoints.ts";

const service = {
  apiVersion: "v1",
  kind: "Service",
  metadata: {
    name: "web",
    namespace: "default",
    uid: "svc-uid",
    resourceVersion: "1",
    labels: { team: "a" },
  },
  spec: {
    clusterIP: "10.96.0.9",
    selector: { app: "web" },
    ports: [{ name: "http", port: 80, targetPort: "http" }],
  },
} as Service;

function pod(name: string, change: { ip?: string; status?: object; meta?: object; spec?: object }) {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace: "default",
      uid: `uid-${name}`,
      resourceVersion: "1",
      labels: { app: "web" },
      ...change.meta,
    },
    spec: {
      nodeName: "n",
      containers: [{ name: "c", ports: [{ name: "http", containerPort: 8080 }] }],
      ...change.spec,
    },
    status: {
      phase: "Running",
      podIP: change.ip ?? "10.244.0.2",
      conditions: [{ type: "Ready", status: "True" }],
      ...change.status,
    },
  } as Pod;
}

const summary = (pods: readonly Pod[], svc = service) =>
  computeEndpointSlices(svc, pods).map((slice) => ({
    ports: slice.ports?.map((port) => port.port),
    endpoints: slice.endpoints?.map(({ addresses, conditions }) => [
      addresses[0],
      conditions?.ready,
      conditions?.serving,
      conditions?.terminating,
    ]),
  }));

const NOT_READY = { conditions: [{ type: "Ready", status: "False" }] };
const EMPTY = [{ ports: [], endpoints: [] }];
const one = (...endpoint: unknown[]) => [{ ports: [8080], endpoints: [endpoint] }];

describe("endpoint slices of a service", () => {
  it.each<[string, Parameters<typeof pod>[1], object, unknown]>([
    ["list a ready pod", {}, {}, one("10.244.0.2", true, true, false)],
    [
      "list a pod that is not ready as such",
      { status: NOT_READY },
      {},
      one("10.244.0.2", false, false, false),
    ],
    [
      "publish a pod that is not ready when told to",
      { status: NOT_READY },
      { publishNotReadyAddresses: true },
      one("10.244.0.2", true, false, false),
    ],
    [
      "keep a terminating pod that still serves",
      { meta: { deletionTimestamp: "2026-01-01T00:00:00Z" } },
      {},
      one("10.244.0.2", false, true, true),
    ],
    ["leave out a pod that failed", { status: { phase: "Failed" } }, {}, EMPTY],
    ["leave out a pod that succeeded", { status: { phase: "Succeeded" } }, {}, EMPTY],
    ["leave out a pod without an address", { status: { podIP: undefined } }, {}, EMPTY],
    ["leave out a pod of other labels", { meta: { labels: { app: "db" } } }, {}, EMPTY],
    ["leave out an IPv6 address of an IPv4 service", { ip: "fd00::2" }, {}, EMPTY],
    [
      "have no port where the pod has no such name",
      { spec: { containers: [{ name: "c" }] } },
      {},
      [{ ports: [], endpoints: [["10.244.0.2", true, true, false]] }],
    ],
    [
      "use a numeric target port",
      {},
      { ports: [{ port: 80, targetPort: 9000 }] },
      [{ ports: [9000], endpoints: [["10.244.0.2", true, true, false]] }],
    ],
    [
      "use the port itself without a target port",
      {},
      { ports: [{ port: 80 }] },
      [{ ports: [80], endpoints: [["10.244.0.2", true, true, false]] }],
    ],
  ])("%s", (_sentence, change, spec, expected) => {
    const changed = { ...service, spec: { ...service.spec, ...spec } } as Service;
    expect(summary([pod("a", change)], changed)).toEqual(expected);
  });

  it("split by what the named port is on each pod", () => {
    const other = { containers: [{ name: "c", ports: [{ name: "http", containerPort: 9090 }] }] };
    const pods = [pod("a", {}), pod("b", { ip: "10.244.0.3", spec: other })];
    expect(summary(pods)).toHaveLength(2);
  });

  it("hold at most a hundred endpoints each", () => {
    const pods = Array.from({ length: 101 }, (_, n) => pod(`p${n}`, { ip: `10.244.0.${n + 1}` }));
    const sizes = computeEndpointSlices(service, pods).map((slice) => slice.endpoints?.length);
    expect(sizes.toSorted()).toEqual([1, 100]);
  });

  it("carry the labels, the owner and the target that readers look for", () => {
    const headless = { ...service, spec: { ...service.spec, clusterIP: "None" } } as Service;
    const [slice] = computeEndpointSlices(headless, [pod("a", {})]);
    expect(slice?.metadata?.labels).toEqual({
      team: "a",
      "kubernetes.io/service-name": "web",
      "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
      "service.kubernetes.io/headless": "",
    });
    expect(slice?.metadata?.ownerReferences?.[0]).toMatchObject({
      kind: "Service",
      uid: "svc-uid",
    });
    expect(slice?.endpoints?.[0]).toMatchObject({
      nodeName: "n",
      targetRef: { kind: "Pod", namespace: "default", name: "a", uid: "uid-a" },
    });
  });

  it("are the same whatever the order of the pods", () => {
    const pods = [pod("a", {}), pod("b", { ip: "10.244.0.3" })];
    expect(computeEndpointSlices(service, pods)).toEqual(
      computeEndpointSlices(service, pods.toReversed()),
    );
  });
});

describe("legacy endpoints of a service", () => {
  it("tell ready from not ready addresses and leave out terminating pods", () => {
    const pods = [
      pod("a", {}),
      pod("b", { ip: "10.244.0.3", status: NOT_READY }),
      pod("c", { ip: "10.244.0.4", meta: { deletionTimestamp: "2026-01-01T00:00:00Z" } }),
    ];
    const { subsets } = computeEndpoints(service, pods);
    expect(subsets).toHaveLength(1);
    expect(subsets?.[0]?.addresses?.map((it) => it.ip)).toEqual(["10.244.0.2"]);
    expect(subsets?.[0]?.notReadyAddresses?.map((it) => it.ip)).toEqual(["10.244.0.3"]);
    expect(subsets?.[0]?.ports).toEqual([{ name: "http", port: 8080, protocol: "TCP" }]);
  });
});
