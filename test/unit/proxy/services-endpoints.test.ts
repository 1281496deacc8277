import { describe, expect, test } from "vitest";
import type { EndpointSlice, Service } from "../../../src/api/types.ts";
import { computeEndpoints, selectEndpoints } from "../../../src/proxy/endpoints.ts";
import { computeServicePorts } from "../../../src/proxy/services.ts";
import { makeService, makeSlice } from "../../builders/services.ts";

type Spec = Partial<NonNullable<Service["spec"]>>;

const base = (spec: Spec = {}) => makeService({ name: "web", clusterIp: "172.30.0.1", spec });
const portsOf = (service: Service) => [...computeServicePorts([service], "IPv4").values()];
const endpointsOf = (slices: readonly EndpointSlice[]) =>
  computeEndpoints(slices, "IPv4", "this-node");

describe("a Service is not the proxy's business when", () => {
  test.each<[string, Spec]>([
    ["it is headless", { clusterIP: "None", clusterIPs: ["None"] }],
    ["it has no address", { clusterIP: "", clusterIPs: [] }],
    ["it is an ExternalName, even with an address left over", { type: "ExternalName" }],
    [
      "it is of the other family",
      { ipFamilies: ["IPv6"], clusterIPs: ["fd00::1"], clusterIP: "fd00::1" },
    ],
  ])("%s", (_, spec) => {
    expect(portsOf(base(spec))).toEqual([]);
  });

  test("another proxy is named on it", () => {
    const service = base();
    const labels = { "service.kubernetes.io/service-proxy-name": "other" };
    expect(portsOf({ ...service, metadata: { ...service.metadata, labels } })).toEqual([]);
  });
});

describe("fields of a Service port", () => {
  test.each<[string, Spec, object]>([
    [
      "addresses are written canonically",
      { clusterIPs: ["172.030.000.001"] },
      { clusterIp: "172.30.0.1" },
    ],
    [
      "affinity has the API's default time",
      { sessionAffinity: "ClientIP" },
      { affinitySeconds: 10_800 },
    ],
    [
      "external addresses of the other family are left out",
      { externalIPs: ["1.2.3.4", "::1"] },
      { externalIps: ["1.2.3.4"] },
    ],
    [
      "a range of everything keeps nobody out",
      { loadBalancerSourceRanges: ["10.0.0.0/8", "0.0.0.0/0"] },
      { sourceRanges: [] },
    ],
    [
      "ranges are trimmed",
      { loadBalancerSourceRanges: [" 10.0.0.0/8 "] },
      { sourceRanges: ["10.0.0.0/8"] },
    ],
    [
      "a health check port needs a local LoadBalancer",
      { healthCheckNodePort: 3000, type: "NodePort", externalTrafficPolicy: "Local" },
      { healthCheckNodePort: 0 },
    ],
    [
      "a ClusterIP without external address has no external policy",
      { externalTrafficPolicy: "Local" },
      { externalPolicyLocal: false },
    ],
  ])("%s", (_, spec, expected) => {
    expect(portsOf(base(spec))).toMatchObject([expected]);
  });
});

describe("endpoints", () => {
  const targets = (...slices: EndpointSlice[]) =>
    endpointsOf(slices)
      .get("default/web/tcp")
      ?.map((e) => e.target);
  const slice = (name: string, ips: readonly string[], terminating = false) =>
    makeSlice({
      service: "web",
      name,
      ips,
      port: 80,
      conditions: { ready: !terminating, serving: true, terminating },
    });

  test("are merged over slices and sorted as text", () => {
    expect(targets(slice("b", ["10.0.1.2"]), slice("a", ["10.0.1.10"]))).toEqual([
      "10.0.1.10:80",
      "10.0.1.2:80",
    ]);
  });

  test("of a headless slice or another address type are none", () => {
    const one = slice("a", ["10.0.1.2"]);
    const labels = { ...one.metadata.labels, "service.kubernetes.io/headless": "" };
    expect(targets({ ...one, metadata: { ...one.metadata, labels } })).toBeUndefined();
    expect(targets({ ...one, addressType: "FQDN" })).toBeUndefined();
  });

  test.each([
    ["a", "b"],
    ["b", "a"],
  ])(
    "an address seen twice, ending in slice %s and ready in %s, is the ready one",
    (ending, ready) => {
      const slices = [slice(ending, ["10.0.1.2"], true), slice(ready, ["10.0.1.2"])];
      const merged = endpointsOf(slices).get("default/web/tcp");
      expect(merged).toMatchObject([{ isTerminating: false }]);
    },
  );

  test.each<[string, readonly ({ zone?: string; node?: string } | undefined)[], string]>([
    ["no hints: all", [undefined, undefined], "1,2"],
    ["zones: those that name ours", [{ zone: "z1" }, { zone: "z2" }], "1"],
    ["one without a hint: all", [{ zone: "z1" }, undefined], "1,2"],
    ["no zone is ours: all", [{ zone: "z8" }, { zone: "z9" }], "1,2"],
    [
      "nodes win over zones",
      [
        { zone: "z1", node: "other" },
        { zone: "z2", node: "this-node" },
      ],
      "2",
    ],
  ])("topology, %s", (_, hints, expected) => {
    const plain = slice("a", ["10.0.1.1", "10.0.1.2"]);
    const endpoints = (plain.endpoints ?? []).map((endpoint, i) => {
      const { zone, node } = hints[i] ?? {};
      const forZones = zone === undefined ? [] : [{ name: zone }];
      const forNodes = node === undefined ? [] : [{ name: node }];
      return { ...endpoint, hints: { forZones, forNodes } };
    });
    const all = endpointsOf([{ ...plain, endpoints }]);
    const [port] = portsOf(base());
    if (port === undefined) throw new Error("no port");
    const place = { nodeName: "this-node", zone: "z1" };
    const { cluster } = selectEndpoints(port, all.get("default/web/tcp") ?? [], place);
    expect(cluster.map((e) => e.ip.slice(-1)).join()).toBe(expected);
  });
});
