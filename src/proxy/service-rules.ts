/**
 * What one Service contributes, from it and its EndpointSlices alone: its chains, its rules in the shared chains, and
 * the facts that conntrack needs. Pure. Rubbish in one object is left out and said; it
 * never stops another Service. Called by rules.ts for all Services and by rule-book.ts for those that changed.
 */

import type { EndpointSlice, Service } from "../api/types.ts";
import { messageOf } from "../core/errors.ts";
import type { SharedRule } from "./dispatch.ts";
import { computeEndpoints, type Endpoint, selectEndpoints } from "./endpoints.ts";
import type { Skip } from "./observer.ts";
import type { ProxyRulesOptions } from "./options.ts";
import type { Rule } from "./rule.ts";
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
  /** What is left out of it and its slices, and why; for a person. */
  readonly skipped: Skip["skipped"];
  /** Endpoints over all its ports, usable or not. */
  readonly endpointCount: number;
  readonly udp: readonly UdpPort[];
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

/** @param hasComments false in large clusters */
export function computeServiceRules(
  objects: ServiceObjects,
  options: ProxyRulesOptions,
  hasComments: boolean,
): ServiceRules {
  const { service } = objects;
  if (service === undefined) return emptyRules([]);
  const skipped: string[] = [];
  try {
    return compute({ ...objects, service }, { options, hasComments, skipped });
  } catch (error) {
    // An object of another shape than the API's: whatever field it was, only this Service goes without.
    const reason = `the Service cannot be read: ${messageOf(error)}`;
    return emptyRules([...skipped, reason]);
  }
}

function compute(
  objects: ServiceObjects & { readonly service: Service },
  to: {
    readonly options: ProxyRulesOptions;
    readonly hasComments: boolean;
    readonly skipped: string[];
  },
): ServiceRules {
  const { service, endpointSlices } = objects;
  const { options, hasComments, skipped } = to;
  const { family } = options;
  const skip = (reason: string): void => void skipped.push(reason);
  const ports = computeServicePorts([service], family, skip);
  if (ports.size === 0) return emptyRules(skipped);
  const endpoints = computeEndpoints(endpointSlices, family, options.nodeName, skip);
  const chains = new Map<string, Rule[]>();
  const shared: ServiceRules["shared"][number][] = [];
  const sink = {
    own(name: string, ...rules: readonly Rule[]) {
      const existing = chains.get(name);
      if (existing === undefined) chains.set(name, [...rules]);
      else existing.push(...rules);
    },
    shared: (part: SharedPart, key: string, rule: Rule) => void shared.push({ part, key, rule }),
  };
  let endpointCount = 0;
  for (const [key, port] of ports) {
    const all = endpoints.get(key) ?? [];
    endpointCount += all.length;
    const selection = selectEndpoints(port, all, options);
    addServicePort(sink, { port, endpoints: selection, options, hasComments });
  }
  return { chains, shared, skipped, endpointCount, udp: udpPorts(ports, endpoints) };
}

/** A Service that has no part in the rules. */
export function emptyRules(skipped: readonly string[]): ServiceRules {
  return { chains: new Map(), shared: [], skipped, endpointCount: 0, udp: [] };
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
