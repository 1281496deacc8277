/**
 * Who asks, and may they. Authentication is by client certificate against the client CA (Node has verified it when
 * `authorized` is true); authorization in this version is a rule on the certificate: group system:masters or a known
 * name of an API server. Both pure; called for each request and each upgrade.
 */

import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import type { Route } from "./routes.ts";

export interface User {
  readonly name: string;
  readonly groups: readonly string[];
}

/** Names under which kube-apiserver presents itself to kubelets (kubeadm's, and the kubelet's own RBAC example). */
const API_SERVER_NAMES: readonly string[] = [
  "kube-apiserver-kubelet-client",
  "system:kube-apiserver",
];
const ADMIN_GROUP = "system:masters";

export type AuthVerdict =
  | { readonly kind: "allowed"; readonly user: User }
  | { readonly kind: "refused"; readonly status: 401 | 403; readonly text: string };

/** undefined = nobody we know: no certificate, one of another CA, or one without a common name. */
export function authenticate(
  socket: Pick<TLSSocket, "authorized" | "getPeerCertificate">,
): User | undefined {
  if (!socket.authorized) return undefined;
  return userOf(socket.getPeerCertificate().subject);
}

/** Common name → user, organizations → groups. */
export function userOf(subject: DetailedPeerCertificate["subject"] | undefined): User | undefined {
  const names = asList(subject?.CN);
  const name = names.at(-1);
  if (name === undefined || name === "") return undefined;
  return { name, groups: [...asList(subject?.O), "system:authenticated"] };
}

function asList(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === "string" ? [value] : value;
}

const VERBS: Readonly<Record<string, string>> = {
  GET: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

/** A refusal names what a role would have to allow, in the kubelet's words. */
export function authorize(user: User | undefined, method: string, route: Route): AuthVerdict {
  if (user === undefined) return { kind: "refused", status: 401, text: "Unauthorized" };
  if (user.groups.includes(ADMIN_GROUP) || API_SERVER_NAMES.includes(user.name))
    return { kind: "allowed", user };
  const subresources = subresourcesOf(route).join(" ");
  return {
    kind: "refused",
    status: 403,
    text: `Forbidden (user=${user.name}, verb=${VERBS[method] ?? ""}, resource=nodes, subresource(s)=[${subresources}])\n`,
  };
}

/** kubelet's table (KubeletFineGrainedAuthz, GA in 1.36); the first that is allowed opens. */
function subresourcesOf(route: Route): readonly string[] {
  switch (route.kind) {
    case "healthz":
      return ["healthz", "proxy"];
    case "system-logs":
      return ["log"];
    case "read":
      return READ_SUBRESOURCES[route.path.split("/")[1] ?? ""] ?? ["proxy"];
    default:
      return ["proxy"];
  }
}

const READ_SUBRESOURCES: Readonly<Record<string, readonly string[]>> = {
  pods: ["pods", "proxy"],
  runningpods: ["pods", "proxy"],
  configz: ["configz", "proxy"],
  stats: ["stats"],
  metrics: ["metrics"],
};
