/**
 * Cluster IPs and node ports of Services. Pure and stateless: what is taken is read from the services that exist, so
 * a deleted Service releases what it had without anybody doing so. Requested values are honoured or refused in
 * kube-apiserver's words. Called by the admission hook that controllers/install.ts puts before the store.
 */

import type { Service } from "../api/types.ts";
import { sha256 } from "../core/hash.ts";
import { type Ipv4Range, isInRange, nthAddress, parseIpv4, parseRange } from "./ipv4-range.ts";

export type Allocation =
  | { readonly kind: "allocated"; readonly spec: ServiceSpec }
  | {
      readonly kind: "refused";
      readonly field: string;
      readonly value: unknown;
      readonly detail: string;
    };

export type ServiceSpec = NonNullable<Service["spec"]>;
type ServicePort = NonNullable<ServiceSpec["ports"]>[number];

export interface AllocationRequest {
  readonly namespace: string;
  readonly name: string;
  readonly spec: ServiceSpec;
  /** The Service as stored; absent on create. */
  readonly previous?: ServiceSpec;
  /** Every other Service of the cluster. */
  readonly others: readonly Service[];
  readonly serviceCidr: string;
}

const NODE_PORT_MIN = 30_000;
const NODE_PORT_MAX = 32_767;
/** The lowest ports are left to people who choose (KEP-3668). */
const NODE_PORT_BAND = 86;

/** The Service's spec with its IPs and node ports, or why it cannot have them. */
export function allocateService(request: AllocationRequest): Allocation {
  const withIps = allocateIps(request);
  return withIps.kind === "refused"
    ? withIps
    : allocateNodePorts({ ...request, spec: withIps.spec });
}

/** The address of the `kubernetes` Service: the first of the range. */
export function kubernetesServiceIp(serviceCidr: string): string {
  return nthAddress(parseRange(serviceCidr), 1);
}

function allocateIps(request: AllocationRequest): Allocation {
  const { spec, previous } = request;
  if (spec.type === "ExternalName") {
    const { clusterIP: _, clusterIPs: __, ipFamilies: ___, ipFamilyPolicy: ____, ...rest } = spec;
    return { kind: "allocated", spec: rest };
  }
  const wanted = spec.clusterIP || spec.clusterIPs?.[0];
  const held = previous?.type === "ExternalName" ? undefined : previous?.clusterIP;
  if (held) {
    if (wanted && wanted !== held)
      return refuse("spec.clusterIPs[0]", wanted, "may not change once set");
    return { kind: "allocated", spec: withIp(spec, held) };
  }
  if (wanted === "None") return { kind: "allocated", spec: withIp(spec, wanted) };
  const taken = new Set(
    request.others.flatMap((it) => it.spec?.clusterIPs ?? it.spec?.clusterIP ?? []),
  );
  const range = parseRange(request.serviceCidr);
  if (wanted) return requestIp(spec, wanted, range, taken);
  const ip = freeIp(`${request.namespace}/${request.name}`, range, taken);
  return ip === undefined
    ? refuse("spec.clusterIPs", [], "failed to allocate a serviceIP: range is full")
    : { kind: "allocated", spec: withIp(spec, ip) };
}

function requestIp(
  spec: ServiceSpec,
  ip: string,
  range: Ipv4Range,
  taken: ReadonlySet<string>,
): Allocation {
  const address = parseIpv4(ip);
  if (address === undefined)
    return refuse("spec.clusterIPs[0]", ip, "must be a valid IP address, (e.g. 10.9.8.7)");
  if (!isInRange(range, address)) {
    const detail = `failed to allocate IP ${ip}: the provided IP (${ip}) is not in the valid range. The range of valid IPs is ${range.cidr}`;
    return refuse("spec.clusterIPs", [ip], detail);
  }
  if (taken.has(ip))
    return refuse(
      "spec.clusterIPs",
      [ip],
      `failed to allocate IP ${ip}: provided IP is already allocated`,
    );
  return { kind: "allocated", spec: withIp(spec, ip) };
}

/**
 * The first free address from a place that depends on the name, so that an address just released is not the next one
 * given away. The lower band is left to people who choose, as upstream does (KEP-3070).
 */
function freeIp(seed: string, range: Ipv4Range, taken: ReadonlySet<string>): string | undefined {
  const usable = range.size - 2;
  const band = Math.min(Math.max(16, Math.floor(range.size / 16)), 256, usable - 1);
  const dynamic = usable - band;
  const start = sha256(seed).readUInt32BE(0) % dynamic;
  for (let turn = 0; turn < usable; turn++) {
    const offset = turn < dynamic ? band + ((start + turn) % dynamic) : turn - dynamic;
    const ip = nthAddress(range, offset + 1);
    if (!taken.has(ip)) return ip;
  }
  return undefined;
}

function withIp(spec: ServiceSpec, ip: string): ServiceSpec {
  return {
    ...spec,
    type: spec.type ?? "ClusterIP",
    clusterIP: ip,
    clusterIPs: [ip],
    ipFamilies: spec.ipFamilies ?? ["IPv4"],
    ipFamilyPolicy: spec.ipFamilyPolicy ?? "SingleStack",
  };
}

function allocateNodePorts(request: AllocationRequest): Allocation {
  const { spec, previous } = request;
  if (!needsNodePorts(spec)) {
    const { healthCheckNodePort: _, ...rest } = spec;
    if (rest.ports === undefined) return { kind: "allocated", spec: rest };
    const ports = rest.ports.map(({ nodePort: __, ...port }) => port);
    return { kind: "allocated", spec: { ...rest, ports } };
  }
  const taken = takenNodePorts(request.others);
  const held = new Map((previous?.ports ?? []).map((port) => [portKey(port), port.nodePort]));
  const ports: ServicePort[] = [];
  for (const [index, port] of (spec.ports ?? []).entries()) {
    const wanted = port.nodePort || held.get(portKey(port));
    const given = takeNodePort(taken, protocolOf(port), wanted);
    if (typeof given === "string")
      return refuse(`spec.ports[${index}].nodePort`, wanted ?? 0, given);
    ports.push({ ...port, nodePort: given });
  }
  if (spec.type !== "LoadBalancer" || spec.externalTrafficPolicy !== "Local")
    return { kind: "allocated", spec: { ...spec, ports } };
  const wanted = spec.healthCheckNodePort || previous?.healthCheckNodePort;
  const check = takeNodePort(taken, "TCP", wanted);
  return typeof check === "string"
    ? refuse("spec.healthCheckNodePort", wanted ?? 0, check)
    : { kind: "allocated", spec: { ...spec, ports, healthCheckNodePort: check } };
}

function needsNodePorts(spec: ServiceSpec): boolean {
  if (spec.type === "NodePort") return true;
  return spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false;
}

function takenNodePorts(services: readonly Service[]): Set<string> {
  const taken = new Set<string>();
  for (const { spec } of services) {
    for (const port of spec?.ports ?? []) {
      if (port.nodePort) taken.add(`${protocolOf(port)}/${port.nodePort}`);
    }
    if (spec?.healthCheckNodePort) taken.add(`TCP/${spec.healthCheckNodePort}`);
  }
  return taken;
}

/** Takes `wanted`, or any free port, out of the free ones; a string says why not. */
function takeNodePort(
  taken: Set<string>,
  protocol: string,
  wanted: number | undefined,
): number | string {
  if (wanted !== undefined && (wanted < NODE_PORT_MIN || wanted > NODE_PORT_MAX))
    return `provided port is not in the valid range. The range of valid ports is ${NODE_PORT_MIN}-${NODE_PORT_MAX}`;
  if (wanted !== undefined && taken.has(`${protocol}/${wanted}`))
    return "provided port is already allocated";
  const port = wanted ?? freeNodePort(taken, protocol);
  if (port === undefined) return "failed to allocate a nodePort: range is full";
  taken.add(`${protocol}/${port}`);
  return port;
}

function freeNodePort(taken: ReadonlySet<string>, protocol: string): number | undefined {
  const size = NODE_PORT_MAX - NODE_PORT_MIN + 1;
  for (let turn = 0; turn < size; turn++) {
    const port = NODE_PORT_MIN + ((NODE_PORT_BAND + turn) % size);
    if (!taken.has(`${protocol}/${port}`)) return port;
  }
  return undefined;
}

function protocolOf(port: ServicePort): string {
  return port.protocol ?? "TCP";
}

function portKey(port: ServicePort): string {
  return `${protocolOf(port)}/${port.port}`;
}

function refuse(field: string, value: unknown, detail: string): Allocation {
  return { kind: "refused", field, value, detail };
}
