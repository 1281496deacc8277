/**
 * Kubernetes' own packet-flow expectations (test/fixtures/packetflow-cases.json, taken from kube-proxy 1.36.2), traced
 * through the text that iptables-restore would get.
 */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { EndpointSlice, Service } from "../../../src/api/types.ts";
import { cidrContains, type Family, parseAddress, parseCidr } from "../../../src/core/ip.ts";
import { computeEndpoints } from "../../../src/proxy/endpoints.ts";
import { renderAll, renderRules } from "../../../src/proxy/render.ts";
import type { RuleSettings } from "../../../src/proxy/rule.ts";
import { computeRuleSet } from "../../../src/proxy/rules.ts";
import { computeServicePorts } from "../../../src/proxy/services.ts";
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

/** The interface addresses that nodePortAddresses select, as whoever reads the interfaces would. */
function nodePortIps({ config, ipFamily, nodeIPs }: Case): RuleSettings["nodePortIps"] {
  const ranges = config.nodePortAddresses
    .map(parseCidr)
    .filter((range) => range !== undefined && range.family === ipFamily)
    .filter((range) => range !== undefined);
  if (ranges.length === 0) return "all";
  return [...nodeIPs, "127.0.0.1", "::1"].filter((ip) => {
    const address = parseAddress(ip);
    return address !== undefined && ranges.some((range) => cidrContains(range, address));
  });
}

function textOf(scenario: Case): string {
  const { ipFamily: family, config, detectLocal } = scenario;
  const settings: RuleSettings = {
    family,
    nodeName: scenario.nodeName,
    ...(detectLocal.cidr === undefined ? {} : { clusterCidr: detectLocal.cidr }),
    masqueradeAll: config.masqueradeAll,
    masqueradeBit: config.masqueradeBit,
    randomFully: true,
    localhostNodePorts: config.localhostNodePorts,
    nodePortIps: nodePortIps(scenario),
    nodeIp: scenario.nodeIP,
    dropInvalid: true,
  };
  const rules = computeRuleSet(
    computeServicePorts(scenario.services, family),
    computeEndpoints(scenario.endpointSlices, family, scenario.nodeName),
    settings,
  );
  return renderAll(renderRules(rules));
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
