/**
 * What is in the PKCS#10 request of a CertificateSigningRequest, and which requests the well-known signers take
 * (k8s.io/kubernetes/pkg/apis/certificates: ParseCSR, ValidateKubeletServingCSR, ValidateKubeletClientCSR). Pure.
 * Called by validation, admission, NodeRestriction and the certificate controller.
 */

import "reflect-metadata";
import { createPublicKey, verify } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { type KubeObject, listAt, textAt } from "./objects.ts";

export const KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet";
export const KUBELET_SERVING = "kubernetes.io/kubelet-serving";
export const API_CLIENT = "kubernetes.io/kube-apiserver-client";

export interface CertificateRequest {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ips: readonly string[];
  /** E-mail addresses, URIs and whatever else names may be. */
  readonly otherNames: readonly string[];
  readonly subject: x509.Name;
  /** DER, SubjectPublicKeyInfo. */
  readonly publicKey: ArrayBuffer;
}

/** @param encoded `spec.request`: base64 of PEM. Throws an Error that says what is wrong with it. */
export function parseCertificateRequest(encoded: string): CertificateRequest {
  const pem = Buffer.from(encoded, "base64").toString("latin1");
  const block = /^-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----\s([\sA-Za-z0-9+/=]+)-----END/m;
  const body = block.exec(pem)?.[1];
  if (body === undefined) throw new Error("PEM block type must be CERTIFICATE REQUEST");
  const der = Buffer.from(body, "base64");
  const request = new x509.Pkcs10CertificateRequest(der);
  if (!isSignedByItsKey(der, request)) throw new Error("x509: the signature is not of its key");
  checkSubject(Buffer.from(request.subjectName.toArrayBuffer()));
  const names = request.extensions
    .filter((it) => it instanceof x509.SubjectAlternativeNameExtension)
    .flatMap((it) => it.names.items);
  const valuesOf = (type: string): readonly string[] =>
    names.filter((it) => it.type === type).map(({ value }) => value);
  return {
    commonName: request.subjectName.getField("CN").at(-1) ?? "",
    organizations: request.subjectName.getField("O"),
    dnsNames: valuesOf("dns"),
    ips: valuesOf("ip"),
    otherNames: names.filter(({ type }) => type !== "dns" && type !== "ip").map((it) => it.value),
    subject: request.subjectName,
    publicKey: request.publicKey.rawData,
  };
}

/** That of a stored request, which was valid when it came. */
export function certificateRequestOf(object: KubeObject): CertificateRequest {
  return parseCertificateRequest(textAt(object, "spec", "request"));
}

function isSignedByItsKey(der: Buffer, request: x509.Pkcs10CertificateRequest): boolean {
  const key = createPublicKey({
    key: Buffer.from(request.publicKey.rawData),
    format: "der",
    type: "spki",
  });
  const hash = request.signatureAlgorithm.hash as { readonly name?: string } | undefined;
  return verify(hash?.name, firstElement(der), key, Buffer.from(request.signature));
}

/** The tags of UTF8String, PrintableString and IA5String. */
const TEXT_TAGS = [0x0c, 0x13, 0x16];

/** Throws for a value of another type: we might read it otherwise than whoever reads the certificate. */
function checkSubject(der: Buffer): void {
  const attributes = elementsOf(der).flatMap(elementsOf);
  const values = attributes.map((attribute) => elementsOf(attribute)[1]);
  if (values.every((value) => TEXT_TAGS.includes(value?.[0] ?? 0))) return;
  throw new Error("x509: the subject holds what is no UTF8String, PrintableString or IA5String");
}

function elementsOf(der: Buffer): readonly Buffer[] {
  const elements: Buffer[] = [];
  const { start, end } = extentOf(der, 0);
  for (let from = start; from < end; from = extentOf(der, from).end)
    elements.push(der.subarray(from, extentOf(der, from).end));
  return elements;
}

/** The first element of a DER sequence, with its head: the part of a request that is signed. */
function firstElement(der: Buffer): Buffer {
  const { start } = extentOf(der, 0);
  return der.subarray(start, extentOf(der, start).end);
}

function extentOf(der: Buffer, at: number): { readonly start: number; readonly end: number } {
  const first = der.readUInt8(at + 1);
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const start = at + 2 + lengthBytes;
  const length = lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes);
  return { start, end: start + length };
}

/** Why the signer does not take the request, or undefined. Of a signer that is not one of ours: nothing. */
export function signerRefusal(object: KubeObject): string | undefined {
  const request = certificateRequestOf(object);
  const usages = listAt(object, "spec", "usages").map(String);
  switch (textAt(object, "spec", "signerName")) {
    case KUBELET_CLIENT:
      return kubeletClientRefusal(request, usages);
    case KUBELET_SERVING:
      return kubeletServingRefusal(request, usages);
    case API_CLIENT:
      return usages.includes("client auth") && usages.every((it) => CLIENT_USAGES.includes(it))
        ? undefined
        : `invalid usages for client certificate, must include "client auth" and may include "digital signature" and "key encipherment"`;
    default:
      return undefined;
  }
}

const CLIENT_USAGES = ["digital signature", "key encipherment", "client auth"];

function kubeletClientRefusal(
  request: CertificateRequest,
  usages: readonly string[],
): string | undefined {
  const { dnsNames, ips, otherNames } = request;
  if ([...dnsNames, ...ips, ...otherNames].length > 0)
    return "DNS, IP, email and URI subjectAltNames are not allowed";
  return nodeRefusal(request, usages, "client auth");
}

function kubeletServingRefusal(
  request: CertificateRequest,
  usages: readonly string[],
): string | undefined {
  const { dnsNames, ips, otherNames } = request;
  if (otherNames.length > 0) return "Email and URI subjectAltNames are not allowed";
  if (dnsNames.length + ips.length === 0)
    return "DNS or IP subjectAltName is required (at least one)";
  return nodeRefusal(request, usages, "server auth");
}

function nodeRefusal(
  request: CertificateRequest,
  usages: readonly string[],
  purpose: string,
): string | undefined {
  const { organizations, commonName } = request;
  if (organizations.length !== 1 || organizations[0] !== "system:nodes")
    return "subject organization is not system:nodes";
  if (!commonName.startsWith("system:node:"))
    return "subject common name does not begin with system:node:";
  const others = usages.filter((it) => it !== "key encipherment").sort();
  return String(others) === String(["digital signature", purpose].sort())
    ? undefined
    : `usages did not match those of ${purpose === "client auth" ? "kubelet client" : "kubelet serving"} certificates`;
}
