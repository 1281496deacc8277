/** Services and EndpointSlices for tests of the proxy: one plain object each, and overrides. */

import type { EndpointSlice, Service } from "../../src/api/types.ts";
import type { ProxierRules } from "../../src/proxy/proxier.ts";

/** What the proxy is told of its node, in tests to which it matters little. */
export const PROXIER_RULES: ProxierRules = {
  nodeName: "this-node",
  interfaceIps: ["127.0.0.1", "192.0.2.1"],
  nodePortAddresses: [],
  detectLocal: { kind: "Cidr", cidr: "10.0.0.0/8" },
  masqueradeAll: false,
  masqueradeBit: 14,
  localhostNodePorts: false,
  dropInvalid: true,
};

export interface ServiceParts {
  readonly name: string;
  readonly clusterIp: string;
  readonly protocol?: "TCP" | "UDP" | "SCTP";
  readonly port?: number;
  readonly spec?: Partial<NonNullable<Service["spec"]>>;
}

const counter = { version: 0 };

export function makeService(parts: ServiceParts): Service {
  const { name, clusterIp, protocol = "TCP", port = 80 } = parts;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "default", name, uid: name, resourceVersion: String(++counter.version) },
    spec: {
      type: "ClusterIP",
      clusterIP: clusterIp,
      clusterIPs: [clusterIp],
      ipFamilies: ["IPv4"],
      ports: [{ protocol, port }],
      ...parts.spec,
    },
  };
}

export interface SliceParts {
  readonly service: string;
  readonly name?: string;
  readonly ips: readonly string[];
  readonly port: number;
  readonly protocol?: "TCP" | "UDP" | "SCTP";
  readonly conditions?: {
    readonly ready?: boolean;
    readonly serving?: boolean;
    readonly terminating?: boolean;
  };
}

export function makeSlice(parts: SliceParts): EndpointSlice {
  const { service, name = `${service}-1`, ips, port, protocol = "TCP", conditions } = parts;
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      namespace: "default",
      name,
      uid: name,
      resourceVersion: String(++counter.version),
      labels: { "kubernetes.io/service-name": service },
    },
    addressType: "IPv4",
    ports: [{ name: "", protocol, port }],
    endpoints: ips.map((ip) => ({
      addresses: [ip],
      nodeName: "this-node",
      ...(conditions === undefined ? {} : { conditions }),
    })),
  };
}
