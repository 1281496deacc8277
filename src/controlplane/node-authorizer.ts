/**
 * Who may do what on the embedded API server: administrators everything, a node what kube-apiserver's Node authorizer
 * gives it (1.36, with selectors), the proxy what system:node-proxier has, a bootstrap token what asks for a
 * certificate, service accounts little (tokens/account-authorizer.ts), everybody known the discovery paths. Pure:
 * a function of the request and of the pods that exist. Refusals carry upstream's words, since people search for them.
 * What depends on the object sent is node-restriction.ts. Called by the server before every request.
 */

import type { Pod } from "../api/types.ts";
import type { Decision, RequestAttributes, User } from "./extension.ts";
import { referencedObjects } from "./pod-references.ts";
import { accountMay } from "./tokens/account-authorizer.ts";
import { accountOf } from "./tokens/claims.ts";

export interface AuthorizerView {
  podsOnNode(nodeName: string): readonly Pod[];
  /** The claim that a PersistentVolume is bound to. */
  claimOf(volume: string): { readonly namespace?: string; readonly name?: string } | undefined;
}

/** A request with every part there; "" for what it has not. */
interface Request {
  readonly user: User;
  readonly verb: string;
  readonly path: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  readonly fieldSelector: string;
}

type Verdict = { readonly isAllowed: boolean; readonly reason: string };

const ALLOW: Verdict = { isAllowed: true, reason: "" };
const NODE_USER = "system:node:";
const READ = ["get", "list", "watch"];

interface Rule {
  readonly verbs: readonly string[];
  readonly group: string;
  readonly resources: readonly string[];
}

/** What does not depend on the object: the part of bootstrappolicy.NodeRules() not subdivided below. */
const NODE_RULES: readonly Rule[] = [
  { verbs: ["create"], group: "authentication.k8s.io", resources: ["tokenreviews"] },
  {
    verbs: ["create"],
    group: "authorization.k8s.io",
    resources: ["subjectaccessreviews", "localsubjectaccessreviews"],
  },
  { verbs: READ, group: "", resources: ["services"] },
  { verbs: ["create", "update", "patch"], group: "", resources: ["events"] },
  { verbs: ["create", "update", "patch"], group: "events.k8s.io", resources: ["events"] },
  {
    verbs: ["create", "get", "list", "watch"],
    group: "certificates.k8s.io",
    resources: ["certificatesigningrequests"],
  },
  { verbs: READ, group: "certificates.k8s.io", resources: ["clustertrustbundles"] },
  { verbs: READ, group: "storage.k8s.io", resources: ["csidrivers"] },
  { verbs: READ, group: "node.k8s.io", resources: ["runtimeclasses"] },
];

/** ClusterRole system:node-bootstrapper. */
const BOOTSTRAPPER_RULES: readonly Rule[] = [
  {
    verbs: ["create", "get", "list", "watch"],
    group: "certificates.k8s.io",
    resources: ["certificatesigningrequests"],
  },
];

/** ClusterRole system:node-proxier. */
const PROXY_RULES: readonly Rule[] = [
  { verbs: ["list", "watch"], group: "", resources: ["services", "endpoints"] },
  { verbs: READ, group: "", resources: ["nodes"] },
  { verbs: ["list", "watch"], group: "discovery.k8s.io", resources: ["endpointslices"] },
  { verbs: ["list", "watch"], group: "networking.k8s.io", resources: ["servicecidrs"] },
  { verbs: ["create", "update", "patch"], group: "", resources: ["events"] },
  { verbs: ["create", "update", "patch"], group: "events.k8s.io", resources: ["events"] },
];

/** ClusterRole system:basic-user. */
const EVERYBODY_RULES: readonly Rule[] = [
  {
    verbs: ["create"],
    group: "authorization.k8s.io",
    resources: ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
  },
  { verbs: ["create"], group: "authentication.k8s.io", resources: ["selfsubjectreviews"] },
];

/** ClusterRoles system:discovery and system:public-info-viewer. */
const DISCOVERY = /^\/(api|apis|openapi|version|healthz|livez|readyz)(\/|$)/;

export function authorize(
  user: User,
  attributes: RequestAttributes,
  view: AuthorizerView,
): Decision {
  const verdict = verdictOn(requestOf(user, attributes), view);
  return verdict.isAllowed ? { kind: "allow" } : { kind: "deny", message: verdict.reason };
}

/** The name of the node that a user is, or undefined. */
export function nodeNameOf(user: User): string | undefined {
  if (!user.groups.includes("system:nodes") || !user.name.startsWith(NODE_USER)) return undefined;
  return user.name.slice(NODE_USER.length) || undefined;
}

function requestOf(user: User, attributes: RequestAttributes): Request {
  const { verb, path, type } = attributes;
  const unserved = type === undefined ? resourceOfPath(path) : undefined;
  return {
    user,
    verb: unserved === undefined ? verb : (VERB_OF_METHOD[verb] ?? verb),
    path,
    group: type?.group ?? unserved?.group ?? "",
    resource: type?.plural ?? unserved?.resource ?? "",
    subresource: attributes.subresource ?? "",
    namespace: attributes.namespace ?? "",
    name: attributes.name ?? "",
    fieldSelector: attributes.fieldSelector ?? "",
  };
}

/** Paths that are no resource of the registry come with their method as the verb. */
const VERB_OF_METHOD: Readonly<Record<string, string>> = { post: "create", put: "update" };

/** Of a resource that this server does not have: what is allowed then gets 404 and not 403. */
function resourceOfPath(path: string): { group: string; resource: string } | undefined {
  const match = /^\/(?:api|apis\/([^/]+))\/[^/]+\/(?:namespaces\/[^/]+\/)?([^/]+)/.exec(path);
  return match === null ? undefined : { group: match[1] ?? "", resource: match[2] ?? "" };
}

function verdictOn(request: Request, view: AuthorizerView): Verdict {
  const { user } = request;
  if (user.groups.includes("system:masters")) return ALLOW;
  if (request.resource === "" && READ.includes(request.verb) && DISCOVERY.test(request.path))
    return ALLOW;
  if (isCovered(EVERYBODY_RULES, request)) return ALLOW;
  if (user.name === "system:kube-proxy") return covered(PROXY_RULES, request);
  if (user.groups.includes("system:bootstrappers")) return covered(BOOTSTRAPPER_RULES, request);
  const account = accountOf(user);
  if (account !== undefined) return accountMay(account, request) ? ALLOW : deny("");
  const nodeName = nodeNameOf(user);
  if (nodeName !== undefined) return verdictOnNode(nodeName, request, view);
  if (user.groups.includes("system:nodes")) return deny(`unknown node for user "${user.name}"`);
  return deny("");
}

function verdictOnNode(node: string, request: Request, view: AuthorizerView): Verdict {
  switch (`${request.group}/${request.resource}`) {
    case "/secrets":
    case "/configmaps":
      return readReferenced(node, request, view);
    case "/persistentvolumeclaims":
      return readClaimed(node, request, view, request);
    case "/persistentvolumes":
      return readClaimed(node, request, view, view.claimOf(request.name));
    case "/serviceaccounts":
      return useAccount(node, request, view);
    case "certificates.k8s.io/podcertificaterequests":
      return ownCertificateRequests(node, request);
    case "coordination.k8s.io/leases":
      return ownLease(node, request);
    case "storage.k8s.io/csinodes":
      return ownCsiNode(node, request);
    case "/nodes":
      return ownNode(node, request);
    case "/pods":
      return ownPods(node, request, view);
    default:
      return covered(NODE_RULES, request);
  }
}

function readReferenced(node: string, request: Request, view: AuthorizerView): Verdict {
  const name = objectName(request);
  if (!READ.includes(request.verb)) return deny("can only read resources of this type");
  if (request.subresource !== "") return deny("cannot read subresource");
  if (request.namespace === "") return deny("can only read namespaced object of this type");
  if (name === "") return deny("No Object name found");
  const kind = request.resource === "secrets" ? "secrets" : "configMaps";
  const isReferenced = view
    .podsOnNode(node)
    .some(
      (pod) =>
        pod.metadata.namespace === request.namespace && referencedObjects(pod)[kind].has(name),
    );
  return isReferenced ? ALLOW : deny(relationMissing(node));
}

/** A claim of a pod here, or the volume bound to it. */
function readClaimed(
  node: string,
  request: Request,
  view: AuthorizerView,
  claim: ReturnType<AuthorizerView["claimOf"]>,
): Verdict {
  if (request.verb !== "get") return deny("can only read individual resources of this type");
  if (request.subresource !== "") return deny("cannot read subresource");
  const isUsed = view
    .podsOnNode(node)
    .some(
      (pod) =>
        pod.metadata.namespace === claim?.namespace &&
        referencedObjects(pod).claims.has(claim?.name ?? ""),
    );
  return isUsed ? ALLOW : deny(relationMissing(node));
}

/** Reads the account of a pod here, or creates a token for it. */
function useAccount(node: string, request: Request, view: AuthorizerView): Verdict {
  const isGet = request.verb === "get" && request.subresource === "";
  if (request.name === "" || (!isGet && request.verb !== "create"))
    return deny("can only create tokens for individual service accounts");
  if (!isGet && request.subresource !== "token")
    return deny("can only create token subresource of serviceaccount");
  const isUsed = view
    .podsOnNode(node)
    .some(
      (pod) =>
        pod.metadata.namespace === request.namespace &&
        referencedObjects(pod).serviceAccounts.has(request.name),
    );
  return isUsed ? ALLOW : deny(relationMissing(node));
}

/** What a new one may say is NodeRestriction's. */
function ownCertificateRequests(node: string, request: Request): Verdict {
  const { verb, subresource, fieldSelector } = request;
  if (subresource !== "") return deny("");
  if (verb === "create") return ALLOW;
  if (verb !== "list" && verb !== "watch") return deny("");
  if (selected(fieldSelector, "spec.nodeName") === node) return ALLOW;
  return deny("can only list/watch podcertificaterequests with spec.nodeName field selector");
}

const WRITE_OWN = ["get", "create", "update", "patch", "delete"];

function ownLease(node: string, { verb, namespace, name }: Request): Verdict {
  if (!WRITE_OWN.includes(verb))
    return deny("can only get, create, update, patch, or delete a node lease");
  if (namespace !== "kube-node-lease")
    return deny('can only access leases in the "kube-node-lease" system namespace');
  // On create the name is in the body: node-restriction.ts looks there.
  if (verb !== "create" && name !== node)
    return deny("can only access node lease with the same name as the requesting node");
  return ALLOW;
}

function ownCsiNode(node: string, { verb, subresource, name }: Request): Verdict {
  if (!WRITE_OWN.includes(verb))
    return deny("can only get, create, update, patch, or delete a CSINode");
  if (subresource !== "") return deny("cannot authorize CSINode subresources");
  if (verb !== "create" && name !== node)
    return deny("can only access CSINode with the same name as the requesting node");
  return ALLOW;
}

function ownNode(node: string, request: Request): Verdict {
  const { verb, subresource } = request;
  if (subresource === "status") return verb === "update" || verb === "patch" ? ALLOW : deny("");
  if (subresource !== "") return deny("");
  if (verb === "create" || verb === "update" || verb === "patch") return ALLOW;
  if (!READ.includes(verb)) return deny("");
  const name = objectName(request);
  if (name === node) return ALLOW;
  return deny(
    name === ""
      ? `node '${node}' cannot read all nodes, only its own Node object`
      : `node '${node}' cannot read '${name}', only its own Node object`,
  );
}

function ownPods(node: string, request: Request, view: AuthorizerView): Verdict {
  const { verb, subresource } = request;
  if (subresource === "status") return verb === "update" || verb === "patch" ? ALLOW : deny("");
  if (subresource === "eviction") return verb === "create" ? ALLOW : deny("");
  if (subresource !== "") return deny(verb === "get" ? "cannot get subresource" : "");
  if (verb === "create" || verb === "delete") return ALLOW;
  if (!READ.includes(verb)) return deny("");
  if (verb !== "get" && selected(request.fieldSelector, "spec.nodeName") === node) return ALLOW;
  const name = objectName(request);
  if (name === "")
    return deny(
      verb === "get"
        ? "No Object name found"
        : "can only list/watch pods with spec.nodeName field selector",
    );
  const isHere = view
    .podsOnNode(node)
    .some((pod) => pod.metadata.name === name && pod.metadata.namespace === request.namespace);
  return isHere ? ALLOW : deny(relationMissing(node));
}

/** Lists and watches by metadata.name name their object, as upstream's RequestInfo does. */
function objectName(request: Request): string {
  if (request.name !== "" || request.verb === "get") return request.name;
  return selected(request.fieldSelector, "metadata.name") ?? "";
}

function selected(fieldSelector: string, field: string): string | undefined {
  for (const term of fieldSelector.split(",")) {
    const [key, value] = term.split(/==?/, 2);
    if (key?.trim() === field) return value?.trim();
  }
  return undefined;
}

function covered(rules: readonly Rule[], request: Request): Verdict {
  return isCovered(rules, request) ? ALLOW : deny("");
}

function isCovered(rules: readonly Rule[], request: Request): boolean {
  return rules.some(
    (rule) =>
      request.subresource === "" &&
      rule.group === request.group &&
      rule.resources.includes(request.resource) &&
      rule.verbs.includes(request.verb),
  );
}

function relationMissing(node: string): string {
  return `no relationship found between node '${node}' and this object`;
}

function deny(reason: string): Verdict {
  return { isAllowed: false, reason };
}
