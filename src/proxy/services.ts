/**
 * Services as the proxy programs them: one ServicePort per (namespace, name, port name, protocol) of one address
 * family, with every address it answers on. Pure. Which field counts and which is ignored follows kube-proxy 1.36;
 * what no API server would accept is left out and said, so that it can harm neither the kernel's text nor others.
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

/** Takes note of what is left out, and why. */
export type OnSkip = (reason: string) => void;

const skipSilently: OnSkip = () => undefined;

const PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name";
const DEFAULT_AFFINITY_SECONDS = 10_800;
/** Names end up in comments, which hold 255 characters, and in no place where another character would be needed. */
const SAFE_NAME = /^[\w.-]{1,63}$/;

/** The key of a service port: unique, and the same for the endpoints that belong to it. */
export function servicePortKey(name: string, protocol: string): string {
  return `${name}/${protocol}`;
}

/** `namespace/name:portname`. */
export function servicePortName(namespace: string, service: string, portName: string): string {
  return portName === "" ? `${namespace}/${service}` : `${namespace}/${service}:${portName}`;
}

/** Undefined for what no proxy knows. */
export function protocolOf(text: string | undefined): Protocol | undefined {
  const lower = (text ?? "TCP").toLowerCase();
  return lower === "tcp" || lower === "udp" || lower === "sctp" ? lower : undefined;
}

export function isPortNumber(port: unknown): port is number {
  return typeof port === "number" && Number.isInteger(port) && port > 0 && port <= 65_535;
}

/** Rubbish as it may be shown to a person: short, and on one line. */
export function shown(text: unknown): string {
  return (JSON.stringify(text) ?? "nothing").slice(0, 80);
}

/** The service ports of one family, by key. */
export function computeServicePorts(
  services: readonly Service[],
  family: Family,
  skip: OnSkip = skipSilently,
): ReadonlyMap<string, ServicePort> {
  const ports = new Map<string, ServicePort>();
  for (const service of services) addPorts(ports, service, family, skip);
  return ports;
}

/** True when the service is reachable by more than its cluster address. */
export function isExternallyAccessible(port: ServicePort): boolean {
  return port.nodePort !== 0 || port.loadBalancerVips.length > 0 || port.externalIps.length > 0;
}

function addPorts(
  ports: Map<string, ServicePort>,
  service: Service,
  family: Family,
  skip: OnSkip,
): void {
  const clusterIp = clusterIpOf(service, family, skip);
  if (clusterIp === undefined) return;
  const { namespace, name } = service.metadata;
  if (!SAFE_NAME.test(namespace) || !SAFE_NAME.test(name)) {
    skip(`the Service: ${shown(`${namespace}/${name}`)} is no name`);
    return;
  }
  const common = addressesOf(service, family, skip);
  for (const port of service.spec?.ports ?? []) {
    const portName = port.name ?? "";
    const protocol = protocolOf(port.protocol);
    if (protocol === undefined || !isPortNumber(port.port) || !SAFE_NAME.test(portName || "-")) {
      skip(`port ${shown(portName)}: ${shown(port.protocol ?? "TCP")} ${shown(port.port)}`);
      continue;
    }
    const fullName = servicePortName(namespace, name, portName);
    const key = servicePortKey(fullName, protocol);
    if (ports.has(key)) {
      skip(`port ${port.port}: another ${protocol} port has its name ${shown(portName)}`);
      continue;
    }
    const nodePort = portOr0(port.nodePort, "nodePort", skip);
    ports.set(key, { ...common, clusterIp, name: fullName, protocol, port: port.port, nodePort });
  }
}

/** The cluster address of the family; undefined when this service is not the proxy's business. */
function clusterIpOf(service: Service, family: Family, skip: OnSkip): string | undefined {
  const spec = service.spec;
  if (spec === undefined || service.metadata.labels?.[PROXY_NAME_LABEL] !== undefined)
    return undefined;
  const { clusterIP = "", type, ipFamilies = [], clusterIPs = [] } = spec;
  if (clusterIP === "" || clusterIP === "None" || type === "ExternalName") return undefined;
  const index = ipFamilies.indexOf(family);
  const text = index >= 0 ? clusterIPs[index] : ipFamilies.length === 0 ? clusterIP : undefined;
  if (text === undefined) return undefined;
  const ip = familyOf(text) === family ? canonicalAddress(text) : undefined;
  const isOther = ipFamilies.length === 0 && familyOf(text) !== undefined;
  if (ip === undefined && !isOther) skip(`the Service: ${shown(text)} is no ${family} address`);
  return ip;
}

function addressesOf(service: Service, family: Family, skip: OnSkip) {
  const spec = service.spec ?? {};
  const externalIps = ofFamily(spec.externalIPs ?? [], family, skip);
  const externalPolicyLocal =
    spec.externalTrafficPolicy === "Local" &&
    (spec.type === "LoadBalancer" || spec.type === "NodePort" || externalIps.length > 0);
  const vips = (service.status?.loadBalancer?.ingress ?? [])
    .filter((ingress) => (ingress.ipMode ?? "VIP") === "VIP")
    .flatMap((ingress) => (ingress.ip ? [ingress.ip] : []));
  const sourceRanges = effectiveRanges(spec.loadBalancerSourceRanges ?? [], family, skip);
  const hasHealthCheck = spec.type === "LoadBalancer" && externalPolicyLocal;
  return {
    externalIps,
    // Ranges that cannot be read must not let everybody in.
    loadBalancerVips: sourceRanges === undefined ? [] : ofFamily(vips, family, skip),
    sourceRanges: sourceRanges ?? [],
    internalPolicyLocal: spec.internalTrafficPolicy === "Local",
    externalPolicyLocal,
    healthCheckNodePort: hasHealthCheck
      ? portOr0(spec.healthCheckNodePort, "healthCheckNodePort", skip)
      : 0,
    affinitySeconds: spec.sessionAffinity === "ClientIP" ? affinityOf(service, skip) : 0,
  };
}

function affinityOf(service: Service, skip: OnSkip): number {
  const seconds =
    service.spec?.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS;
  if (Number.isInteger(seconds) && seconds > 0 && seconds < 2 ** 31) return seconds;
  skip(`timeoutSeconds: ${shown(seconds)}`);
  return DEFAULT_AFFINITY_SECONDS;
}

function portOr0(port: number | undefined, field: string, skip: OnSkip): number {
  if (isPortNumber(port)) return port;
  if (port) skip(`${field}: ${shown(port)} is no port number`);
  return 0;
}

function ofFamily(texts: readonly string[], family: Family, skip: OnSkip): string[] {
  const addresses = texts.flatMap((text) => {
    const address = canonicalAddress(text);
    if (address === undefined) skip(`address ${shown(text)}`);
    return address === undefined || familyOf(address) !== family ? [] : [address];
  });
  return [...new Set(addresses)];
}

/**
 * A range of everything, or none of this family, means that nobody is kept out. Undefined when what was meant cannot
 * be told, because no range of the family is left beside unreadable ones.
 */
function effectiveRanges(
  texts: readonly string[],
  family: Family,
  skip: OnSkip,
): string[] | undefined {
  const parsed = texts.map((text) => parseCidr(text.trim()));
  const unreadable = texts.filter((_, index) => parsed[index] === undefined);
  for (const text of unreadable) skip(`source range ${shown(text)}`);
  const ranges = parsed.filter((range) => range !== undefined && range.family === family);
  if (ranges.some((range) => range?.prefix === 0)) return [];
  if (ranges.length === 0 && unreadable.length > 0) return undefined;
  return [...new Set(ranges.flatMap((range) => (range === undefined ? [] : formatCidr(range))))];
}
