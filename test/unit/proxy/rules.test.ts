import { describe, expect, test } from "vitest";
import type { EndpointSlice, Service } from "../../../src/api/types.ts";
import { chainHash, endpointChain, serviceChain } from "../../../src/proxy/chains.ts";
import type { ProxyRulesOptions } from "../../../src/proxy/options.ts";
import { renderChange, renderRuleSet } from "../../../src/proxy/render.ts";
import { rule } from "../../../src/proxy/rule.ts";
import { computeFullChange } from "../../../src/proxy/rule-book.ts";
import { computeProxyRules } from "../../../src/proxy/rules.ts";
import { makeService, makeSlice, PROXIER_RULES } from "../../builders/services.ts";
import { parseRestore } from "../../support/iptables-parser.ts";
import { tracePacket } from "../../support/packet-tracer.ts";

const options: ProxyRulesOptions = {
  ...PROXIER_RULES,
  family: "IPv4",
  localhostNodePorts: true,
  randomFully: true,
};

function rulesOf(services: readonly Service[], endpointSlices: readonly EndpointSlice[]) {
  return computeProxyRules({ services, endpointSlices }, options).rules;
}

const ipsOf = (n: number) => Array.from({ length: n }, (_, i) => `10.180.0.${i + 1}`);

describe("names of chains", () => {
  test.each([
    ["ns1/svc1:p80tcp", "XPGD46QRK7WJZT7O"],
    ["ns1/svc1tcp", "AQI2S6QIMU7PVVRP"],
    ["default/kubernetes:httpstcp", "NPX46M4PTMTKRN6Y"],
    ["kube-system/kube-dns:dnsudp", "TCOU7JCQXEZGVUNU"],
    ["kube-system/kube-dns:dns-tcptcp", "ERIFXISQEP7F7OF4"],
  ])("the hash of %s is Kubernetes' own", (text, hash) => {
    expect(chainHash(text)).toBe(hash);
  });

  test("service and endpoint chains are Kubernetes' own", () => {
    expect(serviceChain("SVC", "ns1/svc1:p80", "tcp")).toBe("KUBE-SVC-XPGD46QRK7WJZT7O");
    expect(endpointChain("ns1/svc1:p80", "tcp", "10.180.0.1:80")).toBe("KUBE-SEP-SXIVWICOYRO3J4NJ");
    expect(endpointChain("ns1/svc1:p80", "tcp", "[fd00:10:180::1]:80")).toBe(
      "KUBE-SEP-OGYCNMB4EMRUSJ6N",
    );
  });
});

describe("numbers of rules", () => {
  const count = (services: readonly Service[], slices: readonly EndpointSlice[]) => {
    const { filter, nat } = rulesOf(services, slices);
    return { filter: [...filter.values()].flat().length, nat: [...nat.values()].flat().length };
  };
  const balanced = makeService({
    name: "lb",
    clusterIp: "172.30.0.2",
    spec: {
      type: "LoadBalancer",
      externalIPs: ["192.168.99.11"],
      loadBalancerSourceRanges: ["203.0.113.0/24"],
      ports: [{ protocol: "TCP", port: 80, nodePort: 3001 }],
    },
  });
  const withVip = { ...balanced, status: { loadBalancer: { ingress: [{ ip: "1.2.3.4" }] } } };
  const plain = makeService({ name: "web", clusterIp: "172.30.0.1" });
  const slice = (service: string, n: number) => makeSlice({ service, ips: ipsOf(n), port: 80 });

  // Kubernetes counts one more for the balancer: a copy of the NodePort rule that feeds an nfacct counter, which
  // Longshore does not have.
  test.each([
    { name: "nothing", services: [], slices: [], filter: 4, nat: 5 },
    { name: "no endpoints", services: [plain], slices: [], filter: 5, nat: 5 },
    { name: "one endpoint", services: [plain], slices: [slice("web", 1)], filter: 4, nat: 10 },
    { name: "ten endpoints", services: [plain], slices: [slice("web", 10)], filter: 4, nat: 37 },
    { name: "balancer, empty", services: [withVip], slices: [], filter: 8, nat: 5 },
    { name: "balancer, two", services: [withVip], slices: [slice("lb", 2)], filter: 5, nat: 20 },
  ])("$name: $filter filter and $nat nat rules", ({ services, slices, filter, nat }) => {
    expect(count(services, slices)).toEqual({ filter, nat });
  });
});

describe("text", () => {
  test("words with blanks are quoted, and quotes inside them survive", () => {
    expect(rule('a "b" \\c', ["-p", "tcp"], "-j", "X")).toBe(
      '-m comment --comment "a \\"b\\" \\\\c" -p tcp -j X',
    );
  });

  test("an IPv6 endpoint stands without quotes, as iptables-save prints it", () => {
    expect(rule(undefined, [], "--to-destination", "[fd00::1]:80")).toBe(
      "--to-destination [fd00::1]:80",
    );
  });

  test("chances of three endpoints are a third, a half and the rest", () => {
    const rules = rulesOf(
      [makeService({ name: "web", clusterIp: "172.30.0.1" })],
      [makeSlice({ service: "web", ips: ipsOf(3), port: 80 })],
    );
    const text = renderRuleSet(rules);
    expect(text.match(/probability (\S+)/g)).toEqual([
      "probability 0.3333333333",
      "probability 0.5000000000",
    ]);
  });

  test("a full text deletes service chains of former times, and no others", () => {
    const existing = ["KUBE-SVC-AAAAAAAAAAAAAAAA", "DOCKER", "KUBE-HOSTPORTS"];
    const change = computeFullChange(rulesOf([], []), { filter: [], nat: existing });
    const text = [...renderChange(change)].join("");
    expect(text.match(/^-X .*/gm)).toEqual(["-X KUBE-SVC-AAAAAAAAAAAAAAAA"]);
  });
});

describe("the tracer", () => {
  const web = makeService({ name: "web", clusterIp: "172.30.0.1" });
  const packet = {
    source: "10.9.9.9",
    destination: "172.30.0.1",
    port: 80,
    protocol: "tcp",
  } as const;
  const trace = (text: string) => tracePacket({ tables: parseRestore(text), nodeIps: [] }, packet);
  const good = renderRuleSet(
    rulesOf([web], [makeSlice({ service: "web", ips: ipsOf(2), port: 80 })]),
  );

  test("finds both endpoints, and sees when a rule is broken", () => {
    expect(trace(good).output).toEqual(["10.180.0.1:80", "10.180.0.2:80"]);
    expect(trace(good.replace("--dport 80 -j KUBE-SVC", "--dport 81 -j KUBE-SVC")).output).toBe(
      "ACCEPT unmodified",
    );
    expect(() => trace(good.replaceAll("--mode random", "--every 2"))).toThrow(/--every/);
    const last = /-A KUBE-SVC-\S+ -m comment --comment "[^"]*" -j KUBE-SEP-\S+\n/;
    expect(() => trace(good.replace(last, ""))).toThrow(/some ways/);
  });
});
