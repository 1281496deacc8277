/**
 * A certificate request from key to certificate: made for a key, sent as a CertificateSigningRequest, looked at until it
 * is decided. The name of the object follows from key, signer and subject, so that whoever comes back with the same key
 * finds the request again instead of making another. Called by certificate-manager.ts.
 */

import { createPrivateKey, createPublicKey, generateKeyPairSync, webcrypto } from "node:crypto";
import type { ApiClient } from "../api/client.ts";
import { CERTIFICATE_SIGNING_REQUESTS } from "../api/resources.ts";
import type { CertificateSigningRequest } from "../api/types.ts";
import { hasCode } from "../core/errors.ts";
import { canonicalJson, sha256 } from "../core/hash.ts";
import type { Subject } from "./identity.ts";

export interface SigningRequest {
  readonly key: string;
  readonly subject: Subject;
  readonly signerName: string;
  readonly usages: readonly string[];
}

export type Outcome =
  | { readonly kind: "pending" }
  | { readonly kind: "issued"; readonly cert: string }
  /** Denied by somebody, or failed by the signer. */
  | { readonly kind: "refused"; readonly why: string };

/** PEM, SEC 1, ECDSA P-256. */
export function createKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ type: "sec1", format: "pem" }).toString();
}

export function requestName(request: SigningRequest): string {
  const { key, subject, signerName, usages } = request;
  const publicKey = createPublicKey(key).export({ type: "spki", format: "pem" }).toString();
  const digest = sha256(canonicalJson({ publicKey, subject, signerName, usages }));
  return `node-csr-${digest.toString("hex").slice(0, 40)}`;
}

/** Makes the object where it is not there yet, and says what has become of it. */
export async function askForCertificate(
  client: ApiClient,
  request: SigningRequest,
  signal: AbortSignal,
): Promise<Outcome> {
  const name = requestName(request);
  try {
    return outcomeOf(await client.get(CERTIFICATE_SIGNING_REQUESTS, { name }, signal));
  } catch (error) {
    if (!hasCode(error, "ApiNotFound")) throw error;
  }
  const { signerName, usages } = request;
  const body = {
    apiVersion: "certificates.k8s.io/v1",
    kind: "CertificateSigningRequest",
    metadata: { name },
    spec: { request: (await encodeRequest(request)).toString("base64"), signerName, usages },
  };
  try {
    return outcomeOf(await client.create(CERTIFICATE_SIGNING_REQUESTS, undefined, body, signal));
  } catch (error) {
    // An answer that got lost: it is there after all.
    if (hasCode(error, "ApiAlreadyExists")) return { kind: "pending" };
    throw error;
  }
}

export function outcomeOf({ status }: CertificateSigningRequest): Outcome {
  for (const { type, reason, message } of status?.conditions ?? []) {
    if (type !== "Denied" && type !== "Failed") continue;
    const why = [reason, message].filter((words) => words).join(": ");
    return { kind: "refused", why: why === "" ? type : `${type}: ${why}` };
  }
  const certificate = status?.certificate;
  if (!certificate) return { kind: "pending" };
  return { kind: "issued", cert: Buffer.from(certificate, "base64").toString("utf8") };
}

/** PKCS#10 in PEM. */
export async function encodeRequest({ key, subject }: SigningRequest): Promise<Buffer> {
  // Loaded only when a certificate is asked for: the library costs 30 ms and some megabytes.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(webcrypto as Crypto);
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const { subtle } = webcrypto;
  const [pkcs8, spki] = [
    createPrivateKey(key).export({ type: "pkcs8", format: "der" }),
    createPublicKey(key).export({ type: "spki", format: "der" }),
  ];
  const names = [
    ...subject.dnsNames.map((value) => ({ type: "dns" as const, value })),
    ...subject.ips.map((value) => ({ type: "ip" as const, value })),
  ];
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ O: [subject.organization] }, { CN: [subject.commonName] }],
    keys: {
      privateKey: await subtle.importKey("pkcs8", pkcs8, algorithm, false, ["sign"]),
      publicKey: await subtle.importKey("spki", spki, algorithm, true, ["verify"]),
    },
    signingAlgorithm: algorithm,
    ...(names.length === 0
      ? {}
      : { extensions: [new x509.SubjectAlternativeNameExtension(names)] }),
  });
  return Buffer.from(`${request.toString("pem")}\n`);
}
