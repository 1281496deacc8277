/**
 * The rules of one service port: its own KUBE-SVC, -SVL, -EXT, -FW and -SEP chains, and its rules in the shared ones.
 * Pure; called by service-rules.ts for each service port. A new kind of address or policy slots in as one more function here.
 */

import { cidrContains, parseAddress, parseCidr } from "../core/ip.ts";
import * as chain from "./chains.ts";
import { sharedKey } from "./dispatch.ts";
import type { Endpoint, EndpointSelection } from "./endpoints.ts";
import type { DetectLocal, ProxyRulesOptions } from "./options.ts";
import { type Rule, rule } from "./rule.ts";
import { isExternallyAccessible, type ServicePort } from "./services.ts";
import type { SharedPart } from "./shared-chains.ts";

/** Collects the rules of one Service. */
export interface RuleSink {
  /** Appends to a chain of the Service's own in the nat table, which is made with its first rule. */
  own(chainName: string, ...rules: readonly Rule[]): void;
  shared(part: SharedPart, key: string, rule: Rule): void;
}

/** All that the functions below need to know of one service port. */
interface Context {
  readonly sink: RuleSink;
  readonly port: ServicePort;
  readonly endpoints: EndpointSelection;
  readonly options: ProxyRulesOptions;
  /** False in large clusters, where comments make up much of the text. */
  readonly hasComments: boolean;
  readonly svc: string;
  readonly svl: string;
  readonly ext: string;
  readonly fw: string;
  /** Chains of the endpoints that are reachable. */
  readonly seps: ReadonlyMap<Endpoint, string>;
  /** Whether cluster-internal and external traffic find an endpoint under their policies. */
  readonly hasInternal: boolean;
  readonly hasExternal: boolean;
  readonly usesFirewall: boolean;
}

/** How a rule matches a service port's packets. */
interface Front {
  readonly match: readonly string[];
  /** Place in a shared chain. */
  readonly key: string;
}

export function addServicePort(
  sink: RuleSink,
  of: {
    readonly port: ServicePort;
    readonly endpoints: EndpointSelection;
    readonly options: ProxyRulesOptions;
    readonly hasComments: boolean;
  },
): void {
  const { port, endpoints } = of;
  const named = (kind: chain.ServiceChainKind) =>
    chain.serviceChain(kind, port.name, port.protocol);
  const { hasEndpoints, local } = endpoints;
  const context: Context = {
    sink,
    ...of,
    svc: named("SVC"),
    svl: named("SVL"),
    ext: named("EXT"),
    fw: named("FW"),
    seps: new Map(
      endpoints.reachable.map((endpoint) => [
        endpoint,
        chain.endpointChain(port.name, port.protocol, endpoint.target),
      ]),
    ),
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
  for (const [endpoint, sep] of context.seps) addEndpointChain(context, endpoint, sep);
}

function protocolMatch(port: ServicePort): readonly string[] {
  return ["-m", port.protocol, "-p", port.protocol];
}

/**
 * @param order which of several rules for one address and port comes first: cluster addresses before external ones, so
 *   that no Service can take another's cluster address, then those of load balancers, then by name
 */
function frontOf(port: ServicePort, ip: string, order: 0 | 1 | 2): Front {
  return {
    match: [...protocolMatch(port), "-d", ip, "--dport", String(port.port)],
    key: sharedKey({ ...port, ip }, `${order}${port.name}`),
  };
}

function nodePortFront(port: ServicePort): Front {
  return {
    match: [...protocolMatch(port), "--dport", String(port.nodePort)],
    key: sharedKey({ protocol: port.protocol, port: port.nodePort }, port.name),
  };
}

/** The filter rule for traffic that finds no endpoint: refused, or dropped when only this node has none. */
function addNoEndpoints(context: Context, part: SharedPart, front: Front): void {
  const { sink, port, endpoints } = context;
  const [words, target] = endpoints.hasEndpoints
    ? ["has no local endpoints", "DROP"]
    : ["has no endpoints", "REJECT"];
  sink.shared(part, front.key, rule(`${port.name} ${words}`, front.match, "-j", target));
}

function addClusterIp(context: Context): void {
  const { sink, port, options } = context;
  const { match, key } = frontOf(port, port.clusterIp, 0);
  if (!context.hasInternal) {
    addNoEndpoints(context, "refused", { match, key });
    return;
  }
  const comment = `${port.name} cluster IP`;
  const target = port.internalPolicyLocal ? context.svl : context.svc;
  sink.shared("services", key, rule(comment, match, "-j", target));
  const fromPod = fromLocal(options.detectLocal);
  if (options.masqueradeAll) {
    sink.own(target, rule(comment, match, "-j", chain.MARK_MASQ));
  } else if (fromPod !== undefined) {
    sink.own(target, rule(comment, [...match, "!", ...fromPod], "-j", chain.MARK_MASQ));
  }
}

/** The match of what comes from a pod; undefined when nobody can tell. */
function fromLocal(detect: DetectLocal): readonly string[] | undefined {
  switch (detect.kind) {
    case "Cidr":
      return ["-s", detect.cidr];
    case "Interface":
      return ["-i", detect.name];
    case "InterfacePrefix":
      return ["-i", `${detect.prefix}+`];
    case "None":
      return undefined;
  }
}

function addExternalIps(context: Context): void {
  const { sink, port } = context;
  for (const ip of port.externalIps) {
    const front = frontOf(port, ip, 1);
    const comment = `${port.name} external IP`;
    if (context.endpoints.hasEndpoints)
      sink.shared("services", front.key, rule(comment, front.match, "-j", context.ext));
    if (!context.hasExternal) addNoEndpoints(context, "refusedExternal", front);
  }
}

function addLoadBalancerVips(context: Context): void {
  const { sink, port, fw, ext, usesFirewall } = context;
  for (const ip of port.loadBalancerVips) {
    const front = frontOf(port, ip, 2);
    const { key, match } = front;
    if (context.endpoints.hasEndpoints) {
      const target = usesFirewall ? fw : ext;
      sink.shared("services", key, rule(`${port.name} loadbalancer IP`, match, "-j", target));
    }
    if (usesFirewall) {
      // What the firewall chain let through has another destination by now; the rest still has this one.
      const comment = `${port.name} traffic not accepted by ${fw}`;
      sink.shared("firewall", key, rule(comment, match, "-j", "DROP"));
    }
    if (!context.hasExternal) addNoEndpoints(context, "refusedExternal", front);
  }
}

function addNodePort(context: Context): void {
  const { sink, port, ext } = context;
  if (port.nodePort === 0) return;
  const { match, key } = nodePortFront(port);
  if (context.endpoints.hasEndpoints)
    sink.shared("nodePorts", key, rule(port.name, match, "-j", ext));
  if (!context.hasExternal) {
    const local = ["-m", "addrtype", "--dst-type", "LOCAL", ...match];
    addNoEndpoints(context, "refusedNodePorts", { match: local, key });
  }
}

function addHealthCheckNodePort({ sink, port }: Context): void {
  if (port.healthCheckNodePort === 0) return;
  const match = ["-m", "tcp", "-p", "tcp", "--dport", String(port.healthCheckNodePort)];
  const key = sharedKey({ protocol: "tcp", port: port.healthCheckNodePort }, port.name);
  const comment = `${port.name} health check node port`;
  sink.shared("healthChecks", key, rule(comment, match, "-j", "ACCEPT"));
}

/** Chance over the endpoints, after those that remember the client. */
function addBalancing(context: Context, name: string, endpoints: readonly Endpoint[]): void {
  const { sink, port } = context;
  const seps = endpoints.map((endpoint) => ({
    comment: context.hasComments ? `${port.name} -> ${endpoint.target}` : undefined,
    sep: context.seps.get(endpoint) ?? "",
  }));
  if (port.affinitySeconds > 0) {
    const seconds = String(port.affinitySeconds);
    for (const { comment, sep } of seps) {
      const recent = ["-m", "recent", "--name", sep, "--rcheck", "--seconds", seconds, "--reap"];
      sink.own(name, rule(comment, recent, "-j", sep));
    }
  }
  seps.forEach(({ comment, sep }, index) => {
    const left = seps.length - index;
    const share = ["-m", "statistic", "--mode", "random", "--probability", (1 / left).toFixed(10)];
    sink.own(name, rule(comment, left === 1 ? [] : share, "-j", sep));
  });
}

/** Where external addresses lead: decides on masquerading and on the policy, then balances. */
function addExternalChain(context: Context): void {
  const { sink, port, svc, svl, ext, options } = context;
  if (!context.endpoints.hasEndpoints || !isExternallyAccessible(port)) return;
  const what = `${port.name} external destinations`;
  if (!port.externalPolicyLocal) {
    sink.own(ext, rule(`masquerade traffic for ${what}`, [], "-j", chain.MARK_MASQ));
  } else {
    const fromPod = fromLocal(options.detectLocal);
    if (fromPod !== undefined) sink.own(ext, rule(`pod traffic for ${what}`, fromPod, "-j", svc));
    const fromNode = ["-m", "addrtype", "--src-type", "LOCAL"];
    sink.own(
      ext,
      rule(`masquerade LOCAL traffic for ${what}`, fromNode, "-j", chain.MARK_MASQ),
      rule(`route LOCAL traffic for ${what}`, fromNode, "-j", svc),
    );
  }
  if (context.hasExternal)
    sink.own(ext, rule(undefined, [], "-j", port.externalPolicyLocal ? svl : svc));
}

/** Admits sources of the ranges; who falls off the end is dropped by KUBE-PROXY-FIREWALL. */
function addFirewallChain(context: Context): void {
  const { sink, port, fw, ext, options } = context;
  if (!context.usesFirewall) return;
  const comment = `${port.name} loadbalancer IP`;
  for (const range of port.sourceRanges) sink.own(fw, rule(comment, ["-s", range], "-j", ext));
  if (isNodeAdmitted(port, options)) {
    // A node that talks to an address bound to itself has that address as its source.
    for (const ip of port.loadBalancerVips) sink.own(fw, rule(comment, ["-s", ip], "-j", ext));
  }
  sink.own(
    fw,
    rule(`other traffic to ${port.name} will be dropped by ${chain.PROXY_FIREWALL}`, []),
  );
}

function isNodeAdmitted(port: ServicePort, options: ProxyRulesOptions): boolean {
  const node = parseAddress(options.nodeIp ?? "");
  if (node === undefined) return false;
  return port.sourceRanges.some((text) => {
    const range = parseCidr(text);
    return range !== undefined && cidrContains(range, node);
  });
}

function addEndpointChain(context: Context, endpoint: Endpoint, sep: string): void {
  const { sink, port, hasComments } = context;
  const comment = hasComments ? port.name : undefined;
  const remember = port.affinitySeconds > 0 ? ["-m", "recent", "--name", sep, "--set"] : [];
  sink.own(
    sep,
    // A pod that reaches itself must see the answer come back by way of the node.
    rule(comment, ["-s", endpoint.ip], "-j", chain.MARK_MASQ),
    rule(
      comment,
      [...remember, ...protocolMatch(port)],
      "-j",
      "DNAT",
      "--to-destination",
      endpoint.target,
    ),
  );
}
