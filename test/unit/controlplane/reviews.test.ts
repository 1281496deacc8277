/** TokenReview, SubjectAccessReview and those about who asks. */

import { expect, test } from "vitest";
import type { KubeObject } from "../../../src/controlplane/objects.ts";
import { answerReview } from "../../../src/controlplane/reviews.ts";

const admin = { name: "admin", groups: ["system:masters"] };
const jane: { name: string; groups: string[] } = { name: "jane", groups: [] };
const nodes = { resourceAttributes: { verb: "get", resource: "nodes", subresource: "metrics" } };

const ask = (kind: string, spec: object, user = jane): unknown =>
  answerReview(kind, { spec } as unknown as KubeObject, user, {
    authorize: (who, about) =>
      who.name === "prometheus" && about.subresource === "metrics" && about.type?.plural === "nodes"
        ? { kind: "allow" }
        : { kind: "deny", message: "no" },
    tokens: [
      () => undefined,
      (token, asked) =>
        token === "bad"
          ? { kind: "refused", message: "it is bad" }
          : token === "good"
            ? { kind: "user", user: { ...jane, uid: "u", extra: { a: ["b"] } }, audiences: asked }
            : undefined,
    ],
  })?.status;

test.each([
  ["TokenReview", { token: "x" }, jane, { user: {}, error: "invalid bearer token" }],
  ["TokenReview", { token: "bad" }, jane, { error: "[invalid bearer token, it is bad]" }],
  [
    "TokenReview",
    { token: "good", audiences: ["vault"] },
    admin,
    {
      authenticated: true,
      audiences: ["vault"],
      user: { username: "jane", uid: "u", groups: ["system:authenticated"], extra: { a: ["b"] } },
    },
  ],
  ["SubjectAccessReview", { user: "prometheus", ...nodes }, jane, { allowed: true }],
  ["SubjectAccessReview", { user: "x", ...nodes }, admin, { allowed: false, reason: "no" }],
  ["SubjectAccessReview", { groups: ["system:masters"], ...nodes }, jane, { allowed: true }],
  ["SelfSubjectAccessReview", nodes, admin, { allowed: true }],
  ["SelfSubjectAccessReview", nodes, jane, { allowed: false }],
  [
    "SelfSubjectAccessReview",
    { nonResourceAttributes: { path: "/x", verb: "get" } },
    jane,
    { allowed: false },
  ],
  ["SelfSubjectReview", {}, admin, { userInfo: { username: "admin", groups: ["system:masters"] } }],
])("%s of %j by %j", (kind, spec, user, status) => {
  expect(ask(kind, spec, user)).toMatchObject(status);
});

test("what is no question has no answer, and half a question is refused", () => {
  expect(ask("Pod", {})).toBeUndefined();
  expect(() => ask("SubjectAccessReview", nodes)).toThrow("at least one of user or group");
  expect(() => ask("TokenReview", {})).toThrow("token is required");
  expect(() => ask("SelfSubjectAccessReview", {})).toThrow("spec.resourceAttributes");
});
