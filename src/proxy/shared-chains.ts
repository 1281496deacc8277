/**
 * The chains that all Services share, and the rules in them that belong to no Service: what leads into them and out of
 * them, masquerading, forwarding, the guard of the loopback net. Pure. Called by rules.ts and rule-book.ts, which put
 * the Services' rules in.
 */

import * as chain from "./chains.ts";
import { computeDispatch, type KeyKind, type SharedRule } from "./dispatch.ts";
import { computeNodePortIps, type ProxyRulesOptions } from "./options.ts";
import { type Rule, type RuleTable, rule } from "./rule.ts";

/** The part of a shared chain whose rules match one kind of key. */
export type SharedPart = keyof typeof PARTS;

const PARTS = {
  services: { table: "nat", chain: chain.SERVICES, prefix: "KUBE-SVC-", isPort: false },
  nodePorts: { table: "nat", chain: chain.NODEPORTS, prefix: "KUBE-SVC-", isPort: true },
  refused: { table: "filter", chain: chain.SERVICES, prefix: "KUBE-SVC-", isPort: false },
  refusedExternal: {
    table: "filter",
    chain: chain.EXTERNAL_SERVICES,
    prefix: "KUBE-EXT-",
    isPort: false,
  },
  refusedNodePorts: {
    table: "filter",
    chain: chain.EXTERNAL_SERVICES,
    prefix: "KUBE-EXT-",
    isPort: true,
  },
  healthChecks: { table: "filter", chain: chain.NODEPORTS, prefix: "KUBE-SVC-", isPort: true },
  firewall: { table: "filter", chain: chain.PROXY_FIREWALL, prefix: "KUBE-FW-", isPort: false },
} as const satisfies Record<
  string,
  { table: RuleTable; chain: string; prefix: string; isPort: boolean }
>;

export const SHARED_PARTS = Object.keys(PARTS) as readonly SharedPart[];

export type SharedRules = Readonly<Record<SharedPart, readonly SharedRule[]>>;

export interface TableChains {
  readonly table: RuleTable;
  readonly chains: ReadonlyMap<string, readonly Rule[]>;
}

/** The parts that must be written together with `part`, as they are in one chain. */
export function siblingsOf(part: SharedPart): readonly SharedPart[] {
  const { table, chain: name } = PARTS[part];
  return SHARED_PARTS.filter((p) => PARTS[p].table === table && PARTS[p].chain === name);
}

/** The shared chain that `part` is in, and its sub-chains. */
export function computeSharedChain(
  part: SharedPart,
  rules: SharedRules,
  options: ProxyRulesOptions,
): TableChains {
  const chains = new Map<string, readonly Rule[]>();
  const own: Rule[] = [];
  for (const sibling of siblingsOf(part)) {
    const { prefix, isPort } = PARTS[sibling];
    const kind: KeyKind = isPort ? "port" : options.family;
    const dispatch = computeDispatch(rules[sibling], kind, prefix);
    for (const [name, inside] of dispatch.chains) chains.set(name, inside);
    own.push(...dispatch.rules);
  }
  if (part === "services") own.push(...nodePortTail(options));
  return { table: PARTS[part].table, chains: chains.set(PARTS[part].chain, own) };
}

/** The chains in which no Service has a rule. */
export function computeFrame(options: ProxyRulesOptions): readonly TableChains[] {
  return [
    { table: "filter", chains: filterFrame(options) },
    { table: "nat", chains: natFrame(options) },
  ];
}

/** The mark as kube-proxy writes it, and as value/mask. */
function markOf(options: ProxyRulesOptions): { mark: string; masked: string } {
  const mark = `0x${(2 ** options.masqueradeBit).toString(16).padStart(8, "0")}`;
  return { mark, masked: `${mark}/${mark}` };
}

function filterFrame(options: ProxyRulesOptions): Map<string, readonly Rule[]> {
  const { masked } = markOf(options);
  const chains = new Map<string, readonly Rule[]>();
  if (options.family === "IPv4" && options.localhostNodePorts) {
    const foreign = ["-d", "127.0.0.0/8", "!", "-s", "127.0.0.0/8"];
    const fresh = ["-m", "conntrack", "!", "--ctstate", "RELATED,ESTABLISHED,DNAT"];
    const comment = "block incoming localnet connections";
    chains.set(chain.FIREWALL, [rule(comment, [...foreign, ...fresh], "-j", "DROP")]);
  }
  const state = (states: string) => ["-m", "conntrack", "--ctstate", states];
  const forwarding = "kubernetes forwarding rules";
  const answers = "kubernetes forwarding conntrack rule";
  return chains.set(chain.FORWARD, [
    ...(options.dropInvalid ? [rule(undefined, state("INVALID"), "-j", "DROP")] : []),
    rule(forwarding, ["-m", "mark", "--mark", masked], "-j", "ACCEPT"),
    rule(answers, state("RELATED,ESTABLISHED"), "-j", "ACCEPT"),
  ]);
}

function natFrame(options: ProxyRulesOptions): Map<string, readonly Rule[]> {
  const { mark, masked } = markOf(options);
  const random = options.randomFully ? ["--random-fully"] : [];
  return new Map([
    [chain.MARK_MASQ, [rule(undefined, [], "-j", "MARK", "--or-mark", mark)]],
    [
      chain.POSTROUTING,
      [
        rule(undefined, ["-m", "mark", "!", "--mark", masked], "-j", "RETURN"),
        // Cleared, so that a packet that comes by again is not masqueraded again.
        rule(undefined, [], "-j", "MARK", "--xor-mark", mark),
        rule("kubernetes service traffic requiring SNAT", [], "-j", "MASQUERADE", ...random),
      ],
    ],
  ]);
}

/** The last rules of KUBE-SERVICES: what is for this node itself may be for a NodePort. */
function nodePortTail(options: ProxyRulesOptions): readonly Rule[] {
  const comment = "kubernetes service nodeports; NOTE: this must be the last rule in this chain";
  const ips = computeNodePortIps(options);
  if (ips !== "all") return ips.map((ip) => rule(comment, ["-d", ip], "-j", chain.NODEPORTS));
  const loopback = options.family === "IPv6" ? "::1/128" : "127.0.0.0/8";
  const answersLoopback = options.family === "IPv4" && options.localhostNodePorts;
  const match = ["-m", "addrtype", "--dst-type", "LOCAL"];
  if (!answersLoopback) match.push("!", "-d", loopback);
  return [rule(comment, match, "-j", chain.NODEPORTS)];
}
