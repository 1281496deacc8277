/**
 * Services as the proxy programs them: one ServicePort per (namespace, name, port name, protocol) of one address
 * family, with every address it answers on. Pure; computed from the store's content for each sync.
 * Which field counts and which is ignored follows kube-proxy 1.36.
 */

import type { Service } from "../api/types.ts";
import { canonicalAddress, type Family, familyOf, formatCidr, parseCidr } from "../core/ip.ts";

export type Protocol = "tcp" | "udp" | "sctp";

export interface ServicePort {
  /** `namespace/name:portname`, or `namespace/name` when the port has no name. */
  readonly name: string;
  readonly protocol: Protocol;
  readonly clusterIp: string;
  readonly port: number;
  /** 0 = none. */
  readonly nodePort: number;
  readonly externalIps: readonly string[];
  /** Addresses of load balancers that this node must answer for. */
  readonly loadBalancerVips: readonly string[];
  /** Who may use loadBalancerVips; empty = everybody. */
  readonly sourceRanges: readonly string[];
  readonly internalPolicyLocal: boolean;
  readonly externalPolicyLocal: boolean;
  /** 0 = none. */
  readonly healthCheckNodePort: number;
  /** Seconds a client stays with its endpoint; 0 = no affinity. */
  readonly affinitySeconds: number;
}

const PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name";
const DEFAULT_AFFINITY_SECONDS = 10_800;

/** The key of a service port: unique, and the same for the endpoints that belong to it. */
export function servicePortKey(name: string, protocol: string): string {
  return `${name}/${protocol}`;
}

/** `namespace/name:portname`. */
export function servicePortName(namespace: string, service: string, portName: string): string {
  return portName === "" ? `${namespace}/${service}` : `${namespace}/${service}:${portName}`;
}

export function protocolOf(text: string | undefined): Protocol {
  const lower = (text ?? "TCP").toLowerCase();
  return lower === "udp" || lower === "sctp" ? lower : "tcp";
}

/** The service ports of one family, sorted by key so that equal services give equal rules. */
export function computeServicePorts(
  services: readonly Service[],
  family: Family,
): ReadonlyMap<string, ServicePort> {
  const ports = services
    .flatMap((service) => portsOf(service, family))
    .map((port): [string, ServicePort] => [servicePortKey(port.name, port.protocol), port]);
  return new Map(ports.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}

/** True when the service is reachable by more than its cluster address. */
export function isExternallyAccessible(port: ServicePort): boolean {
  return port.nodePort !== 0 || port.loadBalancerVips.length > 0 || port.externalIps.length > 0;
}

function portsOf(service: Service, family: Family): ServicePort[] {
  const clusterIp = clusterIpOf(service, family);
  if (clusterIp === undefined) return [];
  const spec = service.spec ?? {};
  const common = addressesOf(service, family);
  const { namespace, name } = service.metadata;
  return (spec.ports ?? []).map((port) => ({
    ...common,
    clusterIp,
    name: servicePortName(namespace, name, port.name ?? ""),
    protocol: protocolOf(port.protocol),
    port: port.port,
    nodePort: port.nodePort ?? 0,
  }));
}

/** The cluster address of the family; undefined when this service is not the proxy's business. */
function clusterIpOf(service: Service, family: Family): string | undefined {
  const spec = service.spec;
  if (spec === undefined || service.metadata.labels?.[PROXY_NAME_LABEL] !== undefined)
    return undefined;
  const { clusterIP = "", type, ipFamilies = [], clusterIPs = [] } = spec;
  if (clusterIP === "" || clusterIP === "None" || type === "ExternalName") return undefined;
  const index = ipFamilies.indexOf(family);
  const text = index >= 0 ? clusterIPs[index] : ipFamilies.length === 0 ? clusterIP : undefined;
  return text !== undefined && familyOf(text) === family ? canonicalAddress(text) : undefined;
}

function addressesOf(service: Service, family: Family) {
  const spec = service.spec ?? {};
  const externalIps = ofFamily(spec.externalIPs ?? [], family);
  const externalPolicyLocal =
    spec.externalTrafficPolicy === "Local" &&
    (spec.type === "LoadBalancer" || spec.type === "NodePort" || externalIps.length > 0);
  const vips = (service.status?.loadBalancer?.ingress ?? [])
    .filter((ingress) => ingress.ipMode === undefined || ingress.ipMode === "VIP")
    .flatMap((ingress) => (ingress.ip === undefined ? [] : [ingress.ip]));
  return {
    externalIps,
    loadBalancerVips: ofFamily(vips, family),
    sourceRanges: effectiveRanges(spec.loadBalancerSourceRanges ?? [], family),
    internalPolicyLocal: spec.internalTrafficPolicy === "Local",
    externalPolicyLocal,
    healthCheckNodePort:
      spec.type === "LoadBalancer" && externalPolicyLocal ? (spec.healthCheckNodePort ?? 0) : 0,
    affinitySeconds:
      spec.sessionAffinity === "ClientIP"
        ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS)
        : 0,
  };
}

function ofFamily(texts: readonly string[], family: Family): string[] {
  return texts.flatMap((text) => {
    const address = familyOf(text) === family ? canonicalAddress(text) : undefined;
    return address === undefined ? [] : [address];
  });
}

/** A range of everything, or none of this family, means that nobody is kept out. */
function effectiveRanges(texts: readonly string[], family: Family): string[] {
  const ranges = texts
    .map((text) => parseCidr(text.trim()))
    .filter((range) => range?.family === family)
    .filter((range) => range !== undefined);
  return ranges.some((range) => range.prefix === 0) ? [] : ranges.map(formatCidr);
}
