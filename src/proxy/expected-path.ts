/**
 * Where the API wants traffic to a Service to go, and the sentence that says why: kube-proxy's order of decisions over
 * policies, readiness, hints and source ranges. Pure. explain.ts compares it with what the kernel does.
 */

import { cidrContains, parseAddress, parseCidr } from "../core/ip.ts";
import type { Endpoint, EndpointSelection, Place } from "./endpoints.ts";
import type { ServicePort } from "./services.ts";

export type Origin = "a pod" | "this node" | "outside";

export interface Front {
  readonly kind: "clusterIP" | "externalIP" | "loadBalancer" | "nodePort";
  readonly ip: string;
  readonly port: number;
}

export interface PolicySubject {
  readonly port: ServicePort;
  readonly selection: EndpointSelection;
  readonly all: readonly Endpoint[];
  readonly place: Place;
}

export interface Expected {
  readonly targets: readonly string[];
  /** What stops it where it has no target. */
  readonly stop?: "REJECT" | "DROP";
  readonly why: string;
}

/** What the API asks for, in kube-proxy's order of decisions. */
export function expectedOf(
  { port, selection, all, place }: PolicySubject,
  front: Front,
  { from, source }: { readonly from: Origin; readonly source: string },
): Expected {
  const isInternal = front.kind === "clusterIP";
  const policy = isInternal ? "internalTrafficPolicy" : "externalTrafficPolicy";
  const isLocal = isInternal
    ? port.internalPolicyLocal
    : port.externalPolicyLocal && from === "outside";
  const list = isLocal ? selection.local : selection.cluster;
  const targets = list.map((endpoint) => endpoint.target);
  if (!selection.hasEndpoints)
    return { targets, stop: "REJECT", why: "no endpoint is ready, and none serves while it ends" };
  if (front.kind === "loadBalancer" && !isAdmitted(source, port.sourceRanges))
    return { targets: [], stop: "DROP", why: `loadBalancerSourceRanges do not admit ${source}` };
  if (list.length === 0)
    return { targets, stop: "DROP", why: `${policy} is Local and no endpoint is on this node` };
  if (!list.some((endpoint) => endpoint.isReady))
    return { targets, why: "no endpoint is ready: those that still serve while they end" };
  if (isLocal) return { targets, why: `${policy} is Local: the endpoints on this node` };
  const ready = all.filter((endpoint) => endpoint.isReady);
  const here =
    !isInternal && port.externalPolicyLocal ? `${policy} is Local, but from ${from}: ` : "";
  if (list.length === ready.length) return { targets, why: `${here}every ready endpoint` };
  const hint = list[0]?.nodeHints.includes(place.nodeName) ? "node" : "zone";
  return { targets, why: `${here}the ready endpoints whose hints name this ${hint}` };
}

function isAdmitted(source: string, ranges: readonly string[]): boolean {
  const address = parseAddress(source);
  if (ranges.length === 0 || address === undefined) return true;
  return ranges.map(parseCidr).some((range) => range !== undefined && cidrContains(range, address));
}

/** The kernel remembers the source, so it has no choice any more. */
export function isKeptByAffinity(
  port: ServicePort,
  expected: readonly string[],
  targets: readonly string[],
): boolean {
  const isFewer = targets.length > 0 && targets.length < expected.length;
  return (
    port.affinitySeconds > 0 && isFewer && targets.every((target) => expected.includes(target))
  );
}
