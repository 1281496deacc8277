import { describe, expect, test } from "vitest";
import { computeProxyConfig, splitConfig } from "../../../src/cli/proxy-config.ts";
import { computeConfigz } from "../../../src/proxy/configz.ts";

const HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
const AGENT = "apiVersion: longshore.dev/v1alpha1\nkind: AgentConfiguration\n";

function compute(yaml: string, flags: object = {}, file: object = {}) {
  const document = splitConfig(yaml === "" ? "" : HEAD + yaml, "/etc/c.yaml").proxy;
  return computeProxyConfig({ flags: { ...flags }, file: { ...file }, document }).proxy;
}

/** What kubeadm writes: everything, zero values included. */
const KUBEADM = `
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
logging:
  flushFrequency: 0
  verbosity: 0
metricsBindAddress: ""
mode: ""
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  networkName: ""
`;

describe("the proxy's configuration", () => {
  test("defaults to kube-proxy 1.36's values", () => {
    expect(compute("")).toEqual({
      masqueradeAll: false,
      masqueradeBit: 14,
      localhostNodePorts: true,
      syncPeriodMs: 30_000,
      minSyncPeriodMs: 1000,
      detectLocalMode: "ClusterCIDR",
      clusterCidrs: [],
      bridgeInterface: "",
      interfaceNamePrefix: "",
      nodePortAddresses: [],
      healthzBindAddress: { host: "0.0.0.0", port: 10_256 },
      metricsBindAddress: { host: "127.0.0.1", port: 10_249 },
      bindAddressHardFail: false,
      conntrack: {
        maxPerCore: 32_768,
        min: 131_072,
        tcpBeLiberal: false,
        tcpEstablishedTimeoutMs: 86_400_000,
        tcpCloseWaitTimeoutMs: 3_600_000,
        udpTimeoutMs: 0,
        udpStreamTimeoutMs: 0,
      },
    });
  });

  test("of kubeadm is the defaults with its cluster CIDR, its credentials and one warning", () => {
    const { proxy, agent } = splitConfig(HEAD + KUBEADM, "/c");
    expect(agent).toBeUndefined();
    expect(proxy.warnings).toEqual([
      "KubeProxyConfiguration field bindAddress has no effect: the node's address is --node-ip",
    ]);
    const result = computeProxyConfig({ flags: {}, file: {}, document: proxy });
    expect(result.proxy).toEqual({ ...compute(""), clusterCidrs: ["10.244.0.0/16"] });
    expect(result.kubeconfig).toBe("/var/lib/kube-proxy/kubeconfig.conf");
  });

  test("takes a flag before the agent's document, and that before kube-proxy's", () => {
    const yaml = "iptables: { masqueradeBit: 3, syncPeriod: 1m30s, masqueradeAll: true }";
    expect(compute(yaml)).toMatchObject({ masqueradeBit: 3, syncPeriodMs: 90_000 });
    const file = { iptablesSyncPeriod: "20s" };
    expect(compute(yaml, {}, file).syncPeriodMs).toBe(20_000);
    const flags = { iptablesSyncPeriod: "10s", masqueradeAll: "false" };
    expect(compute(yaml, flags, file)).toMatchObject({
      syncPeriodMs: 10_000,
      masqueradeAll: false,
    });
  });

  test.each([
    [
      "localhostNodePorts: false",
      "iptables: { localhostNodePorts: false }",
      { localhostNodePorts: false },
    ],
    [
      "both cluster CIDRs",
      "clusterCIDR: 10.0.0.0/8,fd00::/8",
      { clusterCidrs: ["10.0.0.0/8", "fd00::/8"] },
    ],
    ["primary", "nodePortAddresses: [primary]", { nodePortAddresses: ["primary"] }],
    [
      "an address without port",
      "healthzBindAddress: 127.0.0.1",
      { healthzBindAddress: { host: "127.0.0.1", port: 10_256 } },
    ],
    [
      "an IPv6 address with port",
      "metricsBindAddress: '[::1]:9'",
      { metricsBindAddress: { host: "::1", port: 9 } },
    ],
    [
      "an IPv6 address without port",
      "metricsBindAddress: '::1'",
      { metricsBindAddress: { host: "::1", port: 10_249 } },
    ],
    [
      "a bridge",
      "detectLocalMode: BridgeInterface\ndetectLocal: { bridgeInterface: cbr0 }",
      { detectLocalMode: "BridgeInterface", bridgeInterface: "cbr0" },
    ],
  ])("reads %s", (_what, yaml, expected) => {
    expect(compute(yaml)).toMatchObject(expected);
  });

  test("an empty address by flag switches the port off", () => {
    expect(compute("", { metricsBindAddress: "" }).metricsBindAddress.port).toBe(0);
  });

  test.each([
    ["a bit beyond 31", "iptables: { masqueradeBit: 32 }", "iptables.masqueradeBit"],
    ["a period that is none", "iptables: { syncPeriod: soon }", "iptables.syncPeriod"],
    ["a mode of its own", "detectLocalMode: Guess", "detectLocalMode"],
    ["a CIDR that is none", "clusterCIDR: 10.0.0.0", "clusterCIDR[0]"],
    ["primary beside a CIDR", "nodePortAddresses: [primary, 10.0.0.0/8]", "nodeportAddresses"],
    ["a bridge without name", "detectLocalMode: BridgeInterface", "podBridgeInterface"],
    [
      "an interface that is an argument",
      "detectLocalMode: InterfaceNamePrefix\ndetectLocal: { interfaceNamePrefix: 'a -j DROP' }",
      "podInterfaceNamePrefix",
    ],
    ["a minimum above the period", "iptables: { minSyncPeriod: 1m }", "iptablesMinSyncPeriod"],
    ["a host that is a name", "healthzBindAddress: localhost:1", "healthzBindAddress"],
    ["a port out of range", "healthzBindAddress: 0.0.0.0:70000", "healthzBindAddress"],
    ["an object for a number", "conntrack: { min: [1] }", "conntrack.min"],
  ])("refuses %s and names the field", (_what, yaml, field) => {
    expect(() => compute(yaml)).toThrow(field);
  });

  test("warns of what has no effect, once each, with the reason", () => {
    const yaml =
      "mode: ipvs\nipvs: { scheduler: rr, strictARP: true }\niptabels: { masqueradeAll: true }\n";
    const mode = "has no effect: the proxy here has the one mode iptables";
    expect(splitConfig(HEAD + yaml, "/c").proxy.warnings).toEqual([
      `KubeProxyConfiguration field mode ${mode}`,
      `KubeProxyConfiguration field ipvs.scheduler ${mode}`,
      `KubeProxyConfiguration field ipvs.strictARP ${mode}`,
      "KubeProxyConfiguration field iptabels.masqueradeAll has no effect: kube-proxy 1.36 has no such field",
    ]);
  });

  test("is found beside the agent's document, in either order", () => {
    const proxy = `${HEAD}iptables: { masqueradeBit: 3 }\n`;
    for (const yaml of [
      `${AGENT}maxPods: 3\n---\n${proxy}`,
      `---\n${proxy}--- # next\n${AGENT}maxPods: 3\n`,
    ]) {
      const split = splitConfig(yaml, "/c");
      expect(split.agent?.trim()).toBe(`${AGENT}maxPods: 3`);
      expect(split.proxy.values).toEqual({ iptablesMasqueradeBit: 3 });
    }
  });

  test("twice, or of another version, is refused", () => {
    expect(() => splitConfig(`${HEAD}---\n${HEAD}`, "/c")).toThrow("2 KubeProxyConfiguration");
    expect(() => splitConfig("apiVersion: v9\nkind: KubeProxyConfiguration\n", "/c")).toThrow("v9");
  });

  test("that is not YAML is left to the reader of the rest, who says so", () => {
    const yaml = "kind: KubeProxyConfiguration\n\t- x: [";
    expect(splitConfig(yaml, "/c").agent).toBe(yaml);
  });
});

test("what /configz prints is read back as the same configuration", () => {
  for (const yaml of [
    "",
    "iptables: { masqueradeBit: 3, syncPeriod: 1m30s }\nmetricsBindAddress: '[::1]:9'",
  ]) {
    const config = compute(yaml);
    const { proxy } = splitConfig(JSON.stringify(computeConfigz(config)), "/configz");
    expect(proxy.warnings).toEqual([]);
    expect(computeProxyConfig({ flags: {}, file: {}, document: proxy }).proxy).toEqual(config);
  }
});
