/**
 * What a service account may do here, where there is no RBAC: read its own namespace but for Secrets (a part of the
 * ClusterRole view), ClusterTrustBundles, and the documents that verify tokens. An account that an administrator made
 * in kube-system, which means any but `default` there, may do everything: nobody else can make one, and there is no
 * way to say less. Pure; called by node-authorizer.ts, which has allowed what everybody may.
 */

import { DISCOVERY_PATH, KEYS_PATH } from "./issuer-documents.ts";

const READ = ["get", "list", "watch"];
/** To get pods/exec is to run a command. */
const READABLE_PARTS = ["", "status", "log"];

export interface AccountRequest {
  readonly verb: string;
  readonly path: string;
  /** "" for paths that are no resource, as are the others that are not asked about. */
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
}

export function accountMay(
  account: { readonly namespace: string; readonly name: string },
  request: AccountRequest,
): boolean {
  if (account.namespace === "kube-system" && account.name !== "default") return true;
  if (!READ.includes(request.verb)) return false;
  if (request.resource === "") return [DISCOVERY_PATH, KEYS_PATH].includes(request.path);
  if (request.resource === "clustertrustbundles") return true;
  const isSecret = request.group === "" && request.resource === "secrets";
  return (
    request.namespace === account.namespace &&
    !isSecret &&
    READABLE_PARTS.includes(request.subresource)
  );
}
