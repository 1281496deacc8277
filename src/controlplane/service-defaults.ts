/**
 * Defaults of Services (pkg/apis/core/v1/defaults.go of upstream, and what its REST layer adds for a single-stack
 * IPv4 cluster). Pure. Addresses and node ports are not given here: that needs to know the other services. Called by
 * defaults.ts.
 */

import { isObject, type KubeObject } from "./objects.ts";

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
