/**
 * Environment variables that tell a pod of services: NAME_SERVICE_HOST, NAME_SERVICE_PORT[_PORTNAME] and the docker
 * link forms. Pure. A pod sees the services of its namespace (enableServiceLinks) and always default/kubernetes.
 */

import type { Pod, Service } from "../api/types.ts";

const MASTER_NAMESPACE = "default";
const MASTER_SERVICE = "kubernetes";

function toVariable(name: string): string {
  return name.replaceAll("-", "_").toUpperCase();
}

/** Variables for every service that `pod` should know, in the kubelet's forms. */
export function computeServiceEnv(
  pod: Pod,
  services: readonly Service[],
): ReadonlyMap<string, string> {
  const hasLinks = pod.spec.enableServiceLinks ?? true;
  const isMaster = ({ metadata }: Service): boolean =>
    metadata.namespace === MASTER_NAMESPACE && metadata.name === MASTER_SERVICE;
  const local = services.filter(
    (service) => hasLinks && service.metadata.namespace === pod.metadata.namespace,
  );
  // A service of the same name in the pod's own namespace wins over default/kubernetes.
  const byName = new Map(
    [...services.filter(isMaster), ...local].map((it) => [it.metadata.name, it]),
  );
  return new Map([...byName.values()].flatMap(variablesOf));
}

function variablesOf(service: Service): [string, string][] {
  const ip = service.spec?.clusterIP;
  const ports = service.spec?.ports ?? [];
  const first = ports[0];
  if (ip === undefined || ip === "" || ip === "None" || first === undefined) return [];
  const name = toVariable(service.metadata.name);
  return [
    [`${name}_SERVICE_HOST`, ip],
    [`${name}_SERVICE_PORT`, String(first.port)],
    ...ports.flatMap((port): [string, string][] =>
      port.name ? [[`${name}_SERVICE_PORT_${toVariable(port.name)}`, String(port.port)]] : [],
    ),
    ...ports.flatMap((port, index) => linkVariables(name, ip, port, index === 0)),
  ];
}

function linkVariables(
  name: string,
  ip: string,
  port: { readonly port: number; readonly protocol?: string },
  isFirst: boolean,
): [string, string][] {
  const protocol = port.protocol ?? "TCP";
  const host = ip.includes(":") ? `[${ip}]` : ip;
  const url = `${protocol.toLowerCase()}://${host}:${port.port}`;
  const prefix = `${name}_PORT_${port.port}_${protocol.toUpperCase()}`;
  return [
    ...(isFirst ? ([[`${name}_PORT`, url]] as [string, string][]) : []),
    [prefix, url],
    [`${prefix}_PROTO`, protocol.toLowerCase()],
    [`${prefix}_PORT`, String(port.port)],
    [`${prefix}_ADDR`, ip],
  ];
}
