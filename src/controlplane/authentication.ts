/**
 * Who asks, and whether they may: the user from the client certificate or else the bearer token, and the refusals in
 * upstream's words.
 * Administrators (system:masters) pass; all others are for the authorizer. Called by server.ts for every request.
 */

import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import type {
  Authorizer,
  RequestAttributes,
  TokenAuthenticator,
  TokenVerdict,
  User,
} from "./extension.ts";
import type { ResourceType } from "./registry.ts";
import { type StatusDetails, StatusError } from "./status-error.ts";

const AUTHENTICATED = "system:authenticated";

/** Throws Unauthorized (401) without a certificate of our authority or a good token. */
export function authenticate(
  request: IncomingMessage,
  tokens: readonly TokenAuthenticator[],
  nowMs: number,
): User {
  const socket = request.socket as TLSSocket;
  if (socket.authorized) return userOf(socket, nowMs);
  const [, token] = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? "") ?? [];
  const verdict = token === undefined ? undefined : judgeToken(tokens, token, []);
  if (verdict?.kind !== "user") throw new StatusError(401, "Unauthorized", "Unauthorized");
  return verdict.user;
}

function userOf(socket: TLSSocket, nowMs: number): User {
  const { subject, valid_to: end } = socket.getPeerCertificate();
  // It was valid when the connection was made.
  if (Date.parse(end) < nowMs) throw new StatusError(401, "Unauthorized", "Unauthorized");
  const { CN = [], O = [] } = subject as { CN?: string | string[]; O?: string | string[] };
  // Of several common names the last counts, as in Go.
  return { name: [CN].flat().at(-1) ?? "", groups: [...[O].flat(), AUTHENTICATED] };
}

/** What the first that knows this kind of token says of it. */
export function judgeToken(
  tokens: readonly TokenAuthenticator[],
  token: string,
  audiences: readonly string[],
): TokenVerdict {
  for (const judge of tokens) {
    const verdict = judge(token, audiences);
    if (verdict?.kind === "refused")
      return { kind: "refused", message: `[invalid bearer token, ${verdict.message}]` };
    if (verdict === undefined) continue;
    const { user } = verdict;
    return { ...verdict, user: { ...user, groups: [...user.groups, AUTHENTICATED] } };
  }
  return { kind: "refused", message: "invalid bearer token" };
}

/** Throws Forbidden (403). */
export function authorize(
  authorizer: Authorizer | undefined,
  user: User,
  attributes: RequestAttributes,
): void {
  if (user.groups.includes("system:masters")) return;
  const decision = authorizer?.(user, attributes) ?? { kind: "deny", message: "" };
  if (decision.kind === "allow") return;
  const { type, verb, path, name = "", namespace, subresource } = attributes;
  const reason = decision.message === "" ? "" : `: ${decision.message}`;
  if (type === undefined) {
    const message = `forbidden: User "${user.name}" cannot ${verb} path "${path}"${reason}`;
    throw new StatusError(403, "Forbidden", message, {});
  }
  const resource = subresource === undefined ? type.plural : `${type.plural}/${subresource}`;
  const scope =
    namespace === undefined ? "at the cluster scope" : `in the namespace "${namespace}"`;
  const subject = `${subjectOf(type)}${name === "" ? "" : ` "${name}"`}`;
  const what = `cannot ${verb} resource "${resource}" in API group "${type.group}" ${scope}`;
  const message = `${subject} is forbidden: User "${user.name}" ${what}${reason}`;
  throw new StatusError(403, "Forbidden", message, detailsOf(type, name));
}

function subjectOf(type: ResourceType): string {
  return type.group === "" ? type.plural : `${type.plural}.${type.group}`;
}

function detailsOf(type: ResourceType, name: string): StatusDetails {
  const group = type.group === "" ? {} : { group: type.group };
  return { ...(name === "" ? {} : { name }), ...group, kind: type.plural };
}
