/**
 * Admission on the embedded API server: nothing new in a namespace that is missing or going, no deletion of the
 * namespaces everything needs, cluster IPs and node ports for Services, who asks in certificate signing requests,
 * NodeRestriction for nodes, service accounts for pods. Refuses by throwing a StatusError in upstream's words. Handed to
 * the server by install.ts.
 */

import type { Node, Pod, Service, StoredObject } from "../../api/types.ts";
import type { Clock } from "../../core/clock.ts";
import { prepareSigningRequest } from "../certificate-strategy.ts";
import type { Admission, AdmissionRequest } from "../extension.ts";
import { nodeNameOf } from "../node-authorizer.ts";
import { type NodeRequest, nodeRestriction } from "../node-restriction.ts";
import { randomSuffix } from "../object-input.ts";
import type { KubeObject } from "../objects.ts";
import { NAMESPACES, NODES, PODS, SERVICE_ACCOUNTS, SERVICES } from "../registry.ts";
import { allocateService } from "../services.ts";
import { forbidden, invalid, notFound } from "../status-error.ts";
import type { Store } from "../store.ts";
import { admitWithAccount } from "./account-admission.ts";

const IMMORTAL = ["default", "kube-system", "kube-public"];

export interface AdmissionOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly serviceCidr: string;
  readonly random: () => number;
}

/** In the order in which they run. */
export function createAdmission(options: AdmissionOptions): readonly Admission[] {
  const { store, clock } = options;
  return [
    (request) => namespaceLifecycle(store, request),
    (request) => serviceAccount(options, request),
    (request) => serviceAllocation(options, request),
    (request) => prepareSigningRequest(request, clock),
    (request) => restrictNode(store, request),
  ];
}

function objectOf(request: AdmissionRequest): KubeObject | undefined {
  return request.operation === "DELETE" ? undefined : request.object;
}

function namespaceLifecycle(store: Store, request: AdmissionRequest): KubeObject | undefined {
  const { type, operation, name, namespace } = request;
  if (type === NAMESPACES && operation === "DELETE" && IMMORTAL.includes(name))
    throw forbidden(type, name, "this namespace may not be deleted");
  if (operation !== "CREATE" || namespace === undefined) return objectOf(request);
  const found = store.get(NAMESPACES, undefined, namespace);
  if (found === undefined) throw notFound(NAMESPACES, namespace);
  if (found.metadata.deletionTimestamp === undefined) return request.object;
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  throw forbidden(type, name, why);
}

function serviceAccount(
  { store, random }: AdmissionOptions,
  request: AdmissionRequest,
): KubeObject | undefined {
  const { type, operation, subresource, namespace = "" } = request;
  if (operation !== "CREATE" || type !== PODS || subresource !== undefined)
    return objectOf(request);
  return admitWithAccount(request.object, namespace, store, () => randomSuffix(random));
}

function serviceAllocation(
  { store, serviceCidr }: AdmissionOptions,
  request: AdmissionRequest,
): KubeObject | undefined {
  const { type, operation, subresource, name, namespace = "" } = request;
  if (type !== SERVICES || operation === "DELETE" || subresource !== undefined)
    return objectOf(request);
  const previous = operation === "UPDATE" ? (request.old as unknown as Service).spec : undefined;
  const isOther = ({ metadata }: KubeObject) =>
    metadata.name !== name || metadata.namespace !== namespace;
  const result = allocateService({
    namespace,
    name,
    spec: (request.object as unknown as Service).spec ?? {},
    ...(previous === undefined ? {} : { previous }),
    others: store.list(SERVICES, undefined, isOther).items as unknown as readonly Service[],
    serviceCidr,
  });
  if (result.kind === "allocated") return { ...request.object, spec: result.spec };
  const message = `Invalid value: ${JSON.stringify(result.value)}: ${result.detail}`;
  throw invalid(type, name, [{ reason: "FieldValueInvalid", message, field: result.field }]);
}

const OPERATIONS = { CREATE: "create", UPDATE: "update", DELETE: "delete" } as const;

/** Also for what is asked of a subresource that is no object. */
export function restrictNode(store: Store, request: AdmissionRequest): KubeObject | undefined {
  const object = objectOf(request);
  const nodeName = nodeNameOf(request.user);
  if (nodeName === undefined) return object;
  const { type, name, namespace = "", operation } = request;
  const node: NodeRequest = {
    nodeName,
    operation: OPERATIONS[operation],
    group: type.group,
    resource: type.plural,
    subresource: request.subresource ?? "",
    namespace,
    name,
    ...(object === undefined ? {} : { object }),
    ...(operation === "CREATE" ? {} : { previous: request.old as unknown as StoredObject }),
  };
  const why = nodeRestriction(node, {
    getPod: (ns, podName) => store.get(PODS, ns, podName) as unknown as Pod | undefined,
    getServiceAccount: (ns, account) =>
      store.get(SERVICE_ACCOUNTS, ns, account) as unknown as StoredObject | undefined,
    getNode: (nodeName) => store.get(NODES, undefined, nodeName) as unknown as Node | undefined,
  });
  if (why !== undefined) throw forbidden(type, name, why);
  return object;
}
