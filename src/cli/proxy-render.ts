/**
 * `longshore proxy render`: the text that iptables-restore would get in a full sync of the objects in a file, and
 * nothing else. Needs no root, no cluster and no iptables, and gives the same text for the same input. Exit code 0, or
 * 1 with the document and field that is wrong.
 */

import { readFile } from "node:fs/promises";
import type { Node } from "../api/types.ts";
import type { ProxyConfig } from "../config.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import { type Family, familyOf } from "../core/ip.ts";
import { computeEndpoints } from "../proxy/endpoints.ts";
import { type ProxyObjects, readObjects } from "../proxy/read-objects.ts";
import { renderAll, renderRules } from "../proxy/render.ts";
import { computeRuleSet } from "../proxy/rules.ts";
import { computeServicePorts } from "../proxy/services.ts";
import type { Host } from "./host.ts";
import { ip, list, oneOf } from "./parse-config.ts";
import { readProxyConfig } from "./proxy-config.ts";

type Flags = Readonly<Record<string, unknown>>;

export async function runProxyRender(
  host: Pick<Host, "hostname" | "stdin" | "stdout" | "stderr">,
  flags: Flags,
): Promise<number> {
  const file = String(flags.objects);
  const objects = readObjects(await readInput(host, file), file === "-" ? "standard input" : file);
  const { proxy, warnings } = await readProxyConfig(flags);
  for (const words of warnings) host.stderr(`longshore: ${words}\n`);
  host.stdout(
    renderObjects(objects, {
      proxy,
      nodeName: String(flags.nodeName ?? host.hostname)
        .trim()
        .toLowerCase(),
      nodeIps: list(ip)(flags.nodeIp ?? [], "--node-ip"),
      family: oneOf("IPv4", "IPv6")(flags.ipFamily ?? "IPv4", "--ip-family"),
    }),
  );
  return 0;
}

async function readInput(host: Pick<Host, "stdin">, file: string): Promise<string> {
  if (file === "-") return host.stdin();
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new LongshoreError("ConfigInvalid", `cannot read ${file}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

export interface RenderInput {
  readonly proxy: ProxyConfig;
  readonly nodeName: string;
  /** Given by hand; else those of the Node among the objects. */
  readonly nodeIps: readonly string[];
  readonly family: Family;
}

export function renderObjects(objects: ProxyObjects, input: RenderInput): string {
  const { proxy, nodeName, family } = input;
  const node = objects.nodes.find(({ metadata }) => metadata.name === nodeName);
  const nodeIps = (input.nodeIps.length > 0 ? input.nodeIps : addressesOf(node)).filter(
    (address) => familyOf(address) === family,
  );
  const zone = node?.metadata.labels?.["topology.kubernetes.io/zone"];
  const [nodeIp] = nodeIps;
  const clusterCidr = proxy.clusterCidrs.find(
    (range) => familyOf(range.split("/")[0] ?? "") === family,
  );
  const rules = computeRuleSet(
    computeServicePorts(objects.services, family),
    computeEndpoints(objects.endpointSlices, family, nodeName),
    {
      family,
      nodeName,
      ...(zone === undefined ? {} : { zone }),
      ...(nodeIp === undefined ? {} : { nodeIp }),
      ...(clusterCidr === undefined ? {} : { clusterCidr }),
      masqueradeAll: proxy.masqueradeAll,
      masqueradeBit: proxy.masqueradeBit,
      randomFully: true,
      localhostNodePorts: proxy.localhostNodePorts,
      nodePortIps: "all",
      dropInvalid: !proxy.conntrack.tcpBeLiberal,
    },
  );
  return renderAll(renderRules(rules));
}

/** InternalIPs first, as the proxy prefers them. */
function addressesOf(node: Node | undefined): readonly string[] {
  const addresses = node?.status?.addresses ?? [];
  const of = (type: string) => addresses.filter((each) => each.type === type);
  return [...of("InternalIP"), ...of("ExternalIP")].map(({ address }) => address);
}
