/**
 * The NodeRestriction admission plugin, as far as the agent meets it: what a node's request may carry, after
 * node-authorizer.ts has allowed its verb. Pure: gives the reason of a refusal, in upstream's words, or undefined.
 * Called by the admission hook of controllers/install.ts for users that are nodes.
 */

import type { Node, Pod, StoredObject } from "../api/types.ts";
import { messageOf } from "../core/errors.ts";
import { canonicalJson } from "../core/hash.ts";
import { KUBELET_CLIENT, KUBELET_SERVING, parseCertificateRequest } from "./certificate-request.ts";
import { MIRROR_ANNOTATION, writtenReferences } from "./pod-references.ts";

export interface NodeRequest {
  readonly nodeName: string;
  readonly operation: "create" | "update" | "delete";
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** The object as it would be stored, or the body of a subresource; absent on delete. */
  readonly object?: unknown;
  readonly previous?: StoredObject;
}

export interface RestrictionView {
  getPod(namespace: string, name: string): Pod | undefined;
  getNode(name: string): Node | undefined;
  getServiceAccount(namespace: string, name: string): StoredObject | undefined;
}

export function nodeRestriction(request: NodeRequest, view: RestrictionView): string | undefined {
  const resource = `${request.group}/${request.resource}`;
  switch (request.subresource === "" ? resource : `${resource}/${request.subresource}`) {
    case "/pods":
      return onPod(request, view);
    case "/pods/status":
      return onPodStatus(request);
    case "/pods/eviction":
      return onEviction(request, view);
    case "/nodes":
    case "/nodes/status":
      return onNode(request);
    case "/serviceaccounts/token":
      return onToken(request, view);
    case "certificates.k8s.io/podcertificaterequests":
      return onCertificateRequest(request, view);
    case "coordination.k8s.io/leases":
    case "storage.k8s.io/csinodes":
      return onOwnName(request);
    case "certificates.k8s.io/certificatesigningrequests":
      return onSigningRequest(request);
    default:
      return undefined;
  }
}

function onPod(request: NodeRequest, view: RestrictionView): string | undefined {
  const { nodeName, operation } = request;
  if (operation === "update")
    return `unexpected operation "UPDATE", node "${nodeName}" can only create and delete mirror pods`;
  if (operation === "delete") {
    const bound = (request.previous as Pod | undefined)?.spec.nodeName;
    return bound === nodeName
      ? undefined
      : `node "${nodeName}" can only delete pods with spec.nodeName set to itself`;
  }
  const pod = request.object as Pod;
  if (pod.metadata.annotations?.[MIRROR_ANNOTATION] === undefined)
    return `pod does not have "${MIRROR_ANNOTATION}" annotation, node "${nodeName}" can only create mirror pods`;
  if (pod.spec.nodeName !== nodeName)
    return `node "${nodeName}" can only create pods with spec.nodeName set to itself`;
  return onOwner(nodeName, pod, view) ?? onMirrorPod(nodeName, pod);
}

function onOwner(nodeName: string, pod: Pod, view: RestrictionView): string | undefined {
  const [owner, ...others] = pod.metadata.ownerReferences ?? [];
  const only = `node "${nodeName}" can only create pods with`;
  if (others.length > 0) return `${only} a single owner reference set to itself`;
  if (owner?.apiVersion !== "v1" || owner.kind !== "Node" || owner.name !== nodeName)
    return `${only} an owner reference set to itself`;
  if (owner.controller !== true) return `${only} a controller owner reference set to itself`;
  if (owner.blockOwnerDeletion === true)
    return `node "${nodeName}" must not set blockOwnerDeletion on an owner reference`;
  const node = view.getNode(nodeName);
  if (node === undefined) return `nodes "${nodeName}" not found`;
  return owner.uid === node.metadata.uid
    ? undefined
    : `node ${nodeName} UID mismatch: expected ${owner.uid} got ${node.metadata.uid}`;
}

function onMirrorPod(nodeName: string, pod: Pod): string | undefined {
  const { secrets, configMaps, serviceAccounts } = writtenReferences(pod);
  if (serviceAccounts.size > 0)
    return `node "${nodeName}" can not create pods that reference a service account`;
  if (secrets.size > 0) return `node "${nodeName}" can not create pods that reference secrets`;
  if (configMaps.size > 0)
    return `node "${nodeName}" can not create pods that reference configmaps`;
  if (pod.spec.volumes?.some((volume) => volume.persistentVolumeClaim !== undefined))
    return `node "${nodeName}" can not create pods that reference persistentvolumeclaims`;
  return undefined;
}

function onPodStatus({ nodeName, object, previous }: NodeRequest): string | undefined {
  const before = previous as Pod | undefined;
  const after = object as Pod;
  if (before?.spec.nodeName !== nodeName)
    return `node "${nodeName}" can only update pod status for pods with spec.nodeName set to itself`;
  if (!areEqual(before.metadata.labels, after.metadata.labels))
    return `node "${nodeName}" cannot update labels through pod status`;
  return undefined;
}

function onEviction(request: NodeRequest, view: RestrictionView): string | undefined {
  const pod = view.getPod(request.namespace, request.name);
  return pod === undefined || pod.spec.nodeName === request.nodeName
    ? undefined
    : `node ${request.nodeName} can only evict pods with spec.nodeName set to itself`;
}

function onNode(request: NodeRequest): string | undefined {
  const { nodeName, operation } = request;
  if (request.name !== nodeName)
    return `node "${nodeName}" is not allowed to modify node "${request.name}"`;
  if (operation === "delete") return undefined;
  const after = request.object as Node;
  const before = request.previous as Node | undefined;
  const labels = forbiddenLabels(after.metadata.labels ?? {}, before?.metadata.labels ?? {});
  if (before === undefined)
    return labels.length === 0
      ? undefined
      : `node "${nodeName}" is not allowed to set the following labels: ${labels.join(", ")}`;
  if (!areEqual(before.spec?.taints, after.spec?.taints))
    return `node "${nodeName}" is not allowed to modify taints`;
  return labels.length === 0 ? undefined : `is not allowed to modify labels: ${labels.join(", ")}`;
}

type Labels = Readonly<Record<string, string>>;

/** Labels under kubernetes.io and k8s.io that a kubelet may set itself (kubeletapis.IsKubeletLabel). */
const KUBELET_LABELS = new Set([
  "kubernetes.io/hostname",
  "kubernetes.io/os",
  "kubernetes.io/arch",
  "beta.kubernetes.io/os",
  "beta.kubernetes.io/arch",
  "beta.kubernetes.io/instance-type",
  "node.kubernetes.io/instance-type",
  "topology.kubernetes.io/zone",
  "topology.kubernetes.io/region",
  "failure-domain.beta.kubernetes.io/zone",
  "failure-domain.beta.kubernetes.io/region",
]);
const KUBELET_LABEL_NAMESPACE = /^([^/]+\.)?(kubelet|node)\.kubernetes\.io$/;
const RESTRICTED_NAMESPACE = /^([^/]+\.)?node-restriction\.kubernetes\.io$/;
const KUBERNETES_NAMESPACE = /(^|\.)(kubernetes|k8s)\.io$/;

function forbiddenLabels(after: Labels, before: Labels): readonly string[] {
  const keys = new Set([...Object.keys(after), ...Object.keys(before)]);
  return [...keys].filter((key) => after[key] !== before[key] && isForbiddenLabel(key)).sort();
}

function isForbiddenLabel(key: string): boolean {
  const namespace = key.includes("/") ? key.slice(0, key.indexOf("/")) : "";
  if (RESTRICTED_NAMESPACE.test(namespace)) return true;
  if (!KUBERNETES_NAMESPACE.test(namespace)) return false;
  return !KUBELET_LABELS.has(key) && !KUBELET_LABEL_NAMESPACE.test(namespace);
}

function onToken(request: NodeRequest, view: RestrictionView): string | undefined {
  const body = request.object as {
    spec?: { boundObjectRef?: { apiVersion?: string; kind?: string; name?: string; uid?: string } };
  };
  const ref = body.spec?.boundObjectRef;
  if (ref?.apiVersion !== "v1" || ref.kind !== "Pod" || !ref.name)
    return "node requested token not bound to a pod";
  if (!ref.uid) return "node requested token with a pod binding without a uid";
  const pod = view.getPod(request.namespace, ref.name);
  if (pod === undefined) return `pod "${ref.name}" not found`;
  if (pod.metadata.uid !== ref.uid)
    return `the UID in the bound object reference (${ref.uid}) does not match the UID in record. The object might have been deleted and then recreated`;
  if (pod.spec.nodeName !== request.nodeName)
    return "node requested token bound to a pod scheduled on a different node";
  return undefined;
}

type CertificateSpec = Readonly<Record<string, unknown>>;

/** About a pod of the node, as it is, and nothing else. */
function onCertificateRequest(request: NodeRequest, view: RestrictionView): string | undefined {
  const { nodeName, namespace, object } = request;
  const spec = (object as { readonly spec?: CertificateSpec | null }).spec ?? {};
  const isAbout = (fields: CertificateSpec): boolean =>
    Object.entries(fields).every(([field, value]) => spec[field] === value);
  const node = view.getNode(nodeName);
  if (!isAbout({ nodeName, nodeUID: node?.metadata.uid }))
    return `node "${nodeName}" can only create PodCertificateRequests for itself`;
  const pod = view.getPod(namespace, String(spec.podName));
  if (pod === undefined) return `pod "${String(spec.podName)}" not found`;
  if (pod.spec.nodeName !== nodeName || spec.podUID !== pod.metadata.uid)
    return `node "${nodeName}" can only create PodCertificateRequests for pods that run on it`;
  const serviceAccountName = pod.spec.serviceAccountName ?? "";
  const account = view.getServiceAccount(namespace, serviceAccountName);
  return isAbout({ serviceAccountName, serviceAccountUID: account?.metadata.uid })
    ? undefined
    : "the service account is not the pod's";
}

function onSigningRequest({ nodeName, operation, object }: NodeRequest): string | undefined {
  const spec = (object as { spec?: { signerName?: unknown; request?: unknown } } | undefined)?.spec;
  const isOfNodes = spec?.signerName === KUBELET_CLIENT || spec?.signerName === KUBELET_SERVING;
  if (operation !== "create" || !isOfNodes) return undefined;
  try {
    const { commonName } = parseCertificateRequest(String(spec.request));
    const own = `system:node:${nodeName}`;
    return commonName === own ? undefined : `can only create a node CSR with CN=${own}`;
  } catch (error) {
    return `unable to parse csr: ${messageOf(error)}`;
  }
}

function onOwnName(request: NodeRequest): string | undefined {
  if (request.name === request.nodeName) return undefined;
  return request.resource === "leases"
    ? "can only access node lease with the same name as the requesting node"
    : "can only access CSINode with the same name as the requesting node";
}

function areEqual(a: unknown, b: unknown): boolean {
  return canonicalJson(a ?? null) === canonicalJson(b ?? null);
}
