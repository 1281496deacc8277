/**
 * Kubernetes' packet-flow expectations (test/fixtures/packetflow-cases.json) for tests of the product's tracer: the
 * cases, their rules as text and as a kernel lists them, and what each flow must come to. The rules themselves are held to
 * the same cases by a tracer of the tests' own (packet-tracer.ts), so that no mistake is made twice.
 */

import { readFileSync } from "node:fs";
import { expect } from "vitest";
import type { EndpointSlice, Service } from "../../src/api/types.ts";
import { readProxyConfig } from "../../src/cli/proxy-config.ts";
import { renderObjects } from "../../src/cli/proxy-render.ts";
import type { Family } from "../../src/core/ip.ts";
import { type Jump, jumpArgs } from "../../src/core/iptables.ts";
import { FIREWALL_JUMPS, JUMPS } from "../../src/proxy/chains.ts";
import { readObjects } from "../../src/proxy/read-objects.ts";
import { parseSavedRules } from "../../src/proxy/trace/saved-rules.ts";
import { type Kernel, type Packet, tracePacket } from "../../src/proxy/trace/tracer.ts";

export interface Flow {
  readonly name: string;
  readonly sourceIP: string;
  readonly destIP: string;
  readonly destPort: number;
  readonly protocol: string;
  readonly expect: { readonly output: string | readonly string[]; readonly masq: boolean };
}

export interface Case {
  readonly name: string;
  readonly ipFamily: Family;
  readonly nodeName: string;
  readonly nodeIP: string;
  readonly nodeIPs: readonly string[];
  readonly detectLocal: { readonly cidr?: string };
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

const FIXTURE = new URL("../fixtures/packetflow-cases.json", import.meta.url);
export const { cases } = JSON.parse(readFileSync(FIXTURE, "utf8")) as {
  readonly cases: readonly Case[];
};

/** Built-in chains of a table, empty. */
export const BUILT_IN = {
  filter: ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n",
  nat: ":PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n",
};

/** The text of a full sync as the kernel would list it, with the jumps and some packets counted. */
export function asSaved(text: string): string {
  const jumps = (table: string) =>
    [...JUMPS, ...FIREWALL_JUMPS]
      .filter((jump) => jump.table === table && text.includes(`:${jump.to} `))
      .toReversed()
      .map(
        (jump: Jump) =>
          `[3:180] -A ${jump.from} ${jumpArgs(jump)
            .map((word) => (word.includes(" ") ? `"${word}"` : word))
            .join(" ")}`,
      )
      .join("\n");
  return (["filter", "nat"] as const).reduce(
    (saved, table) =>
      saved.replace(
        new RegExp(`(\\*${table}\\n)((?::.*\\n)*)`),
        (_all, star: string, chains: string) =>
          `${star}${BUILT_IN[table]}${chains}${jumps(table)}\n`,
      ),
    text,
  );
}

/** The text of a full sync of a case's objects. */
export async function renderCase(scenario: Case): Promise<string> {
  const { config, ipFamily: family, nodeName, nodeIPs } = scenario;
  const kinds = [
    ["Service", scenario.services],
    ["EndpointSlice", scenario.endpointSlices],
  ] as const;
  const items = kinds.flatMap(([kind, objects]) => objects.map((object) => ({ ...object, kind })));
  const { proxy } = await readProxyConfig({});
  const { text } = renderObjects(readObjects(JSON.stringify({ kind: "List", items }), "f"), {
    proxy: {
      ...proxy,
      ...config,
      clusterCidrs: scenario.detectLocal.cidr === undefined ? [] : [scenario.detectLocal.cidr],
    },
    nodeName,
    nodeIps: [scenario.nodeIP, ...nodeIPs.filter((ip) => ip !== scenario.nodeIP)],
    family,
  });
  return text;
}

/** A kernel that lists `saved`, on the case's node. */
export function kernelOf({ nodeIPs }: Case, saved: string): Kernel {
  return {
    rules: parseSavedRules(saved),
    isLocal: (ip) => ip.startsWith("127.") || ip === "::1" || nodeIPs.includes(ip),
    isRecent: () => false,
    interfaceOf: () => "eth0",
  };
}

/** Traces the flow's packet and holds it to what Kubernetes expects. */
export function expectFlow(kernel: Kernel, flow: Flow): void {
  const ways = tracePacket(kernel, {
    source: flow.sourceIP,
    destination: flow.destIP,
    port: flow.destPort,
    protocol: flow.protocol.toLowerCase() as Packet["protocol"],
  });
  expect(ways.flatMap((way) => way.doubts)).toEqual([]);
  expect(ways.reduce((sum, way) => sum + way.probability, 0)).toBeCloseTo(1, 5);
  const { output, masq } = flow.expect;
  const verdicts = [...new Set(ways.map((way) => way.verdict))];
  if (typeof output !== "string") {
    expect(verdicts).toEqual(["delivered"]);
    expect(ways.map((way) => way.target).sort()).toEqual([...output].sort());
    expect(ways.some((way) => way.isMasqueraded)).toBe(masq);
    return;
  }
  expect(ways.every((way) => !way.isRedirected)).toBe(true);
  // Refusals of external addresses are not on the hook OUTPUT: what the node itself sends goes out.
  const isOwn = kernel.isLocal(flow.sourceIP) && !kernel.isLocal(flow.destIP);
  const expected = output === "ACCEPT unmodified" ? "delivered" : output;
  if (isOwn && verdicts[0] === "delivered") return;
  expect(verdicts).toEqual([expected]);
}
