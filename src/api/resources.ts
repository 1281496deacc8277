/** The resources Longshore talks about, each with its place in the API and its type. Used with ApiClient. */

import type {
  CertificateSigningRequest,
  ClusterTrustBundle,
  ConfigMap,
  EndpointSlice,
  Event,
  Lease,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  PodCertificateRequest,
  RuntimeClass,
  Secret,
  Service,
  StoredMeta,
  StoredObject,
} from "./types.ts";

export interface Resource<T extends StoredObject> {
  readonly group: string;
  readonly version: string;
  /** Lower-case plural, as in the URL. */
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set: carries the type only. */
  readonly _type?: T;
}

export const PODS: Resource<Pod> = core("pods", "Pod");
export const SERVICES: Resource<Service> = core("services", "Service");
export const CONFIG_MAPS: Resource<ConfigMap> = core("configmaps", "ConfigMap");
export const SECRETS: Resource<Secret> = core("secrets", "Secret");
export const PERSISTENT_VOLUME_CLAIMS: Resource<PersistentVolumeClaim> = core(
  "persistentvolumeclaims",
  "PersistentVolumeClaim",
);
export const PERSISTENT_VOLUMES: Resource<PersistentVolume> = {
  ...core<PersistentVolume>("persistentvolumes", "PersistentVolume"),
  namespaced: false,
};
export const EVENTS: Resource<Event & { metadata: StoredMeta }> = core("events", "Event");
export const NODES: Resource<Node> = { ...core<Node>("nodes", "Node"), namespaced: false };
export const LEASES: Resource<Lease> = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  kind: "Lease",
  namespaced: true,
};
export const CERTIFICATE_SIGNING_REQUESTS: Resource<CertificateSigningRequest> = {
  group: "certificates.k8s.io",
  version: "v1",
  plural: "certificatesigningrequests",
  kind: "CertificateSigningRequest",
  namespaced: false,
};
export const RUNTIME_CLASSES: Resource<RuntimeClass> = {
  group: "node.k8s.io",
  version: "v1",
  plural: "runtimeclasses",
  kind: "RuntimeClass",
  namespaced: false,
};
export const ENDPOINT_SLICES: Resource<EndpointSlice> = {
  group: "discovery.k8s.io",
  version: "v1",
  plural: "endpointslices",
  kind: "EndpointSlice",
  namespaced: true,
};
export const CLUSTER_TRUST_BUNDLES: Resource<ClusterTrustBundle> = {
  group: "certificates.k8s.io",
  version: "v1beta1",
  plural: "clustertrustbundles",
  kind: "ClusterTrustBundle",
  namespaced: false,
};
export const POD_CERTIFICATE_REQUESTS: Resource<PodCertificateRequest> = {
  group: "certificates.k8s.io",
  version: "v1beta1",
  plural: "podcertificaterequests",
  kind: "PodCertificateRequest",
  namespaced: true,
};

function core<T extends StoredObject>(plural: string, kind: string): Resource<T> {
  return { group: "", version: "v1", plural, kind, namespaced: true };
}
