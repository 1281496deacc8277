/**
 * The `kubernetes` Service in the namespace default: the first cluster IP, with an EndpointSlice and Endpoints that
 * point at the API server. Written once at start; pods reach the API server through it. Called by install.ts.
 */

import { type KubeObject, withMeta } from "../objects.ts";
import { ENDPOINT_SLICES, ENDPOINTS, type ResourceType, SERVICES } from "../registry.ts";
import { kubernetesServiceIp } from "../services.ts";
import type { Store } from "../store.ts";

export interface ApiServerAddress {
  readonly serviceCidr: string;
  /** Where pods reach the API server; a loopback address works while the proxy routes it (localhostNodePorts). */
  readonly address: string;
  readonly port: number;
}

export function ensureKubernetesService(store: Store, api: ApiServerAddress): void {
  const metadata = { name: "kubernetes", namespace: "default" };
  const ip = kubernetesServiceIp(api.serviceCidr);
  const port = { name: "https", port: api.port, protocol: "TCP" };
  put(store, SERVICES, {
    apiVersion: "v1",
    kind: "Service",
    metadata: { ...metadata, labels: { component: "apiserver", provider: "kubernetes" } },
    spec: {
      type: "ClusterIP",
      clusterIP: ip,
      clusterIPs: [ip],
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      internalTrafficPolicy: "Cluster",
      sessionAffinity: "None",
      ports: [{ name: "https", port: 443, protocol: "TCP", targetPort: api.port }],
    },
    status: { loadBalancer: {} },
  });
  put(store, ENDPOINT_SLICES, {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { ...metadata, labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: "IPv4",
    endpoints: [{ addresses: [api.address], conditions: { ready: true } }],
    ports: [port],
  });
  put(store, ENDPOINTS, {
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: { ...metadata, labels: { "endpointslice.kubernetes.io/skip-mirror": "true" } },
    subsets: [{ addresses: [{ ip: api.address }], ports: [port] }],
  });
}

function put(store: Store, type: ResourceType, wanted: KubeObject): void {
  const { namespace, name } = wanted.metadata;
  if (store.get(type, namespace, name) === undefined) store.create(type, wanted);
  else
    store.update(type, namespace, name, (current) => ({
      ...wanted,
      metadata: withMeta(current, { labels: wanted.metadata.labels ?? {} }).metadata,
    }));
}
