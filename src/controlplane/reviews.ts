/**
 * The kinds that are questions, answered at once and never stored: whose a token is, what a subject or who asks may
 * do, who asks. Pure. Called by server.ts for a create of one of them.
 */

import { judgeToken } from "./authentication.ts";
import type { Authorizer, Decision, Extensions, RequestAttributes, User } from "./extension.ts";
import { at, isObject, type KubeObject, listAt } from "./objects.ts";
import { NODES, RESOURCE_TYPES, type ResourceType } from "./registry.ts";
import { badRequest } from "./status-error.ts";

/** The object with its answer; undefined when the kind is no question. */
export function answerReview(
  kind: string,
  body: KubeObject,
  user: User,
  { authorize, tokens = [] }: Pick<Extensions, "authorize" | "tokens">,
): KubeObject | undefined {
  switch (kind) {
    case "TokenReview":
      return withStatus(body, reviewToken(body, tokens));
    case "SubjectAccessReview":
      return withStatus(body, accessOf(subjectOf(body), body, authorize));
    case "SelfSubjectAccessReview":
      return withStatus(body, accessOf(user, body, authorize));
    case "SelfSubjectReview":
      return withStatus(body, { userInfo: userInfo(user) });
    default:
      return undefined;
  }
}

function withStatus(body: KubeObject, status: object): KubeObject {
  return { ...body, status } as unknown as KubeObject;
}

function reviewToken(body: KubeObject, tokens: Extensions["tokens"] = []): object {
  const token = text(body, "token");
  if (token === "") throw badRequest("token is required for TokenReview in authentication");
  const asked = listAt(body, "spec", "audiences").filter((name) => typeof name === "string");
  const verdict = judgeToken(tokens, token, asked);
  if (verdict.kind === "refused") return { user: {}, error: verdict.message };
  return { authenticated: true, user: userInfo(verdict.user), audiences: verdict.audiences };
}

function userInfo({ name, ...rest }: User): object {
  return { username: name, ...rest };
}

function accessOf(user: User, body: KubeObject, authorizer: Authorizer | undefined): object {
  const decision = decide(user, attributesOf(body), authorizer);
  if (decision.kind === "allow") return { allowed: true };
  return { allowed: false, ...(decision.message === "" ? {} : { reason: decision.message }) };
}

function decide(user: User, about: RequestAttributes, authorizer?: Authorizer): Decision {
  if (user.groups.includes("system:masters")) return { kind: "allow" };
  return authorizer?.(user, about) ?? { kind: "deny", message: "" };
}

function subjectOf(body: KubeObject): User {
  const groups = at(body, "spec", "groups");
  const name = text(body, "user");
  const names = Array.isArray(groups) ? groups.filter((group) => typeof group === "string") : [];
  if (name === "" && names.length === 0)
    throw badRequest("spec.user: Invalid value: at least one of user or group must be specified");
  return { name, groups: names };
}

function attributesOf(body: KubeObject): RequestAttributes {
  if (isObject(at(body, "spec", "nonResourceAttributes"))) {
    const [path, verb] = ["path", "verb"].map((name) => text(body, "nonResourceAttributes", name));
    return { path: path ?? "", verb: verb ?? "" };
  }
  if (!isObject(at(body, "spec", "resourceAttributes")))
    throw badRequest(
      "spec.resourceAttributes: exactly one of it and nonResourceAttributes is required",
    );
  const of = (name: string): string => text(body, "resourceAttributes", name);
  const [namespace, name, subresource] = [of("namespace"), of("name"), of("subresource")];
  return {
    ...{ path: "", verb: of("verb"), type: typeOf(of("group"), of("resource")) },
    ...(namespace === "" ? {} : { namespace }),
    ...(name === "" ? {} : { name }),
    ...(subresource === "" ? {} : { subresource }),
  };
}

/** Also what is not served may be asked about. */
function typeOf(group: string, plural: string): ResourceType {
  const known = RESOURCE_TYPES.find((type) => type.group === group && type.plural === plural);
  return known ?? { ...NODES, group, plural, subresources: [] };
}

function text(body: KubeObject, ...path: readonly string[]): string {
  const value = at(body, "spec", ...path);
  return typeof value === "string" ? value : "";
}
