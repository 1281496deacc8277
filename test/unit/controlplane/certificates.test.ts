/** Certificate requests on the embedded API server: what is stored, who approves, what is signed, and whose tokens ask. */

import { webcrypto, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type JsonAttributeObject,
  Name,
  X509Certificate as PeculiarCertificate,
  Pkcs10CertificateRequestGenerator,
} from "@peculiar/x509";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createKey, encodeRequest } from "../../../src/certificates/signing-request.ts";
import { createBootstrapTokens } from "../../../src/controlplane/bootstrap-tokens.ts";
import { approvalOf } from "../../../src/controlplane/certificate-approval.ts";
import {
  API_CLIENT,
  certificateRequestOf,
  KUBELET_CLIENT,
  KUBELET_SERVING,
  parseCertificateRequest,
  signerRefusal,
} from "../../../src/controlplane/certificate-request.ts";
import { signRequest } from "../../../src/controlplane/certificate-signer.ts";
import { createAdmission } from "../../../src/controlplane/controllers/admission.ts";
import { createCertificateController } from "../../../src/controlplane/controllers/certificates.ts";
import type { User } from "../../../src/controlplane/extension.ts";
import { at, type KubeObject } from "../../../src/controlplane/objects.ts";
import { type KeyPair, Pki } from "../../../src/controlplane/pki.ts";
import {
  CERTIFICATE_SIGNING_REQUESTS,
  NODES,
  SECRETS,
} from "../../../src/controlplane/registry.ts";
import { Rest, type RestCall } from "../../../src/controlplane/rest.ts";
import { Store } from "../../../src/controlplane/store.ts";
import { ISSUER } from "../../../src/controlplane/tokens/claims.ts";
import { createLogger } from "../../../src/core/logger.ts";
import { FakeClock, settle } from "../../fakes/clock.ts";

const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const ADMIN: User = { name: "admin", groups: ["system:masters"] };
const NODE: User = { name: "system:node:n", groups: ["system:nodes", "system:authenticated"] };
const TOKEN: User = { name: "system:bootstrap:abcdef", groups: ["system:bootstrappers"] };
const OTHER = { type: "InternalIP", address: "10.0.0.2" };
const CLIENT_USAGES = ["digital signature", "client auth"];
const SERVING_USAGES = ["digital signature", "server auth"];

let dir = "";
let ca: KeyPair;
let clock: FakeClock;
let store: Store;
let rest: Rest;
const encoded = new Map<string, string>();

interface Names {
  readonly commonName?: string;
  readonly organization?: string;
  readonly dnsNames?: readonly string[];
  readonly ips?: readonly string[];
}

async function specOf(signerName: string, names: Names = {}, more: object = {}): Promise<object> {
  const subject = {
    ...{ commonName: "system:node:n", organization: "system:nodes", dnsNames: [], ips: [] },
    ...names,
  };
  const id = JSON.stringify(subject);
  const known = encoded.get(id);
  const request =
    known ??
    (await encodeRequest({ key: createKey(), subject, signerName, usages: [] })).toString("base64");
  encoded.set(id, request);
  const usages = signerName === KUBELET_SERVING ? SERVING_USAGES : CLIENT_USAGES;
  return { request, signerName, usages, ...more };
}

const objectOf = (spec: object): KubeObject => ({
  ...{ apiVersion: "certificates.k8s.io/v1", kind: "CertificateSigningRequest" },
  metadata: { name: "r" },
  spec,
});

function call(user: User, name?: string, subresource?: string): RestCall {
  const path = {
    ...{ type: CERTIFICATE_SIGNING_REQUESTS, rest: "" },
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
  };
  return { user, path, query: new URLSearchParams() };
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "longshore-csr-"));
  ca = await new Pki({ dir, clock: new FakeClock() }).ca();
});
afterAll(() => rmSync(dir, { recursive: true }));
beforeEach(() => {
  clock = new FakeClock();
  let uid = 0;
  const randomUid = (): string => `uid-${uid++}`;
  const random = (): number => 0;
  store = new Store({ path: ":memory:", clock, randomUid, log });
  store.open();
  const admission = createAdmission({ store, clock, random, serviceCidr: "10.96.0.0/16" });
  rest = new Rest({ store, clock, random, randomUid, admission });
});

const approved = { type: "Approved", status: "True", reason: "Yes", message: "" };

describe("a certificate request", () => {
  test("says who asks, whatever it says, and its spec never changes", async () => {
    const spec = await specOf(KUBELET_CLIENT, {}, { username: "root", groups: ["system:masters"] });
    const created = rest.create(call(NODE), { ...objectOf(spec), status: { certificate: "x" } });
    expect(created.spec).toMatchObject({ username: NODE.name, groups: NODE.groups });
    expect(created.status).toEqual({});
    const changed = { ...created, spec: { ...spec, signerName: "a.b/c" }, status: { a: 1 } };
    const updated = rest.update(call(ADMIN, "r"), changed);
    expect([updated.spec, updated.status]).toEqual([created.spec, created.status]);
  });

  test.each<[string, object, string]>([
    ["without usages", { usages: [] }, "spec.usages: Required value"],
    ["with a usage nobody knows", { usages: ["flying"] }, "Unsupported value"],
    ["with a usage twice", { usages: ["any", "any"] }, "Duplicate value"],
    ["without a signer", { signerName: "" }, "spec.signerName: Required value"],
    ["with a signer of no domain", { signerName: "mine" }, "must be a fully qualified domain"],
    ["for a minute", { expirationSeconds: 60 }, "less than 600 seconds"],
    ["that is none", { request: "aGVsbG8=" }, "PEM block type must be CERTIFICATE REQUEST"],
  ])("%s is refused", async (_how, change, words) => {
    const spec = await specOf(KUBELET_CLIENT, {}, change);
    expect(() => rest.create(call(ADMIN), objectOf(spec))).toThrow(words);
  });

  test("that its key has not signed is refused", async () => {
    const { request } = (await specOf(KUBELET_CLIENT)) as { request: string };
    const pem = Buffer.from(request, "base64").toString();
    const der = Buffer.from(pem.replace(/-----[^-]+-----/g, ""), "base64");
    const at = der.indexOf("system:node:n");
    der.write("system:node:m", at);
    const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
    const spec = await specOf(
      KUBELET_CLIENT,
      {},
      { request: Buffer.from(forged).toString("base64") },
    );
    expect(() => rest.create(call(ADMIN), objectOf(spec))).toThrow("not of its key");
  });

  test("for administrators is not for the API server's signer", async () => {
    const spec = await specOf(API_CLIENT, { commonName: "eve", organization: "system:masters" });
    expect(() => rest.create(call(ADMIN), objectOf(spec))).toThrow("is not allowed");
  });

  test("of a node is for that node", async () => {
    const spec = await specOf(KUBELET_SERVING, { commonName: "system:node:m", ips: ["10.0.0.1"] });
    const words = "can only create a node CSR with CN=system:node:n";
    expect(() => rest.create(call(NODE), objectOf(spec))).toThrow(words);
  });

  test("is decided through approval and issued through status, once", async () => {
    rest.create(call(ADMIN), objectOf(await specOf(API_CLIENT, { commonName: "jane" })));
    const write = (subresource: string, status: object) => {
      const current = rest.get(call(ADMIN, "r"));
      return rest.update(call(ADMIN, "r", subresource), { ...current, status });
    };
    expect(at(write("status", { conditions: [approved] }), "status", "conditions")).toEqual([]);
    const both = [approved, { ...approved, type: "Denied" }];
    expect(() => write("approval", { conditions: both })).toThrow("mutually exclusive");
    const no = [{ ...approved, status: "False" }];
    expect(() => write("approval", { conditions: no })).toThrow("must be True");
    const decided = write("approval", { certificate: "x", conditions: [approved] });
    expect(decided.status).toEqual({
      conditions: [
        expect.objectContaining({ ...approved, lastUpdateTime: "2026-01-01T00:00:00Z" }),
      ],
    });
    expect(() => write("approval", { conditions: [] })).toThrow('of type "Approved"');
    expect(() => write("status", { certificate: "eA==" })).toThrow("must be PEM");
    const certificate = Buffer.from(ca.cert).toString("base64");
    expect(write("status", { certificate }).status).toMatchObject({ certificate });
    expect(() => write("status", { certificate: "eA==" })).toThrow("may not modify existing");
  });
});

describe("by itself the control plane approves", () => {
  const addresses = [
    { type: "InternalIP", address: "10.0.0.1" },
    { type: "Hostname", address: "n" },
  ];
  const nodeOf = (name: string, status: object): KubeObject => ({
    ...{ apiVersion: "v1", kind: "Node" },
    ...{ metadata: { name }, status },
  });
  const nodeWith = (name: string, more: readonly string[] = []): KubeObject => {
    const others = more.map((address) => ({ type: "ExternalDNS", address }));
    return nodeOf(name, { addresses: [...addresses, ...others] });
  };
  const view = { nodes: [nodeWith("n")], serverNames: ["10.96.0.1", "kubernetes.default.svc"] };
  const own = { dnsNames: ["n"], ips: ["10.0.0.1"] };
  test.each<[string, User, string, Names, object, boolean]>([
    ["the client certificate of a bootstrap token", TOKEN, KUBELET_CLIENT, {}, {}, true],
    ["a node's next client certificate", NODE, KUBELET_CLIENT, {}, {}, true],
    ["not another node's", NODE, KUBELET_CLIENT, { commonName: "system:node:m" }, {}, false],
    ["not one with names", NODE, KUBELET_CLIENT, own, {}, false],
    ["not one to serve with", NODE, KUBELET_CLIENT, {}, { usages: SERVING_USAGES }, false],
    ["not one that people ask for", ADMIN, KUBELET_CLIENT, {}, {}, false],
    ["not one of another group", TOKEN, KUBELET_CLIENT, { organization: "x" }, {}, false],
    ["a node's serving certificate", NODE, KUBELET_SERVING, own, {}, true],
    ["not for an address it has not", NODE, KUBELET_SERVING, { ips: ["10.0.0.9"] }, {}, false],
    ["not for a name it has not", NODE, KUBELET_SERVING, { ...own, dnsNames: ["x"] }, {}, false],
    ["not for a token", TOKEN, KUBELET_SERVING, own, {}, false],
    [
      "not of a node without an object",
      { ...NODE, name: "system:node:m" },
      KUBELET_SERVING,
      { ...own, commonName: "system:node:m" },
      {},
      false,
    ],
    ["none of people's signer", NODE, API_CLIENT, {}, {}, false],
  ])("%s", async (_what, user, signer, names, more, isApproved) => {
    const spec = await specOf(signer, names, { username: user.name, groups: user.groups, ...more });
    expect(approvalOf(objectOf(spec), view) !== undefined).toBe(isApproved);
  });

  test.each<[string, Names, boolean]>([
    ["one of its own", { dnsNames: ["node.example.com"] }, true],
    ["the API server's name", { dnsNames: ["kubernetes.default.svc"] }, false],
    ["the same in capitals", { dnsNames: ["KUBERNETES.default.svc"] }, false],
    ["a wildcard that covers it", { dnsNames: ["*.default.svc"] }, false],
    ["the API server's address", { ips: ["10.96.0.1"] }, false],
    ["the same as a DNS name", { dnsNames: ["10.96.0.1"] }, false],
    ["the same as an IPv6 address", { ips: ["::ffff:a60:1"] }, false],
    ["another node's name", { dnsNames: ["other"] }, false],
    ["another node's address", { ips: ["10.0.0.2"] }, false],
  ])("of the names that a node gives itself: %s", async (_what, names, isApproved) => {
    const subject = await specOf(KUBELET_SERVING, names);
    const spec = { ...subject, username: NODE.name, groups: NODE.groups };
    const { dnsNames, ips } = certificateRequestOf(objectOf(spec));
    const node = nodeWith("n", [...dnsNames, ...ips]);
    const other = nodeOf("other", { addresses: [OTHER, {}] });
    const nodes = [node, other, nodeOf("odd", { addresses: "rubbish" })];
    expect(approvalOf(objectOf(spec), { ...view, nodes }) !== undefined).toBe(isApproved);
  });

  test("and signs what is approved, fails what the signer may not take, forgets what is old", async () => {
    const controller = createCertificateController(
      { store, clock, log },
      { ca, signingDurationMs: 3_600_000, serverNames: [] },
    );
    controller.start();
    const turn = async (): Promise<void> => {
      await clock.advance(1_000);
      for (let i = 0; i < 50; i++) await new Promise((wake) => setTimeout(wake, 1));
      await settle();
    };
    rest.create(call(TOKEN), objectOf(await specOf(KUBELET_CLIENT)));
    const odd = await specOf(
      API_CLIENT,
      { commonName: "x", organization: "dev" },
      { usages: ["any"] },
    );
    rest.create(call(ADMIN), { ...objectOf(odd), metadata: { name: "odd" } });
    rest.update(call(ADMIN, "odd", "approval"), {
      ...rest.get(call(ADMIN, "odd")),
      status: { conditions: [approved] },
    });
    await turn();
    const issued = rest.get(call(ADMIN, "r"));
    expect(at(issued, "status", "conditions")).toMatchObject([{ reason: "AutoApproved" }]);
    const pem = Buffer.from(String(at(issued, "status", "certificate")), "base64");
    expect(new X509Certificate(pem).verify(new X509Certificate(ca.cert).publicKey)).toBe(true);
    expect(at(rest.get(call(ADMIN, "odd")), "status", "conditions")).toMatchObject([
      { type: "Approved" },
      { type: "Failed", reason: "SignerValidationFailure" },
    ]);
    await clock.advance(2 * 3_600_000);
    await turn();
    expect(store.list(CERTIFICATE_SIGNING_REQUESTS).items).toEqual([]);
    await controller.stop();
  });

  test("a serving certificate when its address has come to the Node", async () => {
    const controller = createCertificateController(
      { store, clock, log },
      { ca, signingDurationMs: 3_600_000, serverNames: [] },
    );
    controller.start();
    store.create(NODES, { apiVersion: "v1", kind: "Node", metadata: { name: "n" } });
    rest.create(call(NODE), objectOf(await specOf(KUBELET_SERVING, { ips: ["10.0.0.1"] })));
    await clock.advance(1_000);
    expect(at(rest.get(call(ADMIN, "r")), "status", "conditions")).toBeUndefined();
    store.update(NODES, undefined, "n", (node) => ({ ...node, status: { addresses } }));
    await clock.advance(1_000);
    expect(at(rest.get(call(ADMIN, "r")), "status", "conditions")).toHaveLength(1);
    await controller.stop();
  });
});

test.each([
  ["as long as allowed", undefined, 3_600_000, 300_000],
  ["as long as asked", 1200, 1_200_000, 120_000],
  ["no longer than allowed", 999_999, 3_600_000, 300_000],
])("a certificate lasts %s", async (_how, expirationSeconds, lifeMs, backMs) => {
  const spec = await specOf(KUBELET_CLIENT, {}, { expirationSeconds });
  const pem = await signRequest(objectOf(spec), ca, clock.now(), 3_600_000);
  const { validFromDate, validToDate } = new X509Certificate(pem);
  expect([validToDate.getTime() - clock.now(), clock.now() - validFromDate.getTime()]).toEqual([
    lifeMs,
    backMs,
  ]);
});

async function requestOf(organization: JsonAttributeObject): Promise<string> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const name = new Name([{ O: [organization] }, { CN: ["x"] }]);
  const asked = { keys, signingAlgorithm: algorithm, name };
  const request = await Pkcs10CertificateRequestGenerator.create(asked);
  return Buffer.from(request.toString("pem")).toString("base64");
}

test.each([
  ["hexadecimal", "#0c0e73797374656d3a6d617374657273"],
  ["quoted", '"system:masters"'],
])("a %s organization stays what it is when it is signed", async (_how, text) => {
  const request = await requestOf({ utf8String: text });
  const spec = await specOf(API_CLIENT, {}, { request });
  const pem = await signRequest(objectOf(spec), ca, clock.now(), 3_600_000);
  expect(new PeculiarCertificate(pem).subjectName.getField("O")).toEqual([text]);
});

test("a subject that is no plain text is refused", async () => {
  const request = await requestOf({ bmpString: "system:masters" });
  expect(() => parseCertificateRequest(request)).toThrow("the subject holds what is no UTF8String");
});

test("what the signers refuse is said", async () => {
  const refusal = async (signer: string, names: Names, more: object = {}) =>
    signerRefusal(objectOf(await specOf(signer, names, more)));
  expect(await refusal(KUBELET_SERVING, {})).toContain("is required");
  expect(await refusal(KUBELET_SERVING, { commonName: "n", ips: ["10.0.0.1"] })).toContain("begin");
  expect(await refusal(KUBELET_CLIENT, {}, { usages: ["client auth"] })).toContain("usages");
  expect(await refusal(API_CLIENT, {}, { usages: ["server auth"] })).toContain("client auth");
  expect(await refusal("example.com/own", {})).toBeUndefined();
});

describe("a bootstrap token", () => {
  const DATA = {
    "token-id": "abcdef",
    "token-secret": "0123456789abcdef",
    "usage-bootstrap-authentication": "true",
  };
  const secretOf = (data: object = {}, change: object = {}) => ({
    ...{ apiVersion: "v1", kind: "Secret", type: "bootstrap.kubernetes.io/token" },
    metadata: { name: "bootstrap-token-abcdef", namespace: "kube-system" },
    data: Object.fromEntries(
      Object.entries({ ...DATA, ...data }).map(([key, text]) => [
        key,
        Buffer.from(String(text)).toString("base64"),
      ]),
    ),
    ...change,
  });
  test.each<[string, object, object, string, readonly string[] | undefined]>([
    ["is known", {}, {}, "", []],
    ["has groups", { "auth-extra-groups": "system:bootstrappers:x" }, {}, "", [":x"]],
    ["may not be of any group", { "auth-extra-groups": "system:masters" }, {}, "", undefined],
    ["has one secret", {}, {}, "abcdef.0123456789abcdee", undefined],
    ["may be for something else", { "usage-bootstrap-authentication": "false" }, {}, "", undefined],
    ["lasts", { expiration: "2026-01-02T00:00:00Z" }, {}, "", []],
    ["ends", { expiration: "2025-12-31T23:59:59Z" }, {}, "", undefined],
    ["with an end nobody can read has ended", { expiration: "soon" }, {}, "", undefined],
    ["is of its type", {}, { type: "Opaque" }, "", undefined],
    ["is there", {}, { metadata: { name: "x", namespace: "kube-system" } }, "", undefined],
  ])("%s", (_what, data, change, token, groups) => {
    store.create(SECRETS, secretOf(data, change));
    const verdict = createBootstrapTokens({ store, clock })(token || "abcdef.0123456789abcdef", []);
    if (groups === undefined) expect(verdict?.kind).toBe("refused");
    else
      expect(verdict).toMatchObject({
        user: {
          name: "system:bootstrap:abcdef",
          groups: ["", ...groups].map((it) => `system:bootstrappers${it}`),
        },
      });
  });

  test("is good for the API server alone", () => {
    store.create(SECRETS, secretOf());
    const judge = (audiences: readonly string[]) =>
      createBootstrapTokens({ store, clock })("abcdef.0123456789abcdef", audiences);
    expect(judge(["vault", ISSUER])).toMatchObject({ kind: "user", audiences: [ISSUER] });
    expect(judge([])).toMatchObject({ kind: "user", audiences: [ISSUER] });
    expect(judge(["vault"])).toMatchObject({ kind: "refused" });
  });

  test("of another form is for others to know", () => {
    expect(createBootstrapTokens({ store, clock })("ey.J.hbGc", [])).toBeUndefined();
  });
});
