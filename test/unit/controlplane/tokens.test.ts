/** Service account tokens: what is issued to whom, what it says, and until when it is believed. */

import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { judgeToken } from "../../../src/controlplane/authentication.ts";
import { restrictNode } from "../../../src/controlplane/controllers/admission.ts";
import type { User } from "../../../src/controlplane/extension.ts";
import type { KubeObject } from "../../../src/controlplane/objects.ts";
import {
  NODES,
  PODS,
  type ResourceType,
  SECRETS,
  SERVICE_ACCOUNTS,
} from "../../../src/controlplane/registry.ts";
import { Store } from "../../../src/controlplane/store.ts";
import { createAccountAuthenticator } from "../../../src/controlplane/tokens/account-authenticator.ts";
import { ISSUER } from "../../../src/controlplane/tokens/claims.ts";
import { issuerDocument } from "../../../src/controlplane/tokens/issuer-documents.ts";
import {
  loadSigningKey,
  readToken,
  signToken,
} from "../../../src/controlplane/tokens/signing-key.ts";
import { issueToken } from "../../../src/controlplane/tokens/token-request.ts";
import { createLogger } from "../../../src/core/logger.ts";

const ADMIN: User = { name: "admin", groups: ["system:masters"] };
const node = (name: string): User => ({ name: `system:node:${name}`, groups: ["system:nodes"] });
const START = Date.parse("2026-11-21T12:00:00Z");
const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const dir = mkdtempSync(join(tmpdir(), "longshore-tokens-"));
const key = loadSigningKey(join(dir, "sa.key"));
const other = loadSigningKey(join(dir, "other.key"));
afterAll(() => rmSync(dir, { recursive: true }));

let now: number;
let store: Store;
const clock = { now: () => now, monotonic: () => now, after: () => ({ cancel: () => undefined }) };
const randomUid = () => crypto.randomUUID();

beforeEach(() => {
  now = START;
  store = new Store({ path: ":memory:", clock, randomUid, log });
  store.open();
  make(NODES, { name: "n" });
  make(SERVICE_ACCOUNTS, { name: "app", namespace: "d" });
  make(SERVICE_ACCOUNTS, { name: "else", namespace: "d" });
  make(SECRETS, { name: "s", namespace: "d" });
  make(PODS, { name: "web", namespace: "d" }, { nodeName: "n", serviceAccountName: "app" });
  return () => store.close();
});

function make(type: ResourceType, metadata: KubeObject["metadata"], spec: object = {}): KubeObject {
  return store.create(type, { apiVersion: "v1", kind: type.kind, metadata, spec });
}

const uidOf = (type: ResourceType, namespace: string | undefined, name: string): string =>
  store.get(type, namespace, name)?.metadata.uid ?? "";
const ref = (kind: string, name: string, uid?: string): object => ({
  boundObjectRef: { apiVersion: "v1", kind, name, ...(uid === undefined ? {} : { uid }) },
});

interface Issued {
  readonly spec: { readonly expirationSeconds: number };
  readonly status: { readonly token: string; readonly expirationTimestamp: string };
}

function issue(spec: object = {}, user = ADMIN, name = "app"): Issued {
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", metadata: {}, spec };
  const parent = store.get(SERVICE_ACCOUNTS, "d", name) as KubeObject;
  const admit = (request: Parameters<typeof restrictNode>[1]) => restrictNode(store, request);
  return issueToken(
    { key, store, clock, randomUid, admit },
    { user, type: SERVICE_ACCOUNTS, name, namespace: "d", subresource: "token", parent },
    body as unknown as KubeObject,
  ) as unknown as Issued;
}

function judge(token: string, audiences: readonly string[] = []): string {
  const verdict = judgeToken([createAccountAuthenticator({ key, store, clock })], token, audiences);
  return verdict.kind === "user" ? verdict.user.name : verdict.message;
}

const NAME = "system:serviceaccount:d:app";
const INVALIDATED = "[invalid bearer token, service account token has been invalidated]";

describe("the signing key", () => {
  test("is a private file, and the same again after a restart", () => {
    expect(statSync(join(dir, "sa.key")).mode & 0o777).toBe(0o600);
    expect(loadSigningKey(join(dir, "sa.key")).id).toBe(key.id);
  });

  test("is published without its secret", () => {
    const { body } = issuerDocument("/openid/v1/jwks", key, "https://h") ?? { body: "" };
    const [published] = JSON.parse(String(body)).keys;
    expect(published).toEqual({
      ...{ use: "sig", kty: "EC", crv: "P-256", alg: "ES256", kid: key.id },
      ...{ x: expect.any(String), y: expect.any(String) },
    });
  });
});

describe("a token", () => {
  test("bound to a pod says what kube-apiserver's says", () => {
    const { status } = issue({ expirationSeconds: 600, ...ref("Pod", "web") });
    const seconds = START / 1000;
    expect(status.expirationTimestamp).toBe("2026-11-21T12:10:00Z");
    expect(readToken(key, status.token)).toEqual({
      isGenuine: true,
      claims: {
        ...{ aud: [ISSUER], iss: ISSUER, iat: seconds, nbf: seconds, exp: seconds + 600 },
        ...{ jti: expect.any(String), sub: NAME },
        "kubernetes.io": {
          namespace: "d",
          node: { name: "n", uid: uidOf(NODES, undefined, "n") },
          pod: { name: "web", uid: uidOf(PODS, "d", "web") },
          serviceaccount: { name: "app", uid: uidOf(SERVICE_ACCOUNTS, "d", "app") },
        },
      },
    });
  });

  test("tells who it is, where it runs and which token it is", () => {
    const { status } = issue(ref("Pod", "web"));
    const verdict = createAccountAuthenticator({ key, store, clock })(status.token, []);
    const jti = readToken(key, status.token)?.claims.jti;
    expect(verdict).toEqual({
      kind: "user",
      audiences: [ISSUER],
      user: {
        name: NAME,
        uid: uidOf(SERVICE_ACCOUNTS, "d", "app"),
        groups: ["system:serviceaccounts", "system:serviceaccounts:d"],
        extra: {
          "authentication.kubernetes.io/credential-id": [`JTI=${jti}`],
          "authentication.kubernetes.io/node-name": ["n"],
          "authentication.kubernetes.io/node-uid": [uidOf(NODES, undefined, "n")],
          "authentication.kubernetes.io/pod-name": ["web"],
          "authentication.kubernetes.io/pod-uid": [uidOf(PODS, "d", "web")],
        },
      },
    });
  });

  test("of a pod's own life lives for a year, and says after what time to warn", () => {
    const { spec, status } = issue({ expirationSeconds: 3607, ...ref("Pod", "web") });
    expect(spec.expirationSeconds).toBe(3607);
    expect(status.expirationTimestamp).toBe("2026-11-21T13:00:07Z");
    expect(readToken(key, status.token)?.claims).toMatchObject({
      exp: START / 1000 + 365 * 86_400,
      "kubernetes.io": { warnafter: START / 1000 + 3607 },
    });
    const unbound = issue({ expirationSeconds: 3607 });
    expect(readToken(key, unbound.status.token)?.claims.exp).toBe(START / 1000 + 3607);
  });

  test.each<[sentence: string, spec: object, change: () => void, verdict: string]>([
    ["is good until it expires", { expirationSeconds: 600 }, () => (now += 599_000), NAME],
    [
      "is not after it expires",
      { expirationSeconds: 600 },
      () => (now += 600_000),
      "[invalid bearer token, service account token has expired]",
    ],
    [
      "is not before it is issued",
      {},
      () => (now -= 1000),
      "[invalid bearer token, service account token is not valid yet]",
    ],
    [
      "ends with its account",
      {},
      () => store.delete(SERVICE_ACCOUNTS, "d", "app"),
      "[invalid bearer token, service account d/app has been deleted]",
    ],
    [
      "is not of another account of the name",
      {},
      () => {
        store.delete(SERVICE_ACCOUNTS, "d", "app");
        make(SERVICE_ACCOUNTS, { name: "app", namespace: "d" });
      },
      "[invalid bearer token, service account d/app has been deleted]",
    ],
    ["ends with its pod", ref("Pod", "web"), () => store.delete(PODS, "d", "web"), INVALIDATED],
    [
      "is not of another pod of the name",
      ref("Pod", "web"),
      () => {
        store.delete(PODS, "d", "web");
        make(PODS, { name: "web", namespace: "d" });
      },
      INVALIDATED,
    ],
    ["outlives its pod's node", ref("Pod", "web"), () => store.delete(NODES, undefined, "n"), NAME],
    [
      "ends with its secret",
      ref("Secret", "s"),
      () => store.delete(SECRETS, "d", "s"),
      INVALIDATED,
    ],
    [
      "ends with its node",
      ref("Node", "n"),
      () => store.delete(NODES, undefined, "n"),
      INVALIDATED,
    ],
    ["of a pod that is going is good for its grace", ref("Pod", "web"), () => going(0), NAME],
    ["of a pod that should be gone is not", ref("Pod", "web"), () => going(-61), INVALIDATED],
  ])("%s", (_sentence, spec, change, verdict) => {
    const { token } = issue(spec).status;
    change();
    expect(judge(token)).toBe(verdict);
  });

  test("is good for its audiences alone", () => {
    const { token } = issue({ audiences: ["vault", "bank"] }).status;
    expect(judge(token)).toContain("is invalid for the target audiences");
    expect(judge(token, [ISSUER])).toContain("is invalid for the target audiences");
    expect(judge(token, ["bank", "x"])).toBe(NAME);
  });

  test("that was tampered with, signed by another, or is none, is refused", () => {
    const { token } = issue().status;
    const [header = "", payload = "", signature = ""] = token.split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    const forged = Buffer.from(
      JSON.stringify({ ...claims, sub: "system:serviceaccount:kube-system:x" }),
    ).toString("base64url");
    const none = Buffer.from('{"alg":"none"}').toString("base64url");
    for (const bad of [
      `${header}.${forged}.${signature}`,
      `${none}.${payload}.${signature}`,
      `${none}.${payload}.`,
      `${token}x`,
      signToken(other, claims),
      signToken(key, { ...claims, iss: "https://elsewhere" }),
      "a.b.c",
      "bootstrap.token",
    ])
      expect(judge(bad), bad).toMatch(/^\[?invalid bearer token/);
  });
});

function going(seconds: number): void {
  store.update(PODS, "d", "web", (pod) => ({
    ...pod,
    metadata: { ...pod.metadata, deletionTimestamp: new Date(now + seconds * 1000).toISOString() },
  }));
}

describe("a request", () => {
  test.each<[sentence: string, spec: object, message: string]>([
    [
      "shorter than ten minutes",
      { expirationSeconds: 599 },
      'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes',
    ],
    ["longer than 2^32 s", { expirationSeconds: 2 ** 32 + 1 }, "larger than 2^32 seconds"],
    ["for half a second", { expirationSeconds: 600.5 }, "must be of type integer"],
    ["for audiences that are no text", { audiences: [1] }, "must be of type string"],
    ["bound to no object", { boundObjectRef: "web" }, "must be of type object"],
    ["bound to a missing pod", ref("Pod", "no"), 'pods "no" not found'],
    [
      "bound to a pod of another UID",
      ref("Pod", "web", "old"),
      "the UID in the bound object reference (old) does not match the UID in record",
    ],
    [
      "bound to another kind",
      ref("ConfigMap", "c"),
      "cannot bind token to object of type /v1, Kind=ConfigMap",
    ],
  ])("%s is refused", (_sentence, spec, message) => {
    expect(() => issue(spec)).toThrow(message);
  });

  test("bound to a pod of another account is refused", () => {
    expect(() => issue(ref("Pod", "web"), ADMIN, "else")).toThrow(
      'cannot bind token for serviceaccount "else" to pod running with different serviceaccount name.',
    );
  });

  test("of a node is for its own pods only", () => {
    const bound = ref("Pod", "web", uidOf(PODS, "d", "web"));
    expect(judge(issue(bound, node("n")).status.token)).toBe(NAME);
    expect(() => issue(bound, node("m"))).toThrow("pod scheduled on a different node");
    expect(() => issue({}, node("n"))).toThrow("not bound to a pod");
    expect(() => issue(ref("Node", "n"), node("n"))).toThrow("not bound to a pod");
    expect(() => issue(ref("Pod", "web"), node("n"))).toThrow("without a uid");
  });
});
