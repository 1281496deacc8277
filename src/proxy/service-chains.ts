/**
 * The rules of one service port: entries in the shared chains and its own KUBE-SVC, -SVL, -EXT, -FW and -SEP chains.
 * Pure; called by rules.ts for each service port. A new kind of address or policy slots in as one more function here.
 */

import { cidrContains, parseAddress, parseCidr } from "../core/ip.ts";
import * as chain from "./chains.ts";
import type { Endpoint, EndpointSelection } from "./endpoints.ts";
import { type RuleSettings, type RuleSink, rule } from "./rule.ts";
import { isExternallyAccessible, type ServicePort } from "./services.ts";

/** All that the functions below need to know of one service port. */
interface Context {
  readonly sink: RuleSink;
  readonly port: ServicePort;
  readonly endpoints: EndpointSelection;
  readonly settings: RuleSettings;
  readonly svc: string;
  readonly svl: string;
  readonly ext: string;
  readonly fw: string;
  /** Whether cluster-internal and external traffic find an endpoint under their policies. */
  readonly hasInternal: boolean;
  readonly hasExternal: boolean;
  readonly usesFirewall: boolean;
}

export function addServicePort(
  sink: RuleSink,
  port: ServicePort,
  endpoints: EndpointSelection,
  settings: RuleSettings,
): void {
  const named = (kind: chain.ServiceChainKind) =>
    chain.serviceChain(kind, port.name, port.protocol);
  const { hasEndpoints, local } = endpoints;
  const context: Context = {
    sink,
    port,
    endpoints,
    settings,
    svc: named("SVC"),
    svl: named("SVL"),
    ext: named("EXT"),
    fw: named("FW"),
    hasInternal: port.internalPolicyLocal ? local.length > 0 : hasEndpoints,
    hasExternal: port.externalPolicyLocal ? local.length > 0 : hasEndpoints,
    usesFirewall: hasEndpoints && port.loadBalancerVips.length > 0 && port.sourceRanges.length > 0,
  };
  addClusterIp(context);
  addExternalIps(context);
  addLoadBalancerVips(context);
  addNodePort(context);
  addHealthCheckNodePort(context);
  addBalancing(context, context.svc, endpoints.cluster);
  addBalancing(context, context.svl, endpoints.local);
  addExternalChain(context);
  addFirewallChain(context);
  for (const endpoint of endpoints.reachable) addEndpointChain(context, endpoint);
}

function protocolMatch(port: ServicePort): readonly string[] {
  return ["-m", port.protocol, "-p", port.protocol];
}

function serviceMatch(port: ServicePort, ip: string): readonly string[] {
  return [...protocolMatch(port), "-d", ip, "--dport", String(port.port)];
}

/** The filter rule for traffic that finds no endpoint: refused, or dropped when only this node has none. */
function addNoEndpoints(context: Context, filterChain: string, match: readonly string[]): void {
  const { sink, port, endpoints } = context;
  const [words, target] = endpoints.hasEndpoints
    ? ["has no local endpoints", "DROP"]
    : ["has no endpoints", "REJECT"];
  sink.add("filter", filterChain, rule(`${port.name} ${words}`, match, "-j", target));
}

function addClusterIp(context: Context): void {
  const { sink, port, settings } = context;
  const match = serviceMatch(port, port.clusterIp);
  if (!context.hasInternal) {
    addNoEndpoints(context, chain.SERVICES, match);
    return;
  }
  const comment = `${port.name} cluster IP`;
  const target = port.internalPolicyLocal ? context.svl : context.svc;
  sink.add("nat", chain.SERVICES, rule(comment, match, "-j", target));
  if (settings.masqueradeAll) {
    sink.add("nat", target, rule(comment, match, "-j", chain.MARK_MASQ));
  } else if (settings.clusterCidr !== undefined) {
    const notAPod = [...match, "!", "-s", settings.clusterCidr];
    sink.add("nat", target, rule(comment, notAPod, "-j", chain.MARK_MASQ));
  }
}

function addExternalIps(context: Context): void {
  const { sink, port } = context;
  for (const ip of port.externalIps) {
    const match = serviceMatch(port, ip);
    if (context.endpoints.hasEndpoints)
      sink.add("nat", chain.SERVICES, rule(`${port.name} external IP`, match, "-j", context.ext));
    if (!context.hasExternal) addNoEndpoints(context, chain.EXTERNAL_SERVICES, match);
  }
}

function addLoadBalancerVips(context: Context): void {
  const { sink, port, fw, ext, usesFirewall } = context;
  for (const ip of port.loadBalancerVips) {
    const match = serviceMatch(port, ip);
    if (context.endpoints.hasEndpoints) {
      const target = usesFirewall ? fw : ext;
      sink.add("nat", chain.SERVICES, rule(`${port.name} loadbalancer IP`, match, "-j", target));
    }
    if (usesFirewall) {
      // What the firewall chain let through has another destination by now; the rest still has this one.
      const comment = `${port.name} traffic not accepted by ${fw}`;
      sink.add("filter", chain.PROXY_FIREWALL, rule(comment, match, "-j", "DROP"));
    }
    if (!context.hasExternal) addNoEndpoints(context, chain.EXTERNAL_SERVICES, match);
  }
}

function addNodePort(context: Context): void {
  const { sink, port, ext } = context;
  if (port.nodePort === 0) return;
  const match = [...protocolMatch(port), "--dport", String(port.nodePort)];
  if (context.endpoints.hasEndpoints)
    sink.add("nat", chain.NODEPORTS, rule(port.name, match, "-j", ext));
  if (!context.hasExternal) {
    const local = ["-m", "addrtype", "--dst-type", "LOCAL", ...match];
    addNoEndpoints(context, chain.EXTERNAL_SERVICES, local);
  }
}

function addHealthCheckNodePort({ sink, port }: Context): void {
  if (port.healthCheckNodePort === 0) return;
  const match = ["-m", "tcp", "-p", "tcp", "--dport", String(port.healthCheckNodePort)];
  const comment = `${port.name} health check node port`;
  sink.add("filter", chain.NODEPORTS, rule(comment, match, "-j", "ACCEPT"));
}

/** Spreads evenly: the first of n endpoints takes 1/n, the next 1/(n-1) of the rest, the last everything left. */
function addBalancing(context: Context, name: string, endpoints: readonly Endpoint[]): void {
  const { sink, port } = context;
  const rulesTo = endpoints.map((endpoint) => ({
    comment: `${port.name} -> ${endpoint.target}`,
    sep: chain.endpointChain(port.name, port.protocol, endpoint.target),
  }));
  if (port.affinitySeconds > 0) {
    for (const { comment, sep } of rulesTo) {
      const seconds = String(port.affinitySeconds);
      const recent = ["-m", "recent", "--name", sep, "--rcheck", "--seconds", seconds, "--reap"];
      sink.add("nat", name, rule(comment, recent, "-j", sep));
    }
  }
  rulesTo.forEach(({ comment, sep }, index) => {
    const left = rulesTo.length - index;
    const share = ["-m", "statistic", "--mode", "random", "--probability", (1 / left).toFixed(10)];
    sink.add("nat", name, rule(comment, left === 1 ? [] : share, "-j", sep));
  });
}

/** Where external addresses lead: decides on masquerading and on the policy, then balances. */
function addExternalChain(context: Context): void {
  const { sink, port, svc, svl, ext, settings } = context;
  if (!context.endpoints.hasEndpoints || !isExternallyAccessible(port)) return;
  const what = `${port.name} external destinations`;
  if (!port.externalPolicyLocal) {
    sink.add("nat", ext, rule(`masquerade traffic for ${what}`, [], "-j", chain.MARK_MASQ));
  } else {
    if (settings.clusterCidr !== undefined) {
      const fromPod = ["-s", settings.clusterCidr];
      sink.add("nat", ext, rule(`pod traffic for ${what}`, fromPod, "-j", svc));
    }
    const fromNode = ["-m", "addrtype", "--src-type", "LOCAL"];
    sink.add(
      "nat",
      ext,
      rule(`masquerade LOCAL traffic for ${what}`, fromNode, "-j", chain.MARK_MASQ),
      rule(`route LOCAL traffic for ${what}`, fromNode, "-j", svc),
    );
  }
  if (context.hasExternal)
    sink.add("nat", ext, rule(undefined, [], "-j", port.externalPolicyLocal ? svl : svc));
}

/** Admits sources of the ranges; who falls off the end is dropped by KUBE-PROXY-FIREWALL. */
function addFirewallChain(context: Context): void {
  const { sink, port, fw, ext, settings } = context;
  if (!context.usesFirewall) return;
  const comment = `${port.name} loadbalancer IP`;
  for (const range of port.sourceRanges)
    sink.add("nat", fw, rule(comment, ["-s", range], "-j", ext));
  if (isNodeAdmitted(port, settings)) {
    // A node that talks to an address bound to itself has that address as its source.
    for (const ip of port.loadBalancerVips)
      sink.add("nat", fw, rule(comment, ["-s", ip], "-j", ext));
  }
  sink.add(
    "nat",
    fw,
    rule(`other traffic to ${port.name} will be dropped by ${chain.PROXY_FIREWALL}`, []),
  );
}

function isNodeAdmitted(port: ServicePort, settings: RuleSettings): boolean {
  const node = parseAddress(settings.nodeIp ?? "");
  if (node === undefined) return false;
  return port.sourceRanges.some((text) => {
    const range = parseCidr(text);
    return range !== undefined && cidrContains(range, node);
  });
}

function addEndpointChain({ sink, port }: Context, endpoint: Endpoint): void {
  const sep = chain.endpointChain(port.name, port.protocol, endpoint.target);
  const remember = port.affinitySeconds > 0 ? ["-m", "recent", "--name", sep, "--set"] : [];
  sink.add(
    "nat",
    sep,
    // A pod that reaches itself must see the answer come back by way of the node.
    rule(port.name, ["-s", endpoint.ip], "-j", chain.MARK_MASQ),
    rule(
      port.name,
      [...remember, ...protocolMatch(port)],
      "-j",
      "DNAT",
      "--to-destination",
      endpoint.target,
    ),
  );
}
