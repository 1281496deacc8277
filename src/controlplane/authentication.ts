/**
 * Who asks, and whether they may: the user from the client certificate or the bearer token, and the refusals in upstream's words.
 * Administrators (system:masters) pass; all others are for the authorizer. Called by server.ts for every request.
 */

import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import type { Authorizer, RequestAttributes, TokenAuthenticator, User } from "./extension.ts";
import type { ResourceType } from "./registry.ts";
import { type StatusDetails, StatusError } from "./status-error.ts";

/** Throws Unauthorized (401) without a certificate of our authority or a token that somebody knows. */
export function userOf(
  request: IncomingMessage,
  tokens: readonly TokenAuthenticator[],
  nowMs: number,
): User {
  const socket = request.socket as TLSSocket;
  if (!socket.authorized) return userOfToken(request, tokens);
  const { subject, valid_to: end } = socket.getPeerCertificate();
  // It was valid when the connection was made.
  if (Date.parse(end) < nowMs) throw new StatusError(401, "Unauthorized", "Unauthorized");
  const { CN, O } = subject as { CN?: string; O?: string | string[] };
  const organizations = O === undefined ? [] : [O].flat();
  return { name: CN ?? "", groups: [...organizations, "system:authenticated"] };
}

function userOfToken(request: IncomingMessage, tokens: readonly TokenAuthenticator[]): User {
  const [, token] = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? "") ?? [];
  for (const authenticate of token === undefined ? [] : tokens) {
    const user = authenticate(token ?? "");
    if (user !== undefined) return user;
  }
  throw new StatusError(401, "Unauthorized", "Unauthorized");
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
