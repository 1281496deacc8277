/**
 * What a request asks to be allowed: which verb on which subresources of the node, and the words of a refusal. Pure;
 * who decides is authorization.ts, who asks authentication.ts.
 */

import type { Reply } from "./reply.ts";
import type { Route } from "./routes.ts";

export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export const UNAUTHORIZED: Reply = { status: 401, text: "Unauthorized" };

const VERBS: Readonly<Record<string, string>> = {
  GET: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

/**
 * Upstream asks for the method's verb everywhere, so that a WebSocket, which is a GET, runs commands with the right to
 * read; here what acts in a pod is always a creation.
 */
export function verbOf(method: string, route: Route): string {
  const acts = ["exec", "attach", "run", "port-forward"].includes(route.kind);
  return acts ? "create" : (VERBS[method] ?? "");
}

const READ_SUBRESOURCES: Readonly<Record<string, readonly string[]>> = {
  pods: ["pods", "proxy"],
  runningpods: ["pods", "proxy"],
  configz: ["configz", "proxy"],
  stats: ["stats"],
  metrics: ["metrics"],
};

/** kubelet's table (KubeletFineGrainedAuthz, GA in 1.36); the first that is allowed opens. */
export function subresourcesOf(route: Route): readonly string[] {
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

export function forbidden(user: User, verb: string, subresources: readonly string[]): Reply {
  const words = `user=${user.name}, verb=${verb}, resource=nodes, subresource(s)=[${subresources.join(" ")}]`;
  return { status: 403, text: `Forbidden (${words})\n` };
}

export function undecided(user: User, verb: string, subresource: string): Reply {
  const words = `user=${user.name}, verb=${verb}, resource=nodes, subresource=${subresource}`;
  return { status: 500, text: `Authorization error (${words})` };
}
