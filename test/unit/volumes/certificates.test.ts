/** clusterTrustBundle and podCertificate: what is shown, and the life of a pod's certificate. */

import "reflect-metadata";
import { createPublicKey } from "node:crypto";
import { Pkcs10CertificateRequest } from "@peculiar/x509";
import { beforeEach, describe, expect, it } from "vitest";
import type { ClusterTrustBundle, Pod, PodCertificateRequest } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Logger } from "../../../src/core/logger.ts";
import { collectProjected, type FileSources } from "../../../src/volumes/kinds/projected.ts";
import { computeTrustAnchors } from "../../../src/volumes/kinds/trust-bundle.ts";
import { readPem, writePem } from "../../../src/volumes/pem.ts";
import { generateCertificateKey } from "../../../src/volumes/pod-certificate-key.ts";
import { PodCertificates } from "../../../src/volumes/pod-certificates.ts";
import type { CertificateRequest } from "../../../src/volumes/volumes.ts";
import { FakeClock } from "../../fakes/clock.ts";

const LOG: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => LOG };
const { signal } = new AbortController();
const A = writePem("CERTIFICATE", [Buffer.alloc(100, "a")]).toString();
const B = writePem("CERTIFICATE", [Buffer.alloc(50, "b")]).toString();

const bundle = (
  name: string,
  trustBundle: string,
  signerName?: string,
  labels: Record<string, string> = {},
): ClusterTrustBundle => ({
  metadata: { name, uid: name, resourceVersion: "1", labels },
  spec: { trustBundle, ...(signerName === undefined ? {} : { signerName }) },
});

describe("PEM", () => {
  it("is read with headers and text between blocks, and written without", () => {
    const text = `about\n${A.replace("-----\n", "-----\nProc-Type: 4\nX: y\n\n")}between\r\n${B.replaceAll("\n", "\r\n")}`;
    expect(writePem("CERTIFICATE", readPem(text)).toString()).toBe(A + B);
    expect(readPem("-----BEGIN CERTIFICATE-----\nhalf")).toEqual([]);
    expect(readPem("-----BEGIN A-----\n".repeat(100_000))).toEqual([]);
  });
});

describe("trust anchors", () => {
  const all = [
    bundle("one", B + A + B),
    bundle("s:1", A, "s", { tier: "web" }),
    bundle("s:2", B + A, "s", { tier: "db" }),
    bundle("t:1", B, "t"),
  ];

  it.each([
    ["of a name, without repeats", { name: "one" }, A + B],
    ["of a signer", { signerName: "s", labelSelector: {} }, A + B],
    [
      "of those that the labels match",
      { signerName: "s", labelSelector: { matchLabels: { tier: "web" } } },
      A,
    ],
    ["of none, where none will do", { name: "none", optional: true }, ""],
    ["of no selector, where none will do", { signerName: "s", optional: true }, ""],
  ])("are those %s", (_sentence, source, expected) => {
    const orders = [all, all.toReversed()];
    for (const bundles of orders)
      expect(String(computeTrustAnchors({ path: "p", ...source }, bundles))).toBe(expected);
  });

  it("are waited for where they must be there", () => {
    expect(() => computeTrustAnchors({ path: "p", name: "x" }, all)).toThrow(
      'while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "x" not found',
    );
    expect(() => computeTrustAnchors({ path: "p", signerName: "s" }, all)).toThrow(
      "combination of signerName and labelSelector matched zero ClusterTrustBundles",
    );
  });
});

describe("a key", () => {
  it.each([
    ["RSA3072", "rsa"],
    ["ECDSAP256", "ec"],
    ["ECDSAP384", "ec"],
    ["ECDSAP521", "ec"],
    ["ED25519", "ed25519"],
  ])("of type %s comes with an empty request that it has signed", async (type, expected) => {
    const { privateKey, proof } = await generateCertificateKey(type, "uid");
    const request = new Pkcs10CertificateRequest(proof.pkcs10);
    expect(request.subject).toBe("");
    expect(await request.verify()).toBe(true);
    expect(Buffer.from(request.publicKey.rawData)).toEqual(proof.publicKey);
    const published = createPublicKey(privateKey);
    expect(published.asymmetricKeyType).toBe(expected);
    expect(published.export({ format: "der", type: "spki" })).toEqual(proof.publicKey);
  });

  it("of an unknown type is refused", async () => {
    await expect(generateCertificateKey("DSA", "uid")).rejects.toThrow('unknown key type "DSA"');
  });
});

describe("a pod certificate", () => {
  const START = 1_800_000_000_000;
  const pod = { metadata: { name: "web", namespace: "d", uid: "u" }, spec: {} } as Pod;
  const source = { signerName: "example.com/x", keyType: "ED25519", keyPath: "key" };
  let clock: FakeClock;
  let asked: CertificateRequest[];
  let requests: Map<string, PodCertificateRequest["status"]>;
  let events: string[];
  let isDown: boolean;
  let certificates: PodCertificates;

  beforeEach(() => {
    clock = new FakeClock(START);
    [asked, events, isDown, requests] = [[], [], false, new Map()];
    certificates = new PodCertificates({
      objects: {
        async requestPodCertificate(_pod, request) {
          if (isDown) throw new LongshoreError("ApiUnreachable", "down");
          asked.push(request);
          const name = `req-${asked.length}`;
          requests.set(name, undefined);
          return name;
        },
        findPodCertificateRequest: (namespace, name) =>
          requests.has(name)
            ? ({
                metadata: { namespace, name },
                status: requests.get(name),
              } as PodCertificateRequest)
            : undefined,
      },
      events: {
        record: (_about, type, reason, message) => void events.push(`${type} ${reason} ${message}`),
      },
      clock,
      random: () => 0,
      log: LOG,
    });
  });

  const get = () => certificates.get(pod, "v/0", source, signal);
  const minutes = (count: number) => clock.advance(count * 60_000);
  const at = (minute: number) => new Date(START + minute * 60_000).toISOString();
  const issue = (name: string, chain: string) =>
    requests.set(name, {
      conditions: [{ type: "Issued" }],
      certificateChain: `text\n${chain}`,
      beginRefreshAt: at(60),
      notAfter: at(90),
    });
  const decide = (name: string, type: string) =>
    requests.set(name, { conditions: [{ type, reason: "No", message: 'say "no"' }] });

  it("is asked for once and waited for, and then shown with its key", async () => {
    await expect(get()).rejects.toThrow("credential bundle is not issued yet");
    await expect(get()).rejects.toThrow("credential bundle is not issued yet");
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({ signerName: "example.com/x" });
    issue("req-1", A);
    const { key, chain } = await get();
    expect(String(chain)).toBe(A);
    const published = createPublicKey(String(key)).export({ format: "der", type: "spki" });
    expect(published).toEqual(asked[0]?.proof.publicKey);
    expect(events).toEqual([]);
  });

  it("is renewed with another key from its time on, the old pair being shown until then", async () => {
    await get().catch(() => undefined);
    issue("req-1", A);
    const first = await get();
    await minutes(59);
    expect(await get()).toBe(first);
    expect(asked).toHaveLength(1);
    await minutes(2);
    expect(await get()).toBe(first);
    expect(await get()).toBe(first);
    expect(asked).toHaveLength(2);
    issue("req-2", B);
    const second = await get();
    expect(String(second.chain)).toBe(B);
    expect(String(second.key)).not.toBe(String(first.key));
  });

  it("that is old when it comes is renewed, but not in every turn", async () => {
    await minutes(75);
    await get().catch(() => undefined);
    issue("req-1", A);
    for (let turn = 0; turn < 10; turn++) await get();
    expect(asked).toHaveLength(1);
    await minutes(1);
    for (let turn = 0; turn < 10; turn++) {
      await get();
      issue(`req-${asked.length}`, B);
    }
    expect(asked).toHaveLength(2);
  });

  it("that is not renewed in time stays, and it is told once", async () => {
    await get().catch(() => undefined);
    issue("req-1", A);
    const first = await get();
    isDown = true;
    await minutes(71);
    for (let turn = 0; turn < 3; turn++) expect(await get()).toBe(first);
    await minutes(20);
    for (let turn = 0; turn < 3; turn++) expect(await get()).toBe(first);
    expect(events).toEqual([
      "Warning CertificateOverdueForRefresh PodCertificate refresh overdue",
      "Warning CertificateExpired PodCertificate expired",
    ]);
  });

  it.each([
    ["Denied", "denied", "was denied"],
    ["Failed", "failed", "failed"],
  ])("whose request is %s is refused for good, with one event", async (type, past, verb) => {
    await get().catch(() => undefined);
    decide("req-1", type);
    const why = 'reason="No" message="say \\"no\\""';
    for (let turn = 0; turn < 2; turn++)
      await expect(get()).rejects.toThrow(`PodCertificateRequest was permanently ${past}: ${why}`);
    expect(asked).toHaveLength(1);
    expect(events).toEqual([`Warning ${type} PodCertificateRequest d/req-1 ${verb}, ${why}`]);
  });

  it("whose request somebody deleted is asked for again after ten minutes", async () => {
    await get().catch(() => undefined);
    requests.clear();
    await minutes(9);
    await get().catch(() => undefined);
    expect(asked).toHaveLength(1);
    await minutes(2);
    await get().catch(() => undefined);
    expect(asked).toHaveLength(2);
  });

  it("of a pod that is gone is forgotten", async () => {
    await get().catch(() => undefined);
    certificates.forget("u");
    await get().catch(() => undefined);
    expect(asked).toHaveLength(2);
  });
});

describe("a projected volume", () => {
  const never = (): never => {
    throw new Error("not asked for");
  };
  const files: FileSources = {
    ...{ configMap: never, secret: never, downwardApi: never, token: never },
    trustAnchors: async () => Buffer.from("anchors"),
    podCertificate: async (place) => ({
      key: Buffer.from(`${place} key `),
      chain: Buffer.from("chain"),
    }),
  };
  const collect = async (owner: { user?: number; group?: number }) =>
    Object.fromEntries(
      (
        await collectProjected(
          "v",
          {
            defaultMode: 0o444,
            sources: [
              { clusterTrustBundle: { name: "x", path: "ca" } },
              {
                podCertificate: {
                  ...{ signerName: "s", keyType: "ED25519", credentialBundlePath: "bundle" },
                  ...{ keyPath: "key", certificateChainPath: "chain" },
                },
              },
              { podCertificate: { signerName: "s", keyType: "ED25519", keyPath: "other" } },
            ],
          },
          files,
          owner,
        )
      ).map(([path, { data, mode, uid }]) => [path, [String(data), mode, uid]]),
    );

  it("shows anchors, keys and chains where they are wanted", async () => {
    expect(await collect({})).toEqual({
      ca: ["anchors", 0o444, undefined],
      bundle: ["v/1 key chain", 0o444, undefined],
      key: ["v/1 key ", 0o444, undefined],
      chain: ["chain", 0o444, undefined],
      other: ["v/2 key ", 0o444, undefined],
    });
  });

  it("shows them to the one user of the pod, or its group, alone", async () => {
    expect((await collect({ user: 1000 })).key).toEqual(["v/1 key ", 0o600, 1000]);
    expect((await collect({ group: 2000 })).ca).toEqual(["anchors", 0o600, undefined]);
  });
});
