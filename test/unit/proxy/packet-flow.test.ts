/**
 * Kubernetes' own packet-flow expectations (test/fixtures/packetflow-cases.json, taken from kube-proxy 1.36.2), traced
 * through the text that iptables-restore would get.
 */

import { describe, expect, test } from "vitest";
import type { EndpointSlice, Service } from "../../../src/api/types.ts";
import type { Family } from "../../../src/core/ip.ts";
import type { ProxyRulesOptions } from "../../../src/proxy/options.ts";
import { renderRuleSet } from "../../../src/proxy/render.ts";
import { computeProxyRules } from "../../../src/proxy/rules.ts";
import { makeService, makeSlice } from "../../builders/services.ts";
import { parseRestore, targetOf } from "../../support/iptables-parser.ts";
import { type Packet, tracePacket } from "../../support/packet-tracer.ts";
import { type Case, cases } from "../../support/packetflow.ts";

interface Objects {
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
}

function textOf(scenario: Case, others: Objects): string {
  const { detectLocal, nodeIP: nodeIp } = scenario;
  const options: ProxyRulesOptions = {
    ...scenario.config,
    family: scenario.ipFamily,
    nodeName: scenario.nodeName,
    nodeIp,
    interfaceIps: [...scenario.nodeIPs, "127.0.0.1", "::1"],
    detectLocal:
      detectLocal.cidr === undefined ? { kind: "None" } : { kind: "Cidr", cidr: detectLocal.cidr },
    randomFully: true,
    dropInvalid: true,
  };
  const objects: Objects = {
    services: [...scenario.services, ...others.services],
    endpointSlices: [...scenario.endpointSlices, ...others.endpointSlices],
  };
  return renderRuleSet(computeProxyRules(objects, options).rules);
}

const NOTHING: Objects = { services: [], endpointSlices: [] };

/** Enough Services, half of them with an endpoint, for every shared chain to be divided; no flow uses their addresses. */
function manyOthers(family: Family): Objects {
  const services = Array.from({ length: 200 }, (_, n) => {
    const ip = (net: number) => {
      const host = (n * 5) % 256;
      return family === "IPv4" ? `172.${net}.0.${host}` : `fd00:172:${net}::${host.toString(16)}`;
    };
    const service = makeService({
      name: `other-${n}`,
      clusterIp: ip(30 + (n % 2)),
      spec: {
        type: "LoadBalancer",
        ipFamilies: [family],
        externalIPs: [ip(50)],
        ...(n % 3 === 0 ? { externalTrafficPolicy: "Local", healthCheckNodePort: 20_000 + n } : {}),
        loadBalancerSourceRanges: [family === "IPv4" ? "203.0.113.0/25" : "2001:db8::/64"],
        ports: [{ protocol: "TCP", port: 9_000, nodePort: 10_000 + n }],
      },
    });
    return { ...service, status: { loadBalancer: { ingress: [{ ip: ip(60) }] } } };
  });
  const endpoint = family === "IPv4" ? "10.200.0.1" : "fd00:200::1";
  const endpointSlices = Array.from({ length: 100 }, (_, n) => ({
    ...makeSlice({ service: `other-${2 * n}`, ips: [endpoint], port: 9_000 }),
    addressType: family,
  }));
  return { services, endpointSlices };
}

test("every case of the fixture is here: none is skipped", () => {
  expect(cases.length).toBe(42);
  expect(cases.flatMap((scenario) => scenario.flows).length).toBe(239);
});

describe.each([
  { size: "alone", others: () => NOTHING },
  { size: "among many", others: manyOthers },
])("$size", ({ others }) => {
  describe.each(cases)("$name", (scenario) => {
    const text = textOf(scenario, others(scenario.ipFamily));
    const kernel = { tables: parseRestore(text), nodeIps: scenario.nodeIPs };

    test.each(scenario.flows)("$name", (flow) => {
      const trace = tracePacket(kernel, {
        source: flow.sourceIP,
        destination: flow.destIP,
        port: flow.destPort,
        protocol: flow.protocol.toLowerCase() as Packet["protocol"],
      });
      const { output, masq } = flow.expect;
      expect(trace).toEqual({
        output: typeof output === "string" ? output : [...output].sort(),
        masq,
      });
    });
  });
});

test("among many, every shared chain is divided", () => {
  const [scenario] = cases;
  if (scenario === undefined) throw new Error("no case");
  const tables = parseRestore(textOf(scenario, manyOthers(scenario.ipFamily)));
  const divided = (table: string) =>
    tables
      .get(table)
      ?.rules.flatMap(({ chain, words }) => (/\/\d+$/.test(targetOf(words) ?? "") ? chain : []));
  expect(divided("nat")).toEqual(expect.arrayContaining(["KUBE-SERVICES", "KUBE-NODEPORTS"]));
  expect(divided("filter")).toEqual(
    expect.arrayContaining([
      "KUBE-SERVICES",
      "KUBE-EXTERNAL-SERVICES",
      "KUBE-NODEPORTS",
      "KUBE-PROXY-FIREWALL",
    ]),
  );
});
