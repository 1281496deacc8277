/** What becomes of a packet, by table: one base of objects and options, and rows of {sentence, mutation, expectation}. */

import { describe, expect, test } from "vitest";
import type { EndpointSlice, Service } from "../../../src/api/types.ts";
import type { ProxyRulesOptions } from "../../../src/proxy/options.ts";
import { renderRuleSet } from "../../../src/proxy/render.ts";
import { computeProxyRules } from "../../../src/proxy/rules.ts";
import { makeService, makeSlice, PROXIER_RULES } from "../../builders/services.ts";
import { parseRestore } from "../../support/iptables-parser.ts";
import { type Packet, type Trace, tracePacket } from "../../support/packet-tracer.ts";

type Spec = NonNullable<Service["spec"]>;

const VIP = "198.51.100.9";
const EXTERNAL = "198.51.100.8";
const POD = "10.0.9.9";
const OUTSIDE = "203.0.113.7";
const LOCAL_ENDPOINT = "10.180.0.1:8080";
const REMOTE_ENDPOINT = "10.180.0.2:8080";
const BOTH = [LOCAL_ENDPOINT, REMOTE_ENDPOINT];

const base: ProxyRulesOptions = {
  ...PROXIER_RULES,
  family: "IPv4",
  nodeIp: "192.0.2.1",
  interfaceIps: ["127.0.0.1", "192.0.2.1", "192.0.3.1"],
  localhostNodePorts: true,
  randomFully: true,
};

interface Conditions {
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
}

interface World {
  readonly spec?: Partial<Spec>;
  readonly ingress?: object;
  /** Of the local and of the remote endpoint; `none` = it is not there. */
  readonly here?: Conditions | "none";
  readonly there?: Conditions | "none";
  readonly options?: Partial<ProxyRulesOptions>;
}

function objectsOf({ spec = {}, ingress = { ip: VIP }, here = {}, there = {} }: World) {
  const service = makeService({
    name: "web",
    clusterIp: "172.30.0.1",
    spec: {
      type: "LoadBalancer",
      externalIPs: [EXTERNAL],
      ports: [{ protocol: "TCP", port: 80, nodePort: 30_080 }],
      ...spec,
    },
  });
  const entries = [
    { ip: "10.180.0.1", nodeName: "this-node", conditions: here },
    { ip: "10.180.0.2", nodeName: "other-node", conditions: there },
  ].flatMap(({ ip, nodeName, conditions }) =>
    conditions === "none" ? [] : [{ addresses: [ip], nodeName, conditions }],
  );
  const slice: EndpointSlice = {
    ...makeSlice({ service: "web", ips: [], port: 8080 }),
    endpoints: entries,
  };
  const status = { loadBalancer: { ingress: [ingress] } };
  return { services: [{ ...service, status } as Service], endpointSlices: [slice] };
}

function trace(world: World, packet: Partial<Packet>): Trace {
  const { rules } = computeProxyRules(objectsOf(world), { ...base, ...world.options });
  const tables = parseRestore(renderRuleSet(rules));
  const whole = { source: POD, destination: "172.30.0.1", port: 80, protocol: "tcp", ...packet };
  return tracePacket({ tables, nodeIps: ["192.0.2.1", "192.0.3.1"] }, whole as Packet);
}

const NODE_PORT = { destination: "192.0.2.1", port: 30_080 } as const;
const TO_VIP = { destination: VIP } as const;
const draining: Conditions = { ready: false, serving: true, terminating: true };
const gone: Conditions = { ready: false, serving: false, terminating: true };

type Row = readonly [string, World, Partial<Packet>, Trace["output"], boolean];

function table(rows: readonly Row[]): void {
  test.each(rows)("%s", (_, world, packet, output, masq) => {
    expect(trace(world, packet)).toEqual({ output, masq });
  });
}

describe("terminating fall-back:", () => {
  const local: World = { spec: { type: "LoadBalancer", internalTrafficPolicy: "Local" } };
  table([
    [
      "a draining endpoint is not used beside a ready one",
      { here: draining },
      {},
      [REMOTE_ENDPOINT],
      false,
    ],
    [
      "draining ones are used when none is ready",
      { here: draining, there: draining },
      {},
      BOTH,
      false,
    ],
    [
      "one that serves no more is not",
      { here: draining, there: gone },
      {},
      [LOCAL_ENDPOINT],
      false,
    ],
    ["with none that serves it is refused", { here: gone, there: gone }, {}, "REJECT", false],
    [
      "iTP Local prefers the draining one here to ready ones there",
      { ...local, here: draining },
      {},
      [LOCAL_ENDPOINT],
      false,
    ],
    [
      "iTP Local with only draining ones there is dropped",
      { ...local, here: "none", there: draining },
      {},
      "DROP",
      false,
    ],
    [
      "not ready and not terminating is never used",
      { here: { ready: false }, there: { ready: false } },
      {},
      "REJECT",
      false,
    ],
  ]);
});

describe("source ranges", () => {
  const ranges = (...loadBalancerSourceRanges: string[]): World => ({
    spec: { loadBalancerSourceRanges },
  });
  table([
    ["admit who is inside", ranges("203.0.113.0/24"), { ...TO_VIP, source: OUTSIDE }, BOTH, true],
    ["keep others out", ranges("203.0.114.0/24"), { ...TO_VIP, source: OUTSIDE }, "DROP", false],
    ["keep pods out, too", ranges("203.0.113.0/24"), TO_VIP, "DROP", false],
    [
      "of the other family alone admit all",
      ranges("2001:db8::/32"),
      { ...TO_VIP, source: OUTSIDE },
      BOTH,
      true,
    ],
    [
      "of everything admit all",
      ranges("10.0.0.0/8", "0.0.0.0/0"),
      { ...TO_VIP, source: OUTSIDE },
      BOTH,
      true,
    ],
    [
      "say nothing about NodePorts",
      ranges("203.0.114.0/24"),
      { ...NODE_PORT, source: OUTSIDE },
      BOTH,
      true,
    ],
    [
      "say nothing about external addresses",
      ranges("203.0.114.0/24"),
      { destination: EXTERNAL, source: OUTSIDE },
      BOTH,
      true,
    ],
    [
      "that hold the node admit it under the load balancer's address",
      ranges("192.0.2.0/24"),
      { ...TO_VIP, source: VIP },
      BOTH,
      true,
    ],
    [
      "that do not hold the node do not",
      ranges("203.0.113.0/24"),
      { ...TO_VIP, source: VIP },
      "DROP",
      false,
    ],
    [
      "do not matter without endpoints: all are refused",
      { ...ranges("203.0.114.0/24"), here: "none", there: "none" },
      { ...TO_VIP, source: OUTSIDE },
      "REJECT",
      false,
    ],
    [
      "that nobody can read close the load balancer's address",
      ranges("203.0.113.0/99"),
      { ...TO_VIP, source: OUTSIDE },
      "ACCEPT unmodified",
      false,
    ],
  ]);
});

describe("addresses of load balancers", () => {
  table([
    ["are answered without ipMode", {}, { ...TO_VIP, source: OUTSIDE }, BOTH, true],
    [
      "are answered in mode VIP",
      { ingress: { ip: VIP, ipMode: "VIP" } },
      { ...TO_VIP, source: OUTSIDE },
      BOTH,
      true,
    ],
    [
      "are left alone in mode Proxy",
      { ingress: { ip: VIP, ipMode: "Proxy" } },
      { ...TO_VIP, source: OUTSIDE },
      "ACCEPT unmodified",
      false,
    ],
    [
      "may be names",
      { ingress: { hostname: "lb.example" } },
      { ...TO_VIP, source: OUTSIDE },
      "ACCEPT unmodified",
      false,
    ],
  ]);
});

describe("NodePorts", () => {
  const at = (...nodePortAddresses: string[]): World => ({ options: { nodePortAddresses } });
  const localhost = { destination: "127.0.0.1", port: 30_080, source: "127.0.0.1" } as const;
  const second = { destination: "192.0.3.1", port: 30_080, source: OUTSIDE } as const;
  table([
    ["are answered on every address", {}, second, BOTH, true],
    ["are answered on localhost", {}, localhost, BOTH, true],
    [
      "are not, when that is off",
      { options: { localhostNodePorts: false } },
      localhost,
      "ACCEPT unmodified",
      false,
    ],
    [
      "are answered inside of nodePortAddresses",
      at("192.0.2.0/24"),
      { ...NODE_PORT, source: OUTSIDE },
      BOTH,
      true,
    ],
    ["are not answered outside of them", at("192.0.2.0/24"), second, "ACCEPT unmodified", false],
    [
      "are answered on the primary address",
      at("primary"),
      { ...NODE_PORT, source: OUTSIDE },
      BOTH,
      true,
    ],
    ["are not answered on others then", at("primary"), second, "ACCEPT unmodified", false],
    [
      "without endpoints are refused everywhere",
      { ...at("primary"), here: "none", there: "none" },
      second,
      "REJECT",
      false,
    ],
  ]);
});

describe("a pod is known", () => {
  const detect = (detectLocal: ProxyRulesOptions["detectLocal"]): World => ({
    options: { detectLocal },
    spec: { externalTrafficPolicy: "Local" },
    here: "none",
  });
  const bridge = detect({ kind: "Interface", name: "cbr0" });
  const prefix = detect({ kind: "InterfacePrefix", prefix: "veth" });
  const REMOTE = [REMOTE_ENDPOINT];
  table([
    ["by its address", detect({ kind: "Cidr", cidr: "10.0.0.0/8" }), TO_VIP, REMOTE, false],
    ["by its bridge", bridge, { ...TO_VIP, interface: "cbr0" }, REMOTE, false],
    ["not by another one", bridge, { ...TO_VIP, interface: "cbr1" }, "DROP", false],
    ["by its interface's prefix", prefix, { ...TO_VIP, interface: "veth7" }, REMOTE, false],
    ["and not masqueraded to a cluster address", bridge, { interface: "cbr0" }, REMOTE, false],
    ["and others are, also the node", bridge, { source: "192.0.2.1" }, REMOTE, true],
    [
      "and so are all with masqueradeAll",
      { options: { masqueradeAll: true }, here: "none" },
      {},
      REMOTE,
      true,
    ],
    [
      "and without a way to tell nobody is",
      detect({ kind: "None" }),
      { source: OUTSIDE },
      REMOTE,
      false,
    ],
  ]);
});

describe("odd addresses", () => {
  const spec = { clusterIPs: ["172.030.000.001"], clusterIP: "172.030.000.001" };
  table([
    ["with leading zeros are understood", { spec }, {}, BOTH, false],
    [
      "in externalIPs leave the others alone",
      { spec: { externalIPs: ["1.2.3", EXTERNAL] } },
      { destination: EXTERNAL, source: OUTSIDE },
      BOTH,
      true,
    ],
    [
      "of the other family are not for this one",
      { spec: { externalIPs: ["2001:db8::8", EXTERNAL] } },
      { destination: EXTERNAL, source: OUTSIDE },
      BOTH,
      true,
    ],
  ]);
});

describe("dual stack", () => {
  const service = makeService({
    name: "web",
    clusterIp: "172.30.0.1",
    spec: { ipFamilies: ["IPv4", "IPv6"], clusterIPs: ["172.30.0.1", "fd00:30::1"] },
  });
  const slice4 = makeSlice({ service: "web", ips: ["10.180.0.1"], port: 8080 });
  const slice6: EndpointSlice = {
    ...makeSlice({ service: "web", name: "web-6", ips: ["fd00:180::1"], port: 8080 }),
    addressType: "IPv6",
  };
  const to = (family: "IPv4" | "IPv6", slices: readonly EndpointSlice[]) => {
    const options: ProxyRulesOptions = {
      ...base,
      family,
      detectLocal: { kind: "Cidr", cidr: family === "IPv4" ? "10.0.0.0/8" : "fd00:180::/32" },
    };
    const { rules } = computeProxyRules({ services: [service], endpointSlices: slices }, options);
    const tables = parseRestore(renderRuleSet(rules));
    const packet =
      family === "IPv4"
        ? { source: POD, destination: "172.30.0.1" }
        : { source: "fd00:180::9", destination: "fd00:30::1" };
    return tracePacket({ tables, nodeIps: [] }, { ...packet, port: 80, protocol: "tcp" }).output;
  };

  test("each family has its own address and endpoints", () => {
    expect(to("IPv4", [slice4, slice6])).toEqual([LOCAL_ENDPOINT]);
    expect(to("IPv6", [slice4, slice6])).toEqual(["[fd00:180::1]:8080"]);
  });

  test("endpoints of one family do not serve the other, which is refused", () => {
    expect(to("IPv6", [slice4])).toBe("REJECT");
  });
});

test("no Service takes another's cluster address, whatever their names", () => {
  const world = objectsOf({});
  const spec = { externalIPs: ["172.30.0.1"] };
  const thief = makeService({ name: "a-thief", clusterIp: "172.30.0.66", spec });
  const loot = makeSlice({ service: "a-thief", ips: ["10.180.0.66"], port: 8080 });
  const objects = {
    services: [thief, ...world.services],
    endpointSlices: [loot, ...world.endpointSlices],
  };
  const tables = parseRestore(renderRuleSet(computeProxyRules(objects, base).rules));
  const packet = { source: POD, destination: "172.30.0.1", port: 80, protocol: "tcp" } as const;
  expect(tracePacket({ tables, nodeIps: [] }, packet).output).toEqual(BOTH);
});

test("in a large cluster rules of endpoints have no comments, others keep theirs", () => {
  const services = Array.from({ length: 101 }, (_, n) =>
    makeService({ name: `web-${n}`, clusterIp: `172.30.0.${n}` }),
  );
  const endpointSlices = services.map(({ metadata }, n) =>
    makeSlice({
      service: metadata.name,
      ips: Array.from({ length: 10 }, (_, i) => `10.180.${n}.${i}`),
      port: 80,
    }),
  );
  const text = (count: number) =>
    renderRuleSet(
      computeProxyRules({ services: services.slice(0, count), endpointSlices }, base).rules,
    );
  expect(text(100)).toContain('--comment "default/web-0 -> 10.180.0.0:80"');
  expect(text(101)).not.toMatch(/-A KUBE-SEP-\S+ -m comment|->/);
  expect(text(101)).toContain('--comment "default/web-0 cluster IP"');
});
