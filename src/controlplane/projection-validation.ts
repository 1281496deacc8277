/**
 * The sources of a projected volume that upstream's validation judges beyond their shape: tokens, trust bundles and
 * pod certificates. Pure; problems are collected. Called by pod-validation.ts.
 */

import {
  checkEnum,
  checkObject,
  child,
  type Field,
  integerOf,
  invalidValue,
  type Problems,
  required,
  textOf,
} from "./field-errors.ts";

const KEY_TYPES = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const MIN_TOKEN_SECONDS = 600;
const MAX_TOKEN_SECONDS = 2 ** 32;
const MIN_CERTIFICATE_SECONDS = 3600;
const MAX_CERTIFICATE_SECONDS = 91 * 86_400;

export function validateProjection(source: Field, problems: Problems): void {
  validateToken(child(source, "serviceAccountToken"), problems);
  validateTrustBundle(child(source, "clusterTrustBundle"), problems);
  validateCertificate(child(source, "podCertificate"), problems);
}

function isThere(field: Field, problems: Problems): boolean {
  return field.value !== undefined && checkObject(field, problems);
}

function requireText(field: Field, problems: Problems): void {
  if (!textOf(field, problems)) problems.push(required(field));
}

function validateToken(token: Field, problems: Problems): void {
  if (!isThere(token, problems)) return;
  const field = child(token, "expirationSeconds");
  const seconds = integerOf(field, problems) ?? MIN_TOKEN_SECONDS;
  if (seconds < MIN_TOKEN_SECONDS)
    problems.push(invalidValue(field, "may not specify a duration less than 10 minutes"));
  if (seconds > MAX_TOKEN_SECONDS)
    problems.push(invalidValue(field, "may not specify a duration larger than 2^32 seconds"));
  textOf(child(token, "audience"), problems);
  requireText(child(token, "path"), problems);
}

function validateTrustBundle(bundle: Field, problems: Problems): void {
  if (!isThere(bundle, problems)) return;
  const name = textOf(child(bundle, "name"), problems);
  const signer = textOf(child(bundle, "signerName"), problems);
  const report = (why: string) => problems.push(invalidValue({ ...bundle, value: {} }, why));
  if (name !== undefined && signer !== undefined)
    report("only one of name and signerName may be used");
  if (name === undefined && signer === undefined)
    report("either name or signerName must be specified");
  checkObject(child(bundle, "labelSelector"), problems);
  requireText(child(bundle, "path"), problems);
}

function validateCertificate(certificate: Field, problems: Problems): void {
  if (!isThere(certificate, problems)) return;
  requireText(child(certificate, "signerName"), problems);
  const keyType = child(certificate, "keyType");
  if (keyType.value === undefined) problems.push(required(keyType));
  else checkEnum(keyType, KEY_TYPES, problems);
  const field = child(certificate, "maxExpirationSeconds");
  const seconds = integerOf(field, problems) ?? MIN_CERTIFICATE_SECONDS;
  if (seconds < MIN_CERTIFICATE_SECONDS || seconds > MAX_CERTIFICATE_SECONDS)
    problems.push(invalidValue(field, "must be between 3600 and 7862400, inclusive"));
  const paths = ["credentialBundlePath", "keyPath", "certificateChainPath"];
  if (paths.every((name) => !textOf(child(certificate, name), problems)))
    problems.push(required(certificate, `specify at least one of ${paths.join(", ")}`));
}
