/**
 * Signs what a CertificateSigningRequest asks for with the control plane's authority: subject and names as requested,
 * the usages of its spec, for as long as it asks but no longer than allowed. Judges nothing: the certificate controller
 * has done so. Called by it only.
 */

import "reflect-metadata";
import { randomBytes } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { certificateRequestOf } from "./certificate-request.ts";
import { type KubeObject, listAt } from "./objects.ts";
import { ALGORITHM, importKey, type KeyPair } from "./pki.ts";
import { numberAt } from "./table-view.ts";

/** kube-controller-manager's least validity, and how far a certificate reaches back for clocks that are behind. */
const MIN_MS = 600_000;
const BACKDATE_MS = 300_000;

/** PEM. `maxMs` is --cluster-signing-duration. */
export async function signRequest(
  object: KubeObject,
  ca: KeyPair,
  nowMs: number,
  maxMs: number,
): Promise<string> {
  const { subject, dnsNames, ips, publicKey } = certificateRequestOf(object);
  const authority = new x509.X509Certificate(ca.cert);
  const key = new x509.PublicKey(publicKey);
  const usages = listAt(object, "spec", "usages").map(String);
  // What a name is stays what the request said: a DNS name may look like an address.
  const names = [
    ...dnsNames.map((name) => new x509.GeneralName("dns", name)),
    ...ips.map((ip) => new x509.GeneralName("ip", ip)),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(16).toString("hex"),
    subject,
    issuer: authority.subject,
    ...validityOf(numberAt(object, "spec", "expirationSeconds") * 1000, nowMs, maxMs, authority),
    publicKey: key,
    signingKey: await importKey(ca.key),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(keyUsagesOf(usages), true),
      new x509.ExtendedKeyUsageExtension(
        EXTENDED.filter(([name]) => usages.includes(name)).map(([, id]) => id),
      ),
      await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
    ],
  });
  return `${certificate.toString("pem")}\n`;
}

const EXTENDED = [
  ["client auth", x509.ExtendedKeyUsage.clientAuth],
  ["server auth", x509.ExtendedKeyUsage.serverAuth],
] as const;

function keyUsagesOf(usages: readonly string[]): number {
  const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags;
  return usages.includes("key encipherment")
    ? digitalSignature | keyEncipherment
    : digitalSignature;
}

/** A short life reaches back less, or its holder would renew it as soon as it has it. */
function validityOf(
  askedMs: number,
  nowMs: number,
  maxMs: number,
  authority: x509.X509Certificate,
): { readonly notBefore: Date; readonly notAfter: Date } {
  const lifeMs = askedMs === 0 ? maxMs : Math.min(Math.max(askedMs, MIN_MS), maxMs);
  const end = Math.min(nowMs + lifeMs, authority.notAfter.getTime());
  return {
    notBefore: new Date(nowMs - Math.min(BACKDATE_MS, lifeMs / 10)),
    notAfter: new Date(end),
  };
}
