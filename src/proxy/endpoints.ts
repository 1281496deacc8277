/**
 * Endpoints of service ports: read from EndpointSlices, merged over slices, and chosen by readiness, topology hints
 * and traffic policy as kube-proxy 1.36 does. Pure; computed from the store's content for each sync.
 */

import type { EndpointSlice } from "../api/types.ts";
import { canonicalAddress, type Family, familyOf } from "../core/ip.ts";
import {
  isExternallyAccessible,
  protocolOf,
  type ServicePort,
  servicePortKey,
  servicePortName,
} from "./services.ts";

export interface Endpoint {
  readonly ip: string;
  /** `ip:port`, `[ip]:port` for IPv6: its identity. */
  readonly target: string;
  readonly isLocal: boolean;
  readonly isReady: boolean;
  readonly isServing: boolean;
  readonly isTerminating: boolean;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

export interface EndpointSelection {
  /** For traffic that may go anywhere. */
  readonly cluster: readonly Endpoint[];
  /** For traffic that must stay on this node. */
  readonly local: readonly Endpoint[];
  /** Every endpoint of both, once, in order. */
  readonly reachable: readonly Endpoint[];
  /** True when some endpoint of the cluster could take traffic. */
  readonly hasEndpoints: boolean;
}

export interface Place {
  readonly nodeName: string;
  /** Label topology.kubernetes.io/zone of this node. */
  readonly zone?: string;
}

const HEADLESS_LABEL = "service.kubernetes.io/headless";
const SERVICE_NAME_LABEL = "kubernetes.io/service-name";

/** Endpoints by service port key, each list sorted by `target`. */
export function computeEndpoints(
  slices: readonly EndpointSlice[],
  family: Family,
  nodeName: string,
): ReadonlyMap<string, readonly Endpoint[]> {
  const byPort = new Map<string, Map<string, Endpoint>>();
  // Sorted, so that which of two entries of one address wins does not depend on the order of events.
  for (const slice of [...slices].sort((a, b) => compare(a.metadata.name, b.metadata.name))) {
    for (const [key, endpoint] of entriesOf(slice, family, nodeName)) {
      const merged = byPort.get(key) ?? new Map<string, Endpoint>();
      byPort.set(key, merged);
      if (!merged.has(endpoint.target) || !endpoint.isTerminating)
        merged.set(endpoint.target, endpoint);
    }
  }
  return new Map(
    [...byPort].map(([key, merged]) => [
      key,
      [...merged.values()].sort((a, b) => compare(a.target, b.target)),
    ]),
  );
}

/** Which endpoints a service port uses on this node. */
export function selectEndpoints(
  port: ServicePort,
  all: readonly Endpoint[],
  place: Place,
): EndpointSelection {
  const isExternal = isExternallyAccessible(port);
  const usesCluster = !port.internalPolicyLocal || isExternal;
  const usesLocal = port.internalPolicyLocal || (port.externalPolicyLocal && isExternal);
  const cluster = usesCluster
    ? orTerminating(
        withTopology(
          all.filter((e) => e.isReady),
          place,
        ),
        all,
      )
    : [];
  const here = all.filter((e) => e.isLocal);
  const local = usesLocal
    ? orTerminating(
        here.filter((e) => e.isReady),
        here,
      )
    : [];
  const used = new Set([...cluster, ...local]);
  return {
    cluster,
    local,
    reachable: all.filter((e) => used.has(e)),
    hasEndpoints: cluster.length > 0 || (usesLocal && all.some((e) => e.isReady || isDraining(e))),
  };
}

function entriesOf(slice: EndpointSlice, family: Family, nodeName: string): [string, Endpoint][] {
  const labels = slice.metadata.labels ?? {};
  const service = labels[SERVICE_NAME_LABEL];
  if (service === undefined || labels[HEADLESS_LABEL] !== undefined) return [];
  if (slice.addressType !== family) return [];
  const entries: [string, Endpoint][] = [];
  for (const port of slice.ports ?? []) {
    if (port.name === undefined || !port.port) continue;
    const name = servicePortName(slice.metadata.namespace, service, port.name);
    const key = servicePortKey(name, protocolOf(port.protocol));
    for (const entry of slice.endpoints ?? []) {
      const endpoint = endpointOf(entry, port.port, { family, nodeName });
      if (endpoint !== undefined) entries.push([key, endpoint]);
    }
  }
  return entries;
}

type SliceEntry = NonNullable<EndpointSlice["endpoints"]>[number];

function endpointOf(
  entry: SliceEntry,
  port: number,
  of: { readonly family: Family; readonly nodeName: string },
): Endpoint | undefined {
  const text = entry.addresses[0] ?? "";
  const ip = canonicalAddress(text);
  if (ip === undefined || familyOf(ip) !== of.family) return undefined;
  return {
    ip,
    target: of.family === "IPv6" ? `[${ip}]:${port}` : `${ip}:${port}`,
    isLocal: entry.nodeName === of.nodeName,
    isReady: entry.conditions?.ready ?? true,
    isServing: entry.conditions?.serving ?? true,
    isTerminating: entry.conditions?.terminating ?? false,
    zoneHints: (entry.hints?.forZones ?? []).map((hint) => hint.name),
    nodeHints: (entry.hints?.forNodes ?? []).map((hint) => hint.name),
  };
}

function isDraining(endpoint: Endpoint): boolean {
  return endpoint.isServing && endpoint.isTerminating;
}

/** The chosen ones, or, when there are none, those that still serve while they end. */
function orTerminating(chosen: readonly Endpoint[], all: readonly Endpoint[]): readonly Endpoint[] {
  return chosen.length > 0 ? chosen : all.filter(isDraining);
}

/** Hints count only when every ready endpoint has them and one names this place. */
function withTopology(ready: readonly Endpoint[], place: Place): readonly Endpoint[] {
  const narrow = (hintsOf: (e: Endpoint) => readonly string[], here: string) => {
    if (!ready.every((e) => hintsOf(e).length > 0)) return [];
    return ready.filter((e) => hintsOf(e).includes(here));
  };
  const onNode = narrow((e) => e.nodeHints, place.nodeName);
  if (onNode.length > 0) return onNode;
  const inZone = place.zone ? narrow((e) => e.zoneHints, place.zone) : [];
  return inZone.length > 0 ? inZone : ready;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
