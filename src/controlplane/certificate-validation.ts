/**
 * Which CertificateSigningRequests are stored (pkg/apis/certificates/validation), and which changes of their status.
 * Pure; called by validation.ts.
 */

import { X509Certificate } from "node:crypto";
import { messageOf } from "../core/errors.ts";
import { parseCertificateRequest } from "./certificate-request.ts";
import {
  checkEnum,
  checkUnique,
  child,
  type Field,
  forbiddenField,
  integerOf,
  invalidValue,
  itemsOf,
  objectsOf,
  type Problems,
  required,
  textOf,
} from "./field-errors.ts";
import { type KubeObject, listAt, textAt } from "./objects.ts";

const MIN_EXPIRATION_SECONDS = 600;
const USAGES =
  "any,cert sign,client auth,code signing,content commitment,crl sign,data encipherment,decipher only,digital signature,email protection,encipher only,ipsec end system,ipsec tunnel,ipsec user,key agreement,key encipherment,microsoft sgc,netscape sgc,ocsp signing,s/mime,server auth,signing,timestamping".split(
    ",",
  );
const SIGNER_NAME =
  /^(?=.{1,571}$)[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/[a-zA-Z0-9]([a-zA-Z0-9_.-]*[a-zA-Z0-9])?$/;
/** Conditions that stay once they are there, and are never anything but True. */
const FINAL = ["Approved", "Denied", "Failed"];

export function validateSigningRequest(root: Field, problems: Problems): void {
  const spec = child(root, "spec");
  validateRequest(child(spec, "request"), problems);
  const usages = child(spec, "usages");
  const given = itemsOf(usages, problems);
  if (given.length === 0) problems.push(required(usages));
  for (const usage of given) checkEnum(usage, USAGES, problems);
  checkUnique(given, problems);
  const signer = child(spec, "signerName");
  const name = textOf(signer, problems);
  if (!name) problems.push(required(signer));
  else if (!SIGNER_NAME.test(name))
    problems.push(
      invalidValue(
        signer,
        "must be a fully qualified domain and path of the form 'example.com/signer-name'",
      ),
    );
  const expiration = child(spec, "expirationSeconds");
  const seconds = integerOf(expiration, problems) ?? MIN_EXPIRATION_SECONDS;
  if (seconds < MIN_EXPIRATION_SECONDS)
    problems.push(
      invalidValue(expiration, "may not specify a duration less than 600 seconds (10 minutes)"),
    );
  validateConditions(root, problems);
}

function validateRequest(field: Field, problems: Problems): void {
  const text = textOf(field, problems);
  if (!text) return void problems.push(required(field));
  try {
    parseCertificateRequest(text);
  } catch (error) {
    problems.push(invalidValue(field, messageOf(error)));
  }
}

function validateConditions(root: Field, problems: Problems): void {
  const conditions = child(child(root, "status"), "conditions");
  const given = objectsOf(conditions, problems);
  const types = given.map((it) => child(it, "type"));
  checkUnique(types, problems);
  for (const [index, condition] of given.entries()) {
    const type = types[index] as Field;
    const name = textOf(type, problems);
    if (!name) problems.push(required(type));
    const status = child(condition, "status");
    if (!textOf(status, problems)) problems.push(required(status));
    else if (FINAL.includes(name ?? "") && status.value !== "True")
      problems.push(invalidValue(status, `must be True for ${name} conditions`));
  }
  const present = types.map(({ value }) => value);
  if (present.includes("Approved") && present.includes("Denied"))
    problems.push(
      invalidValue(conditions, "Approved and Denied conditions are mutually exclusive"),
    );
}

/** Of a write to `status` or `approval`. */
export function validateSigningRequestStatus(
  object: KubeObject,
  old: KubeObject,
  problems: Problems,
): void {
  const root = { path: "", value: object };
  validateConditions(root, problems);
  const types = conditionTypes(object);
  for (const type of conditionTypes(old)) {
    if (!FINAL.includes(type) || types.includes(type)) continue;
    const field = { path: "status.conditions", value: undefined };
    problems.push(forbiddenField(field, `updates may not remove a condition of type "${type}"`));
  }
  const certificate = child(child(root, "status"), "certificate");
  const pem = textOf(certificate, problems) ?? "";
  const before = textAt(old, "status", "certificate");
  if (pem === before) return;
  if (before !== "")
    problems.push(
      forbiddenField(certificate, "updates may not modify existing certificate content"),
    );
  else if (!isCertificate(pem))
    problems.push(invalidValue({ ...certificate, value: "" }, "must be PEM of a certificate"));
}

function conditionTypes(object: KubeObject): readonly string[] {
  return listAt(object, "status", "conditions").map((it) => textAt(it, "type"));
}

function isCertificate(encoded: string): boolean {
  const pem = Buffer.from(encoded, "base64").toString("latin1");
  const blocks = pem.match(/-----BEGIN [^-]*-----/g) ?? [];
  if (blocks.length === 0 || blocks.some((it) => it !== "-----BEGIN CERTIFICATE-----"))
    return false;
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
