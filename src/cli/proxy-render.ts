/**
 * `longshore proxy render`: the text that iptables-restore would get in a full sync of the objects in a file, and
 * nothing else. Needs no root, no cluster and no iptables, and gives the same text for the same input. Exit code 0, or
 * 1 with the document and field that is wrong.
 */

import { readFile } from "node:fs/promises";
import type { ProxyConfig } from "../config.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { Family } from "../core/ip.ts";
import { addressesOf, computeNodeOptions } from "../proxy/node-options.ts";
import { type ProxyObjects, readObjects } from "../proxy/read-objects.ts";
import { renderRuleSet } from "../proxy/render.ts";
import { computeProxyRules } from "../proxy/rules.ts";
import { shown } from "../proxy/services.ts";
import { ip, list, oneOf } from "./config-values.ts";
import type { Host } from "./host.ts";
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
  const { text, skipped } = renderObjects(objects, {
    proxy,
    nodeName: String(flags.nodeName ?? host.hostname)
      .trim()
      .toLowerCase(),
    nodeIps: list(ip)(flags.nodeIp ?? [], "--node-ip"),
    family: oneOf("IPv4", "IPv6")(flags.ipFamily ?? "IPv4", "--ip-family"),
  });
  for (const words of skipped) host.stderr(`longshore: ${words}\n`);
  host.stdout(text);
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

export interface Rendered {
  readonly text: string;
  /** What is left out because it is not what it should be, a sentence each. */
  readonly skipped: readonly string[];
}

export function renderObjects(objects: ProxyObjects, input: RenderInput): Rendered {
  const { proxy, nodeName, family } = input;
  const node = objects.nodes.find(({ metadata }) => metadata.name === nodeName);
  const nodeIps = input.nodeIps.length > 0 ? input.nodeIps : addressesOf(node);
  const options = computeNodeOptions({
    ...{ settings: proxy, family, nodeName, node, nodeIps },
    interfaceIps: [...nodeIps, "127.0.0.1", "::1"],
    dropInvalid: !proxy.conntrack.tcpBeLiberal,
  });
  const { rules, skipped } = computeProxyRules(objects, { ...options, randomFully: true });
  return {
    text: renderRuleSet(rules),
    skipped: skipped.flatMap(({ namespace, name, skipped: all }) =>
      all.map((words) => `Service ${shown(`${namespace}/${name}`)}: left out ${words}`),
    ),
  };
}
