/**
 * The kinds that may be sent as protobuf: the fields of the generated.proto files of k8s.io/api and k8s.io/apimachinery
 * (Kubernetes 1.33) by number. Data only; the names are those of the JSON. Read by protobuf.ts.
 */

type FieldType =
  | { readonly kind: "string" }
  | { readonly kind: "bytes" }
  | { readonly kind: "bool" }
  /** int32 or int64. */
  | { readonly kind: "int" }
  /** meta/v1 Time (seconds) or MicroTime. */
  | { readonly kind: "time"; readonly digits: 0 | 6 }
  | { readonly kind: "intOrString" }
  /** FieldsV1: a message around JSON text. */
  | { readonly kind: "json" }
  | { readonly kind: "message"; readonly of: Message }
  | { readonly kind: "map"; readonly value: "string" | "bytes" };

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly isList?: true;
  /** Go marshals what is not a pointer even if it is empty; only a field with this is present in JSON then. */
  readonly keepsZero?: true;
}

export type Message = Readonly<Record<number, Field>>;

const scalar =
  (kind: "string" | "bytes" | "bool" | "int" | "json" | "intOrString") =>
  (name: string): Field => ({ name, type: { kind } });

const string = scalar("string");
const bool = scalar("bool");
const int = scalar("int");
const strings = (name: string): Field => ({ ...string(name), isList: true });
const time = (name: string): Field => ({ name, type: { kind: "time", digits: 0 } });
const microTime = (name: string): Field => ({ name, type: { kind: "time", digits: 6 } });
const one = (name: string, of: Message): Field => ({ name, type: { kind: "message", of } });
const many = (name: string, of: Message): Field => ({ ...one(name, of), isList: true });
const kept = (field: Field): Field => ({ ...field, keepsZero: true });
const stringMap = (name: string): Field => ({ name, type: { kind: "map", value: "string" } });
const bytesMap = (name: string): Field => ({ name, type: { kind: "map", value: "bytes" } });

const OWNER_REFERENCE: Message = {
  1: kept(string("kind")),
  3: kept(string("name")),
  4: kept(string("uid")),
  5: kept(string("apiVersion")),
  6: kept(bool("controller")),
  7: kept(bool("blockOwnerDeletion")),
};

const MANAGED_FIELDS: Message = {
  1: string("manager"),
  2: string("operation"),
  3: string("apiVersion"),
  4: time("time"),
  6: string("fieldsType"),
  7: scalar("json")("fieldsV1"),
  8: string("subresource"),
};

const OBJECT_META: Message = {
  1: string("name"),
  2: string("generateName"),
  3: string("namespace"),
  4: string("selfLink"),
  5: string("uid"),
  6: string("resourceVersion"),
  7: int("generation"),
  8: time("creationTimestamp"),
  9: time("deletionTimestamp"),
  10: kept(int("deletionGracePeriodSeconds")),
  11: stringMap("labels"),
  12: stringMap("annotations"),
  13: many("ownerReferences", OWNER_REFERENCE),
  14: strings("finalizers"),
  17: many("managedFields", MANAGED_FIELDS),
};

const METADATA = one("metadata", OBJECT_META);

const CONDITION: Message = {
  1: kept(string("type")),
  2: kept(string("status")),
  3: int("observedGeneration"),
  4: time("lastTransitionTime"),
  5: kept(string("reason")),
  6: kept(string("message")),
};

const OBJECT_REFERENCE: Message = {
  1: string("kind"),
  2: string("namespace"),
  3: string("name"),
  4: string("uid"),
  5: string("apiVersion"),
  6: string("resourceVersion"),
  7: string("fieldPath"),
};

const DELETE_OPTIONS: Message = {
  1: kept(int("gracePeriodSeconds")),
  2: one("preconditions", { 1: kept(string("uid")), 2: kept(string("resourceVersion")) }),
  3: kept(bool("orphanDependents")),
  4: kept(string("propagationPolicy")),
  5: strings("dryRun"),
  6: kept(bool("ignoreStoreReadErrorWithClusterBreakingPotential")),
};

const NAMESPACE: Message = {
  1: METADATA,
  2: one("spec", { 1: strings("finalizers") }),
  3: one("status", {
    1: string("phase"),
    2: many("conditions", {
      1: kept(string("type")),
      2: kept(string("status")),
      4: time("lastTransitionTime"),
      5: string("reason"),
      6: string("message"),
    }),
  }),
};

const CONFIG_MAP: Message = {
  1: METADATA,
  2: stringMap("data"),
  3: bytesMap("binaryData"),
  4: kept(bool("immutable")),
};

const SECRET: Message = {
  1: METADATA,
  2: bytesMap("data"),
  3: string("type"),
  4: stringMap("stringData"),
  5: kept(bool("immutable")),
};

const SERVICE_ACCOUNT: Message = {
  1: METADATA,
  2: many("secrets", OBJECT_REFERENCE),
  3: many("imagePullSecrets", { 1: string("name") }),
  4: kept(bool("automountServiceAccountToken")),
};

const SERVICE_PORT: Message = {
  1: string("name"),
  2: string("protocol"),
  3: kept(int("port")),
  4: scalar("intOrString")("targetPort"),
  5: int("nodePort"),
  6: kept(string("appProtocol")),
};

const SERVICE_SPEC: Message = {
  1: many("ports", SERVICE_PORT),
  2: stringMap("selector"),
  3: string("clusterIP"),
  4: string("type"),
  5: strings("externalIPs"),
  7: string("sessionAffinity"),
  8: string("loadBalancerIP"),
  9: strings("loadBalancerSourceRanges"),
  10: string("externalName"),
  11: string("externalTrafficPolicy"),
  12: int("healthCheckNodePort"),
  13: bool("publishNotReadyAddresses"),
  14: one("sessionAffinityConfig", { 1: one("clientIP", { 1: kept(int("timeoutSeconds")) }) }),
  17: kept(string("ipFamilyPolicy")),
  18: strings("clusterIPs"),
  19: strings("ipFamilies"),
  20: kept(bool("allocateLoadBalancerNodePorts")),
  21: kept(string("loadBalancerClass")),
  22: kept(string("internalTrafficPolicy")),
  23: kept(string("trafficDistribution")),
};

const LOAD_BALANCER_INGRESS: Message = {
  1: string("ip"),
  2: string("hostname"),
  3: kept(string("ipMode")),
  4: many("ports", { 1: kept(int("port")), 2: kept(string("protocol")), 3: kept(string("error")) }),
};

const SERVICE: Message = {
  1: METADATA,
  2: one("spec", SERVICE_SPEC),
  3: one("status", {
    1: one("loadBalancer", { 1: many("ingress", LOAD_BALANCER_INGRESS) }),
    2: many("conditions", CONDITION),
  }),
};

const EVENT: Message = {
  1: METADATA,
  2: one("involvedObject", OBJECT_REFERENCE),
  3: string("reason"),
  4: string("message"),
  5: one("source", { 1: string("component"), 2: string("host") }),
  6: time("firstTimestamp"),
  7: time("lastTimestamp"),
  8: int("count"),
  9: string("type"),
  10: microTime("eventTime"),
  11: one("series", { 1: int("count"), 2: microTime("lastObservedTime") }),
  12: string("action"),
  13: one("related", OBJECT_REFERENCE),
  14: kept(string("reportingComponent")),
  15: kept(string("reportingInstance")),
};

const LEASE: Message = {
  1: METADATA,
  2: one("spec", {
    1: kept(string("holderIdentity")),
    2: kept(int("leaseDurationSeconds")),
    3: microTime("acquireTime"),
    4: microTime("renewTime"),
    5: kept(int("leaseTransitions")),
    6: kept(string("strategy")),
    7: kept(string("preferredHolder")),
  }),
};

/** Without spec.extra, which the server sets. */
const CERTIFICATE_SIGNING_REQUEST: Message = {
  1: METADATA,
  2: one("spec", {
    1: scalar("bytes")("request"),
    2: string("username"),
    3: string("uid"),
    4: strings("groups"),
    5: strings("usages"),
    7: string("signerName"),
    8: kept(int("expirationSeconds")),
  }),
  3: one("status", {
    1: many("conditions", {
      1: kept(string("type")),
      2: string("reason"),
      3: string("message"),
      4: time("lastUpdateTime"),
      5: time("lastTransitionTime"),
      6: kept(string("status")),
    }),
    2: scalar("bytes")("certificate"),
  }),
};

const TOKEN_REQUEST: Message = {
  1: METADATA,
  2: one("spec", {
    1: strings("audiences"),
    3: one("boundObjectRef", {
      1: string("kind"),
      2: string("apiVersion"),
      3: string("name"),
      4: string("uid"),
    }),
    4: kept(int("expirationSeconds")),
  }),
  3: one("status", { 1: kept(string("token")), 2: time("expirationTimestamp") }),
};

const ACCESS: Readonly<Record<number, Field>> = {
  1: one("resourceAttributes", {
    1: string("namespace"),
    2: string("verb"),
    3: string("group"),
    4: string("version"),
    5: string("resource"),
    6: string("subresource"),
    7: string("name"),
  }),
  2: one("nonResourceAttributes", { 1: string("path"), 2: string("verb") }),
};

const MESSAGES: ReadonlyMap<string, Message> = new Map([
  ["v1 Binding", { 1: METADATA, 2: one("target", OBJECT_REFERENCE) }],
  ["v1 ConfigMap", CONFIG_MAP],
  ["v1 Event", EVENT],
  ["v1 Namespace", NAMESPACE],
  ["v1 Secret", SECRET],
  ["v1 Service", SERVICE],
  ["v1 ServiceAccount", SERVICE_ACCOUNT],
  ["authentication.k8s.io/v1 TokenRequest", TOKEN_REQUEST],
  ["authentication.k8s.io/v1 SelfSubjectReview", { 1: METADATA }],
  ["authorization.k8s.io/v1 SelfSubjectAccessReview", { 1: METADATA, 2: one("spec", ACCESS) }],
  ["certificates.k8s.io/v1 CertificateSigningRequest", CERTIFICATE_SIGNING_REQUEST],
  ["coordination.k8s.io/v1 Lease", LEASE],
  ["policy/v1 Eviction", { 1: METADATA, 2: one("deleteOptions", DELETE_OPTIONS) }],
]);

/** DeleteOptions are registered in every group and version. */
export function messageOfKind(apiVersion: string, kind: string): Message | undefined {
  return kind === "DeleteOptions" ? DELETE_OPTIONS : MESSAGES.get(`${apiVersion} ${kind}`);
}

/** runtime.Unknown, which holds every object: its contentEncoding is never set by a client. */
export const UNKNOWN: Message = {
  1: one("typeMeta", { 1: string("apiVersion"), 2: string("kind") }),
  2: scalar("bytes")("raw"),
  4: string("contentType"),
};
