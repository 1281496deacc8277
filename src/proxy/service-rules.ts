/**
 * What one Service contributes, from it and its EndpointSlices alone: its chains, its rules in the shared chains, and
 * the few facts that conntrack, health checks and metrics need. Pure. Rubbish in one object is left out and said; it
 * never stops another Service. Called by rules.ts for all Services and by rule-book.ts for those that changed.
 */

import type { EndpointSlice, Service } from "../api/types.ts";
import { messageOf } from "../core/errors.ts";
import type { SharedRule } from "./dispatch.ts";
import { computeEndpoints, type Endpoint, selectEndpoints } from "./endpoints.ts";
import type { ProxyRulesOptions } from "./options.ts";
import type { Rule, Skipped } from "./rule.ts";
import { addServicePort } from "./service-chains.ts";
import { computeServicePorts, type ServicePort } from "./services.ts";
import type { SharedPart } from "./shared-chains.ts";

/** A Service, or only its key when there is none, and the slices that name it. */
export interface ServiceObjects {
  readonly service: Service | undefined;
  readonly endpointSlices: readonly EndpointSlice[];
}

export interface ServiceRules {
  /** Chains of its own in the nat table. */
  readonly chains: ReadonlyMap<string, readonly Rule[]>;
  readonly shared: readonly (SharedRule & { readonly part: SharedPart })[];
  readonly skipped: readonly Skipped[];
  /** Endpoints over all its ports, usable or not. */
  readonly endpointCount: number;
  readonly udp: readonly UdpPort[];
  readonly healthCheck?: HealthCheck;
  /** Ports whose policy is Local and that have endpoints, but none here. */
  readonly noLocalEndpoints: { readonly internal: number; readonly external: number };
}

/** Where UDP flows of a port come in and where they may lead; only ports with a serving endpoint. */
export interface UdpPort {
  readonly fronts: readonly string[];
  readonly port: number;
  /** 0 = none. */
  readonly nodePort: number;
  /** `ip:port`. */
  readonly targets: readonly string[];
}

/** A port on which the node tells load balancers how many endpoints of the Service it has. */
export interface HealthCheck {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  /** Distinct addresses of endpoints here that are ready. */
  readonly localEndpoints: number;
}

/** @param hasComments false in large clusters */
export function computeServiceRules(
  objects: ServiceObjects,
  options: ProxyRulesOptions,
  hasComments: boolean,
): ServiceRules {
  const { service } = objects;
  if (service === undefined) return emptyRules([]);
  const skipped: Skipped[] = [];
  try {
    return compute({ ...objects, service }, { options, hasComments, skipped });
  } catch (error) {
    // An object of another shape than the API's: whatever field it was, only this Service goes without.
    const reason = `the Service cannot be read: ${messageOf(error)}`;
    return emptyRules([...skipped, skippedOf(service, "Service", reason)]);
  }
}

function compute(
  objects: ServiceObjects & { readonly service: Service },
  to: {
    readonly options: ProxyRulesOptions;
    readonly hasComments: boolean;
    readonly skipped: Skipped[];
  },
): ServiceRules {
  const { service, endpointSlices } = objects;
  const { options, hasComments, skipped } = to;
  const { family } = options;
  const ports = computeServicePorts(service, family, (reason) =>
    skipped.push(skippedOf(service, "Service", reason)),
  );
  if (ports.size === 0) return emptyRules(skipped);
  const endpoints = computeEndpoints(endpointSlices, options, (slice, reason) =>
    skipped.push(skippedOf(slice, "EndpointSlice", reason)),
  );
  const chains = new Map<string, Rule[]>();
  const shared: ServiceRules["shared"][number][] = [];
  const noLocalEndpoints = { internal: 0, external: 0 };
  const sink = {
    own(name: string, ...rules: readonly Rule[]) {
      const existing = chains.get(name);
      if (existing === undefined) chains.set(name, [...rules]);
      else existing.push(...rules);
    },
    shared: (part: SharedPart, key: string, rule: Rule) => void shared.push({ part, key, rule }),
  };
  for (const [key, port] of ports) {
    const all = endpoints.get(key) ?? [];
    const selection = selectEndpoints(port, all, options);
    addServicePort(sink, { port, endpoints: selection, options, hasComments });
    if (selection.local.length > 0 || !selection.hasEndpoints) continue;
    if (port.internalPolicyLocal) noLocalEndpoints.internal++;
    if (port.externalPolicyLocal) noLocalEndpoints.external++;
  }
  const all = [...ports].flatMap(([key]) => endpoints.get(key) ?? []);
  return {
    ...{ chains, shared, skipped, noLocalEndpoints },
    endpointCount: all.length,
    udp: udpPorts(ports, endpoints),
    ...healthCheckOf(service, ports, all),
  };
}

function emptyRules(skipped: readonly Skipped[]): ServiceRules {
  const noLocalEndpoints = { internal: 0, external: 0 };
  return { chains: new Map(), shared: [], skipped, endpointCount: 0, udp: [], noLocalEndpoints };
}

function skippedOf(
  object: Service | EndpointSlice,
  kind: Skipped["kind"],
  reason: string,
): Skipped {
  const { namespace, name } = object.metadata;
  return { kind, namespace, name, reason };
}

/** A port without a serving endpoint is left out: its flows are refused by the rules and need no deletion. */
function udpPorts(
  ports: ReadonlyMap<string, ServicePort>,
  endpoints: ReadonlyMap<string, readonly Endpoint[]>,
): UdpPort[] {
  return [...ports].flatMap(([key, port]) => {
    if (port.protocol !== "udp") return [];
    const serving = (endpoints.get(key) ?? []).filter((endpoint) => endpoint.isServing);
    if (serving.length === 0) return [];
    return {
      fronts: [port.clusterIp, ...port.loadBalancerVips, ...port.externalIps],
      port: port.port,
      nodePort: port.nodePort,
      targets: serving.map((endpoint) => endpoint.target),
    };
  });
}

function healthCheckOf(
  service: Service,
  ports: ReadonlyMap<string, ServicePort>,
  endpoints: readonly Endpoint[],
): { readonly healthCheck?: HealthCheck } {
  const port = [...ports.values()].find((one) => one.healthCheckNodePort !== 0);
  if (port === undefined) return {};
  const here = endpoints.filter((endpoint) => endpoint.isLocal && endpoint.isReady);
  const localEndpoints = new Set(here.map((endpoint) => endpoint.ip)).size;
  const { namespace, name } = service.metadata;
  return { healthCheck: { namespace, name, port: port.healthCheckNodePort, localEndpoints } };
}
