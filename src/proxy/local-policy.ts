/**
 * What follows from traffic policy Local on this node: how many local endpoints a load balancer's health check is told
 * of, and which service ports have endpoints elsewhere and none here. Pure, and looks only at the few Services that
 * ask for it. Called by the monitor after each sync.
 */

import { keyOf } from "../api/store.ts";
import type { EndpointSlice, Service } from "../api/types.ts";
import type { Family } from "../core/ip.ts";
import { computeEndpoints, selectEndpoints, serviceKeyOf } from "./endpoints.ts";
import { computeServicePorts } from "./services.ts";

export interface HealthCheck {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  /** Distinct addresses of ready endpoints on this node, over all ports. */
  readonly localEndpoints: number;
}

export interface LocalPolicyFacts {
  readonly healthChecks: readonly HealthCheck[];
  /** Service ports without a usable endpoint here. */
  readonly noLocal: { readonly internal: number; readonly external: number };
}

export interface LocalPolicyInput {
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly family: Family;
  readonly nodeName: string;
}

export function hasLocalPolicy({ spec }: Service): boolean {
  return spec?.externalTrafficPolicy === "Local" || spec?.internalTrafficPolicy === "Local";
}

export function computeLocalPolicy(input: LocalPolicyInput): LocalPolicyFacts {
  const services = input.services.filter(hasLocalPolicy);
  if (services.length === 0) return { healthChecks: [], noLocal: { internal: 0, external: 0 } };
  const slices = Map.groupBy(input.endpointSlices, serviceKeyOf);
  const facts = services.flatMap((service) => factsOf(service, slices.get(keyOf(service)), input));
  return {
    healthChecks: facts.map((fact) => fact.healthCheck).filter((check) => check.port !== 0),
    noLocal: {
      internal: facts.reduce((sum, fact) => sum + fact.internal, 0),
      external: facts.reduce((sum, fact) => sum + fact.external, 0),
    },
  };
}

interface ServiceFacts {
  readonly healthCheck: HealthCheck;
  readonly internal: number;
  readonly external: number;
}

function factsOf(
  service: Service,
  slices: readonly EndpointSlice[] = [],
  at: LocalPolicyInput,
): readonly ServiceFacts[] {
  try {
    return [readFacts(service, slices, at)];
  } catch {
    // Of another shape than the API's: it has no rules either, and is said to be left out.
    return [];
  }
}

function readFacts(
  service: Service,
  slices: readonly EndpointSlice[],
  { family, nodeName }: LocalPolicyInput,
): ServiceFacts {
  const endpoints = computeEndpoints(slices, family, nodeName);
  const ports = [...computeServicePorts([service], family)].map(([key, port]) => {
    const all = endpoints.get(key) ?? [];
    const { local, hasEndpoints } = selectEndpoints(port, all, { nodeName });
    return { port, all, isBare: hasEndpoints && local.length === 0 };
  });
  const here = ports.flatMap(({ all }) => all.filter((e) => e.isLocal && e.isReady));
  const checked = ports.find((each) => each.port.healthCheckNodePort !== 0)?.port;
  const { namespace, name } = service.metadata;
  const port = checked?.healthCheckNodePort ?? 0;
  const localEndpoints = new Set(here.map((e) => e.ip)).size;
  return {
    healthCheck: { namespace, name, port, localEndpoints },
    internal: ports.filter((each) => each.isBare && each.port.internalPolicyLocal).length,
    external: ports.filter((each) => each.isBare && each.port.externalPolicyLocal).length,
  };
}
