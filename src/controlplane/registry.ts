/**
 * The table of what this API server serves: one ResourceType for each resource, with its place in the API, its names
 * for kubectl and its verbs. Discovery, routing, the store and the tables all read from it; it holds no state.
 */

export type Verb =
  | "create"
  | "delete"
  | "deletecollection"
  | "get"
  | "list"
  | "patch"
  | "update"
  | "watch";

export interface Subresource {
  readonly name: string;
  readonly kind: string;
  /** Where the kind is of another group or version than its resource, e.g. policy/v1 Eviction. */
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly Verb[];
  /** Served by a ConnectHandler (extension.ts) instead of the store. */
  readonly isConnect?: true;
}

export interface ResourceType {
  /** "" for the core group. */
  readonly group: string;
  readonly version: string;
  /** Lower-case plural, as in the URL. */
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  readonly subresources: readonly Subresource[];
  readonly verbs: readonly Verb[];
}

const ALL_VERBS: readonly Verb[] = [
  "create",
  "delete",
  "deletecollection",
  "get",
  "list",
  "patch",
  "update",
  "watch",
];

function statusOf(kind: string): Subresource {
  return { name: "status", kind, verbs: ["get", "patch", "update"] };
}

function define(type: Pick<ResourceType, "plural" | "kind"> & Partial<ResourceType>): ResourceType {
  return {
    group: "",
    version: "v1",
    singular: type.kind.toLowerCase(),
    shortNames: [],
    categories: [],
    namespaced: true,
    subresources: [],
    verbs: ALL_VERBS,
    ...type,
  };
}

export const PODS = define({
  plural: "pods",
  kind: "Pod",
  shortNames: ["po"],
  categories: ["all"],
  subresources: [
    { name: "attach", kind: "PodAttachOptions", verbs: ["create", "get"], isConnect: true },
    { name: "binding", kind: "Binding", verbs: ["create"] },
    { name: "ephemeralcontainers", kind: "Pod", verbs: ["get", "patch", "update"] },
    { name: "eviction", kind: "Eviction", group: "policy", version: "v1", verbs: ["create"] },
    { name: "exec", kind: "PodExecOptions", verbs: ["create", "get"], isConnect: true },
    { name: "log", kind: "Pod", verbs: ["get"], isConnect: true },
    {
      name: "portforward",
      kind: "PodPortForwardOptions",
      verbs: ["create", "get"],
      isConnect: true,
    },
    { name: "resize", kind: "Pod", verbs: ["get", "patch", "update"] },
    statusOf("Pod"),
  ],
});

export const NODES = define({
  plural: "nodes",
  kind: "Node",
  shortNames: ["no"],
  namespaced: false,
  subresources: [
    {
      name: "proxy",
      kind: "NodeProxyOptions",
      verbs: ["create", "delete", "get", "patch", "update"],
      isConnect: true,
    },
    statusOf("Node"),
  ],
});

export const NAMESPACES = define({
  plural: "namespaces",
  kind: "Namespace",
  shortNames: ["ns"],
  namespaced: false,
  verbs: ["create", "delete", "get", "list", "patch", "update", "watch"],
  subresources: [{ name: "finalize", kind: "Namespace", verbs: ["update"] }, statusOf("Namespace")],
});

export const SERVICES = define({
  plural: "services",
  kind: "Service",
  shortNames: ["svc"],
  categories: ["all"],
  subresources: [statusOf("Service")],
});

export const ENDPOINTS = define({ plural: "endpoints", kind: "Endpoints", shortNames: ["ep"] });
export const CONFIG_MAPS = define({ plural: "configmaps", kind: "ConfigMap", shortNames: ["cm"] });
export const SECRETS = define({ plural: "secrets", kind: "Secret" });
export const EVENTS = define({ plural: "events", kind: "Event", shortNames: ["ev"] });

export const PERSISTENT_VOLUME_CLAIMS = define({
  plural: "persistentvolumeclaims",
  kind: "PersistentVolumeClaim",
  shortNames: ["pvc"],
  subresources: [statusOf("PersistentVolumeClaim")],
});

export const PERSISTENT_VOLUMES = define({
  plural: "persistentvolumes",
  kind: "PersistentVolume",
  shortNames: ["pv"],
  namespaced: false,
  subresources: [statusOf("PersistentVolume")],
});

export const SERVICE_ACCOUNTS = define({
  plural: "serviceaccounts",
  kind: "ServiceAccount",
  shortNames: ["sa"],
  subresources: [
    {
      name: "token",
      kind: "TokenRequest",
      group: "authentication.k8s.io",
      version: "v1",
      verbs: ["create"],
      isConnect: true,
    },
  ],
});

export const ENDPOINT_SLICES = define({
  group: "discovery.k8s.io",
  plural: "endpointslices",
  kind: "EndpointSlice",
});

const RUNTIME_CLASSES = define({
  group: "node.k8s.io",
  plural: "runtimeclasses",
  kind: "RuntimeClass",
  namespaced: false,
});
export const CLUSTER_TRUST_BUNDLES = define({
  group: "certificates.k8s.io",
  version: "v1beta1",
  plural: "clustertrustbundles",
  kind: "ClusterTrustBundle",
  namespaced: false,
});
export const POD_CERTIFICATE_REQUESTS = define({
  group: "certificates.k8s.io",
  version: "v1beta1",
  plural: "podcertificaterequests",
  kind: "PodCertificateRequest",
  subresources: [statusOf("PodCertificateRequest")],
});
export const CERTIFICATE_SIGNING_REQUESTS = define({
  group: "certificates.k8s.io",
  plural: "certificatesigningrequests",
  kind: "CertificateSigningRequest",
  shortNames: ["csr"],
  namespaced: false,
  subresources: [
    { name: "approval", kind: "CertificateSigningRequest", verbs: ["get", "patch", "update"] },
    statusOf("CertificateSigningRequest"),
  ],
});

export const LEASES = define({ group: "coordination.k8s.io", plural: "leases", kind: "Lease" });

/** Questions: answered, never stored (reviews.ts). */
const REVIEWS: readonly ResourceType[] = [
  ["authentication.k8s.io", "TokenReview"],
  ["authentication.k8s.io", "SelfSubjectReview"],
  ["authorization.k8s.io", "SubjectAccessReview"],
  ["authorization.k8s.io", "SelfSubjectAccessReview"],
].map(([group = "", kind = ""]) =>
  define({ group, plural: `${kind.toLowerCase()}s`, kind, namespaced: false, verbs: ["create"] }),
);

/** Every resource served, in the order of discovery. */
export const RESOURCE_TYPES: readonly ResourceType[] = [
  CONFIG_MAPS,
  ENDPOINTS,
  EVENTS,
  NAMESPACES,
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
  LEASES,
  ENDPOINT_SLICES,
  RUNTIME_CLASSES,
  CERTIFICATE_SIGNING_REQUESTS,
  CLUSTER_TRUST_BUNDLES,
  POD_CERTIFICATE_REQUESTS,
  ...REVIEWS,
];

/** "pods", or "leases.coordination.k8s.io": names a resource in the store, in paths of messages and in details. */
export function resourceName(type: ResourceType): string {
  return type.group === "" ? type.plural : `${type.plural}.${type.group}`;
}

export function apiVersionOf(type: { readonly group: string; readonly version: string }): string {
  return type.group === "" ? type.version : `${type.group}/${type.version}`;
}

export function findType(group: string, version: string, plural: string): ResourceType | undefined {
  return RESOURCE_TYPES.find(
    (type) => type.group === group && type.version === version && type.plural === plural,
  );
}
