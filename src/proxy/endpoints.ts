/**
 * Endpoints of service ports: read from EndpointSlices, merged over slices, and chosen by readiness, topology hints
 * and traffic policy as kube-proxy 1.36 does. Pure; what cannot be an endpoint is left out and said.
 */

import type { EndpointSlice } from "../api/types.ts";
import { canonicalAddress, type Family, familyOf } from "../core/ip.ts";
import {
  isExternallyAccessible,
  isPortNumber,
  type OnSkip,
  protocolOf,
  type ServicePort,
  servicePortKey,
  servicePortName,
  shown,
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

/** The Service a slice belongs to, as a store's key; undefined when it is not the proxy's business. */
export function serviceKeyOf(slice: EndpointSlice): string | undefined {
  const labels = slice.metadata.labels ?? {};
  const service = labels[SERVICE_NAME_LABEL];
  if (service === undefined || labels[HEADLESS_LABEL] !== undefined) return undefined;
  return `${slice.metadata.namespace}/${service}`;
}

/** Endpoints by service port key, each list sorted by `target`. */
export function computeEndpoints(
  slices: readonly EndpointSlice[],
  family: Family,
  nodeName: string,
  skip: OnSkip = () => undefined,
): ReadonlyMap<string, readonly Endpoint[]> {
  const byPort = new Map<string, Map<string, Endpoint>>();
  // Sorted, so that which of two entries of one address wins does not depend on the order of events.
  for (const slice of [...slices].sort((a, b) => compare(a.metadata.name, b.metadata.name))) {
    for (const [key, endpoint] of entriesOf(slice, { family, nodeName }, skip)) {
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

function entriesOf(
  slice: EndpointSlice,
  of: { readonly family: Family; readonly nodeName: string },
  skip: OnSkip,
): [string, Endpoint][] {
  const service = slice.metadata.labels?.[SERVICE_NAME_LABEL];
  if (serviceKeyOf(slice) === undefined || service === undefined) return [];
  if (slice.addressType !== of.family) return [];
  const parsed = (slice.endpoints ?? []).map((entry) => ipOf(entry, of.family));
  const where = `EndpointSlice ${shown(slice.metadata.name)}`;
  const odd = (slice.endpoints ?? []).filter((_, index) => parsed[index] === undefined);
  if (odd.length > 0) skip(`${where}: ${odd.length} endpoints, first ${shown(odd[0]?.addresses)}`);
  const entries: [string, Endpoint][] = [];
  for (const { name, port, protocol: text } of slice.ports ?? []) {
    const protocol = protocolOf(text);
    if (name === undefined || protocol === undefined || !isPortNumber(port)) {
      skip(`${where}: port ${shown(name)}: ${shown(text ?? "TCP")} ${shown(port)}`);
      continue;
    }
    const fullName = servicePortName(slice.metadata.namespace, service, name);
    const key = servicePortKey(fullName, protocol);
    for (const [index, entry] of (slice.endpoints ?? []).entries()) {
      const ip = parsed[index];
      if (ip !== undefined) entries.push([key, endpointOf(entry, { ip, port }, of.nodeName)]);
    }
  }
  return entries;
}

type SliceEntry = NonNullable<EndpointSlice["endpoints"]>[number];

function ipOf(entry: SliceEntry, family: Family): string | undefined {
  const ip = canonicalAddress(entry.addresses[0] ?? "");
  return ip === undefined || familyOf(ip) !== family ? undefined : ip;
}

function endpointOf(
  entry: SliceEntry,
  { ip, port }: { readonly ip: string; readonly port: number },
  nodeName: string,
): Endpoint {
  return {
    ip,
    target: withPort(ip, port),
    isLocal: entry.nodeName === nodeName,
    isReady: entry.conditions?.ready ?? true,
    isServing: entry.conditions?.serving ?? true,
    isTerminating: entry.conditions?.terminating ?? false,
    zoneHints: (entry.hints?.forZones ?? []).map((hint) => hint.name),
    nodeHints: (entry.hints?.forNodes ?? []).map((hint) => hint.name),
  };
}

/** `ip:port`, `[ip]:port` for IPv6. */
export function withPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
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
