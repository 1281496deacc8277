/** A certificate with its key, and what the rotation asks of it. Pure. Used by the other files of this folder. */

import { createPrivateKey, X509Certificate } from "node:crypto";

export interface Identity {
  /** PEM; the certificate, with what it is signed by where that came too. */
  readonly cert: string;
  /** PEM. Secret. */
  readonly key: string;
  readonly certificate: X509Certificate;
  /** Milliseconds of the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Whom a certificate is asked for. */
export interface Subject {
  readonly commonName: string;
  readonly organization: string;
  readonly dnsNames: readonly string[];
  readonly ips: readonly string[];
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]+?-----END \1-----\n?/g;

/** Of PEM text that holds both, in any order; undefined when it holds no pair. */
export function parseIdentity(pem: string): Identity | undefined {
  const blocks = [...pem.matchAll(BLOCK)].map(([text, label = ""]) => ({ text, label }));
  const textOf = (wanted: RegExp): string =>
    blocks
      .filter(({ label }) => wanted.test(label))
      .map(({ text }) => (text.endsWith("\n") ? text : `${text}\n`))
      .join("");
  return identityOf(textOf(/^CERTIFICATE$/), textOf(/PRIVATE KEY$/));
}

/** undefined when they are no pair: absent, half written, of different rotations. */
export function identityOf(cert: string, key: string): Identity | undefined {
  try {
    const certificate = new X509Certificate(cert);
    if (!certificate.checkPrivateKey(createPrivateKey(key))) return undefined;
    const [notBefore, notAfter] = [certificate.validFromDate, certificate.validToDate];
    return {
      ...{ cert, key, certificate },
      ...{ notBefore: notBefore.getTime(), notAfter: notAfter.getTime() },
    };
  } catch {
    return undefined;
  }
}

/** Whether the certificate has the name, the organization and at least the addresses of the subject. */
export function isFor({ certificate }: Identity, subject: Subject): boolean {
  // Not toLegacyObject: where node:tls is not loaded yet it leaves that without createSecureContext.
  const about = certificate.subject.split("\n");
  const names = certificate.subjectAltName?.split(", ") ?? [];
  return (
    about.includes(`CN=${subject.commonName}`) &&
    about.includes(`O=${subject.organization}`) &&
    subject.dnsNames.every((name) => names.includes(`DNS:${name}`)) &&
    subject.ips.every((ip) => certificate.checkIP(ip) !== undefined)
  );
}

/** The one that lasts longer. */
export function laterOf(one: Identity | undefined, other: Identity | undefined) {
  if (one === undefined || other === undefined) return one ?? other;
  return one.notAfter >= other.notAfter ? one : other;
}

/**
 * When a successor is to be asked for, in milliseconds of the epoch; in the past = now. `fraction` of the life is in
 * [0.7, 0.9), as the kubelet draws it; a certificate that was old when it came counts from then.
 */
export function renewalTime(
  identity: Identity | undefined,
  subject: Subject,
  plan: { readonly rotates: boolean; readonly fraction: number; readonly receivedAt: number },
): number {
  if (identity === undefined || !isFor(identity, subject)) return Number.NEGATIVE_INFINITY;
  const { notBefore, notAfter } = identity;
  if (!plan.rotates) return notAfter;
  const start = Math.max(notBefore, plan.receivedAt);
  return start + (notAfter - start) * plan.fraction;
}
