import { describe, expect, test } from "vitest";
import {
  computeDetectLocal,
  computeNodePortIps,
  type DetectLocalConfig,
  hasLocalhostNodePorts,
  type ProxyRulesOptions,
} from "../../../src/proxy/options.ts";
import { PROXIER_RULES } from "../../builders/services.ts";

describe("a pod's packet is known by", () => {
  const config: DetectLocalConfig = {
    mode: "ClusterCIDR",
    clusterCidrs: ["fd00:10::/64", "10.0.0.5/8", "11.0.0.0/8"],
    podCidrs: ["10.1.0.0/24"],
    bridgeInterface: "cbr0",
    interfaceNamePrefix: "veth",
  };
  test.each([
    ["the first range of the family", {}, "IPv4", { kind: "Cidr", cidr: "10.0.0.0/8" }],
    ["that of the other family", {}, "IPv6", { kind: "Cidr", cidr: "fd00:10::/64" }],
    ["this node's range", { mode: "NodeCIDR" }, "IPv4", { kind: "Cidr", cidr: "10.1.0.0/24" }],
    ["nothing without a range", { mode: "NodeCIDR" }, "IPv6", { kind: "None" }],
    ["its bridge", { mode: "BridgeInterface" }, "IPv4", { kind: "Interface", name: "cbr0" }],
    [
      "its interface's prefix",
      { mode: "InterfaceNamePrefix" },
      "IPv6",
      { kind: "InterfacePrefix", prefix: "veth" },
    ],
  ] as const)("%s", (_, change, family, expected) => {
    expect(computeDetectLocal({ ...config, ...change }, family)).toEqual(expected);
  });
});

describe("NodePorts are answered", () => {
  const base: ProxyRulesOptions = {
    ...PROXIER_RULES,
    family: "IPv4",
    nodeIp: "192.0.2.1",
    interfaceIps: ["127.0.0.1", "192.0.2.1", "198.51.100.7", "::1", "2001:db8::1"],
    localhostNodePorts: true,
    randomFully: true,
  };
  test.each<[string, Partial<ProxyRulesOptions>, unknown, boolean]>([
    ["everywhere by default", {}, "all", true],
    ["everywhere with a /0", { nodePortAddresses: ["10.0.0.0/8", "0.0.0.0/0"] }, "all", true],
    ["everywhere with the other family's", { nodePortAddresses: ["2001:db8::/32"] }, "all", true],
    ["in the ranges", { nodePortAddresses: ["192.0.0.0/8"] }, ["192.0.2.1"], false],
    ["on loopback, too", { nodePortAddresses: ["127.0.0.0/8"] }, ["127.0.0.1"], true],
    [
      "not on loopback when that is off",
      { nodePortAddresses: ["127.0.0.0/8"], localhostNodePorts: false },
      [],
      false,
    ],
    ["on the primary address", { nodePortAddresses: ["primary"] }, ["192.0.2.1"], false],
    [
      "nowhere when that is loopback",
      { nodePortAddresses: ["primary"], nodeIp: "127.0.0.1" },
      [],
      false,
    ],
    [
      "in IPv6 never on loopback",
      { nodePortAddresses: ["::/1", "2001:db8::/32"], family: "IPv6" },
      ["2001:db8::1"],
      false,
    ],
  ])("%s", (_, change, ips, onLocalhost) => {
    const options = { ...base, ...change };
    expect(computeNodePortIps(options)).toEqual(ips);
    expect(hasLocalhostNodePorts(options)).toBe(onLocalhost);
  });
});
