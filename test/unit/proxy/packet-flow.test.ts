/**
 * Kubernetes' own packet-flow expectations (test/fixtures/packetflow-cases.json, taken from kube-proxy 1.36.2), traced
 * through the text that iptables-restore would get.
 */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { EndpointSlice, Service } from "../../../src/api/types.ts";
import type { Family } from "../../../src/core/ip.ts";
import type { ProxyRulesOptions } from "../../../src/proxy/options.ts";
import { renderRuleSet } from "../../../src/proxy/render.ts";
import { computeProxyRules } from "../../../src/proxy/rules.ts";
import { parseRestore } from "../../support/iptables-parser.ts";
import { type Packet, tracePacket } from "../../support/packet-tracer.ts";

interface Flow {
  readonly name: string;
  readonly sourceIP: string;
  readonly destIP: string;
  readonly destPort: number;
  readonly protocol: string;
  readonly expect: { readonly output: string | readonly string[]; readonly masq: boolean };
}

interface Case {
  readonly name: string;
  readonly ipFamily: Family;
  readonly nodeName: string;
  readonly nodeIP: string;
  readonly nodeIPs: readonly string[];
  readonly detectLocal: { readonly mode: string; readonly cidr?: string };
  readonly config: {
    readonly masqueradeAll: boolean;
    readonly localhostNodePorts: boolean;
    readonly nodePortAddresses: readonly string[];
    readonly masqueradeBit: number;
  };
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly flows: readonly Flow[];
}

const FIXTURE = new URL("../../fixtures/packetflow-cases.json", import.meta.url);
const { cases } = JSON.parse(readFileSync(FIXTURE, "utf8")) as { readonly cases: readonly Case[] };

function textOf(scenario: Case): string {
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
  return renderRuleSet(computeProxyRules(scenario, options).rules);
}

test("every case of the fixture is here: none is skipped", () => {
  expect(cases.length).toBe(42);
  expect(cases.flatMap((scenario) => scenario.flows).length).toBe(239);
});

describe.each(cases)("$name", (scenario) => {
  const kernel = { tables: parseRestore(textOf(scenario)), nodeIps: scenario.nodeIPs };

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
