/**
 * The rule set: what the kernel should hold, as a value, from service ports, endpoints and settings. Pure. The rules,
 * their order and their words are kube-proxy 1.36's iptables mode; service-chains.ts writes those of one service port.
 * Called by the proxier for each sync and by the packet-flow tests.
 */

import { parseAddress } from "../core/ip.ts";
import * as chain from "./chains.ts";
import { type Endpoint, selectEndpoints } from "./endpoints.ts";
import { type Rule, type RuleSet, type RuleSettings, type RuleSink, rule } from "./rule.ts";
import { addServicePort } from "./service-chains.ts";
import type { ServicePort } from "./services.ts";

export function computeRuleSet(
  servicePorts: ReadonlyMap<string, ServicePort>,
  endpoints: ReadonlyMap<string, readonly Endpoint[]>,
  settings: RuleSettings,
): RuleSet {
  const chains = {
    filter: new Map<string, Rule[]>(),
    nat: new Map<string, Rule[]>(),
  };
  const sink: RuleSink = {
    add(table, name, ...rules) {
      const existing = chains[table].get(name);
      if (existing === undefined) chains[table].set(name, [...rules]);
      else existing.push(...rules);
    },
  };
  addFilterFrame(sink, settings);
  addNatFrame(sink, settings);
  for (const [key, port] of servicePorts) {
    addServicePort(sink, port, selectEndpoints(port, endpoints.get(key) ?? [], settings), settings);
  }
  sink.add("nat", chain.SERVICES, ...nodePortTail(settings));
  return chains;
}

/** The mark as kube-proxy writes it, and as value/mask. */
function markOf(settings: RuleSettings): { mark: string; masked: string } {
  const mark = `0x${(2 ** settings.masqueradeBit).toString(16).padStart(8, "0")}`;
  return { mark, masked: `${mark}/${mark}` };
}

function addFilterFrame(sink: RuleSink, settings: RuleSettings): void {
  const { masked } = markOf(settings);
  for (const name of [
    chain.SERVICES,
    chain.EXTERNAL_SERVICES,
    chain.NODEPORTS,
    chain.PROXY_FIREWALL,
  ]) {
    sink.add("filter", name);
  }
  if (settings.family === "IPv4" && settings.localhostNodePorts) {
    const foreign = ["-d", "127.0.0.0/8", "!", "-s", "127.0.0.0/8"];
    const fresh = ["-m", "conntrack", "!", "--ctstate", "RELATED,ESTABLISHED,DNAT"];
    const comment = "block incoming localnet connections";
    sink.add("filter", chain.FIREWALL, rule(comment, [...foreign, ...fresh], "-j", "DROP"));
  }
  if (settings.dropInvalid) {
    const invalid = ["-m", "conntrack", "--ctstate", "INVALID"];
    sink.add("filter", chain.FORWARD, rule(undefined, invalid, "-j", "DROP"));
  }
  sink.add(
    "filter",
    chain.FORWARD,
    rule("kubernetes forwarding rules", ["-m", "mark", "--mark", masked], "-j", "ACCEPT"),
    rule(
      "kubernetes forwarding conntrack rule",
      ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"],
      "-j",
      "ACCEPT",
    ),
  );
}

function addNatFrame(sink: RuleSink, settings: RuleSettings): void {
  const { mark, masked } = markOf(settings);
  const random = settings.randomFully ? ["--random-fully"] : [];
  sink.add("nat", chain.SERVICES);
  sink.add("nat", chain.NODEPORTS);
  sink.add(
    "nat",
    chain.POSTROUTING,
    rule(undefined, ["-m", "mark", "!", "--mark", masked], "-j", "RETURN"),
    // Cleared, so that a packet that comes by again is not masqueraded again.
    rule(undefined, [], "-j", "MARK", "--xor-mark", mark),
    rule("kubernetes service traffic requiring SNAT", [], "-j", "MASQUERADE", ...random),
  );
  sink.add("nat", chain.MARK_MASQ, rule(undefined, [], "-j", "MARK", "--or-mark", mark));
}

/** The last rules of KUBE-SERVICES: what is for this node itself may be for a NodePort. */
function nodePortTail(settings: RuleSettings): readonly Rule[] {
  const comment = "kubernetes service nodeports; NOTE: this must be the last rule in this chain";
  const { family, localhostNodePorts, nodePortIps } = settings;
  if (nodePortIps === "all") {
    const exceptLoopback =
      family === "IPv6"
        ? ["!", "-d", "::1/128"]
        : localhostNodePorts
          ? []
          : ["!", "-d", "127.0.0.0/8"];
    const match = ["-m", "addrtype", "--dst-type", "LOCAL", ...exceptLoopback];
    return [rule(comment, match, "-j", chain.NODEPORTS)];
  }
  return nodePortIps
    .filter((ip) => !isLoopback(ip) || (family === "IPv4" && localhostNodePorts))
    .map((ip) => rule(comment, ["-d", ip], "-j", chain.NODEPORTS));
}

function isLoopback(ip: string): boolean {
  const address = parseAddress(ip);
  if (address?.family === "IPv6") return address.value === 1n;
  return address !== undefined && address.value >> 24n === 127n;
}
