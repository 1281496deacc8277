/**
 * Defaults of Services (pkg/apis/core/v1/defaults.go of upstream, and what its REST layer adds for a single-stack
 * IPv4 cluster). Pure. Addresses and node ports are not given here: that needs to know the other services. Called by
 * defaults.ts.
 */

import { at, isObject, type KubeObject, listAt } from "./objects.ts";

type Plain = Readonly<Record<string, unknown>>;

/** Seconds a client stays with its endpoint unless told otherwise. */
const CLIENT_IP_TIMEOUT = 10_800;

export function serviceWithDefaults(service: KubeObject): KubeObject {
  const given = service.spec ?? {};
  if (!isObject(given)) return service;
  const spec: Plain = { sessionAffinity: "None", type: "ClusterIP", ...given };
  const isExternal = spec.type === "NodePort" || spec.type === "LoadBalancer";
  return {
    ...service,
    spec: {
      ...(spec.type === "ExternalName" ? {} : clusterFields()),
      ...(isExternal ? { externalTrafficPolicy: "Cluster" } : {}),
      ...(spec.type === "LoadBalancer" ? { allocateLoadBalancerNodePorts: true } : {}),
      ...spec,
      ...affinityConfig(spec),
      ...(Array.isArray(spec.ports) ? { ports: spec.ports.map(portWithDefaults) } : {}),
    },
  };
}

function clusterFields(): Plain {
  return {
    internalTrafficPolicy: "Cluster",
    ipFamilies: ["IPv4"],
    ipFamilyPolicy: "SingleStack",
  };
}

function affinityConfig(spec: Plain): Plain {
  if (spec.sessionAffinity !== "ClientIP" || spec.sessionAffinityConfig !== undefined) return {};
  return { sessionAffinityConfig: { clientIP: { timeoutSeconds: CLIENT_IP_TIMEOUT } } };
}

function portWithDefaults(port: unknown): unknown {
  if (!isObject(port)) return port;
  const { targetPort } = port;
  const isUnset = targetPort === undefined || targetPort === 0 || targetPort === "";
  return { protocol: "TCP", ...port, ...(isUnset ? { targetPort: port.port } : {}) };
}

/** Addresses and node ports of `old` in a new version that names none, as upstream's patchAllocatedValues. */
export function keepAllocated(service: KubeObject, old: KubeObject): KubeObject {
  const { spec } = service;
  const before = old.spec;
  if (!isObject(spec) || !isObject(before)) return service;
  if (spec.type === "ExternalName" || before.type === "ExternalName") return service;
  const kept: Record<string, unknown> = {};
  for (const name of ["clusterIP", "clusterIPs"]) {
    const isUnset = spec[name] === undefined || spec[name] === "";
    if (isUnset && before[name] !== undefined) kept[name] = before[name];
  }
  const hasNodePorts = spec.type === "NodePort" || spec.type === "LoadBalancer";
  if (hasNodePorts && Array.isArray(spec.ports))
    kept.ports = spec.ports.map((port) => withNodePort(port, listAt(before, "ports")));
  return { ...service, spec: { ...spec, ...kept } };
}

function withNodePort(port: unknown, before: readonly unknown[]): unknown {
  if (!isObject(port) || port.nodePort) return port;
  const same = before.find(
    (other) => at(other, "port") === port.port && at(other, "protocol") === port.protocol,
  );
  const nodePort = at(same, "nodePort");
  return nodePort === undefined ? port : { ...port, nodePort };
}
