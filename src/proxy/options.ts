/**
 * What the rules depend on besides Services and EndpointSlices: the node's name, zone and addresses, and the fields of
 * KubeProxyConfiguration that shape rules. One readonly value per address family; pure helpers that read it.
 * Made by agent.ts and `longshore proxy render`, used by everything in proxy/.
 */

import {
  type Cidr,
  cidrContains,
  type Family,
  formatCidr,
  parseAddress,
  parseCidr,
} from "../core/ip.ts";

export interface ProxyRulesOptions {
  readonly family: Family;
  readonly nodeName: string;
  /** Label topology.kubernetes.io/zone of this node; absent or empty = it has none. */
  readonly zone?: string;
  /** Primary address of this node in the family: NodePorts with `primary`, source ranges that admit the node. */
  readonly nodeIp?: string;
  /** Addresses of this node's interfaces, loopback included: what nodePortAddresses selects from. */
  readonly interfaceIps: readonly string[];
  /** CIDRs of either family, or the one word `primary`; empty = every local address. */
  readonly nodePortAddresses: readonly string[];
  readonly detectLocal: DetectLocal;
  readonly masqueradeAll: boolean;
  /** Bit of the packet mark, 14 by default. */
  readonly masqueradeBit: number;
  readonly localhostNodePorts: boolean;
  /** iptables from 1.6.2 knows `--random-fully`. */
  readonly randomFully: boolean;
  /** False where nf_conntrack_tcp_be_liberal is on. */
  readonly dropInvalid: boolean;
}

/** How a packet is known to come from a pod of this node, or of the cluster. */
export type DetectLocal =
  | { readonly kind: "None" }
  | { readonly kind: "Cidr"; readonly cidr: string }
  | { readonly kind: "Interface"; readonly name: string }
  | { readonly kind: "InterfacePrefix"; readonly prefix: string };

/** KubeProxyConfiguration's fields about it. */
export interface DetectLocalConfig {
  readonly mode: "ClusterCIDR" | "NodeCIDR" | "BridgeInterface" | "InterfaceNamePrefix";
  /** Of either family; the first of the family counts. */
  readonly clusterCidrs: readonly string[];
  /** `spec.podCIDRs` of this Node. */
  readonly podCidrs: readonly string[];
  readonly bridgeInterface: string;
  readonly interfaceNamePrefix: string;
}

/** Without a range of the family nobody can tell a pod: `None`. */
export function computeDetectLocal(config: DetectLocalConfig, family: Family): DetectLocal {
  switch (config.mode) {
    case "BridgeInterface":
      return { kind: "Interface", name: config.bridgeInterface };
    case "InterfaceNamePrefix":
      return { kind: "InterfacePrefix", prefix: config.interfaceNamePrefix };
    case "ClusterCIDR":
    case "NodeCIDR": {
      const texts = config.mode === "ClusterCIDR" ? config.clusterCidrs : config.podCidrs;
      const [cidr] = rangesOf(texts, family);
      return cidr === undefined ? { kind: "None" } : { kind: "Cidr", cidr: formatCidr(cidr) };
    }
  }
}

/** Where NodePorts are answered: every local address, or these. */
export function computeNodePortIps(options: ProxyRulesOptions): "all" | readonly string[] {
  const { family, nodePortAddresses, nodeIp } = options;
  if (nodePortAddresses.includes("primary"))
    return nodeIp === undefined || isLoopback(nodeIp) ? [] : [nodeIp];
  const ranges = rangesOf(nodePortAddresses, family);
  if (ranges.length === 0 || ranges.some((range) => range.prefix === 0)) return "all";
  const answersLoopback = family === "IPv4" && options.localhostNodePorts;
  return options.interfaceIps.toSorted().filter((ip) => {
    const address = parseAddress(ip);
    if (address === undefined || (isLoopback(ip) && !answersLoopback)) return false;
    return ranges.some((range) => cidrContains(range, address));
  });
}

/** True when NodePorts are answered on 127.0.0.1, which needs net.ipv4.conf.all.route_localnet. */
export function hasLocalhostNodePorts(options: ProxyRulesOptions): boolean {
  if (options.family !== "IPv4" || !options.localhostNodePorts) return false;
  const ips = computeNodePortIps({ ...options, interfaceIps: ["127.0.0.1"] });
  return ips === "all" || ips.includes("127.0.0.1");
}

export function isLoopback(ip: string): boolean {
  const address = parseAddress(ip);
  if (address?.family === "IPv6") return address.value === 1n;
  return address !== undefined && address.value >> 24n === 127n;
}

function rangesOf(texts: readonly string[], family: Family): Cidr[] {
  return texts
    .map((text) => parseCidr(text.trim()))
    .filter((range) => range !== undefined)
    .filter((range) => range.family === family);
}
