/**
 * Refuses objects that upstream's validation refuses, with one 422 that lists every problem, in its words. Pure, and
 * throws nothing but a StatusError whatever JSON it is given. Called by rest.ts after defaulting and admission.
 */

import { isDeepStrictEqual } from "node:util";
import { validateSigningRequest, validateSigningRequestStatus } from "./certificate-validation.ts";
import { PROTOCOLS, quantities } from "./container-validation.ts";
import {
  checkEnum,
  checkObject,
  child,
  entriesOf,
  type Field,
  forbiddenField,
  invalidValue,
  objectsOf,
  type Problems,
  refuse,
  required,
  textOf,
  tooLong,
} from "./field-errors.ts";
import { validateMetadata } from "./metadata-validation.ts";
import { at, type KubeObject, listAt } from "./objects.ts";
import {
  validateEphemeralUpdate,
  validatePodUpdate,
  validateStateTransitions,
} from "./pod-update-validation.ts";
import { validatePod } from "./pod-validation.ts";
import {
  CERTIFICATE_SIGNING_REQUESTS,
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  NODES,
  PODS,
  type ResourceType,
  SECRETS,
  SERVICES,
} from "./registry.ts";
import { validatePodResize } from "./resize-validation.ts";
import { validateService, validateServiceUpdate } from "./service-validation.ts";

/** Most bytes of the values of a Secret or ConfigMap. */
const MAX_DATA = 1024 * 1024;
const KEY_RULE =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
/** Together with a length that is a multiple of four. */
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

const VALIDATORS: ReadonlyMap<ResourceType, (root: Field, problems: Problems) => void> = new Map([
  [PODS, (root, problems) => validatePod(child(root, "spec"), problems)],
  [SERVICES, (root, problems) => validateService(child(root, "spec"), problems)],
  [SECRETS, validateSecret],
  [CONFIG_MAPS, validateConfigMap],
  [NODES, validateNode],
  [ENDPOINT_SLICES, validateSlice],
  [CERTIFICATE_SIGNING_REQUESTS, validateSigningRequest],
]);

/** Throws 422 unless a defaulted, admitted object with its final name may be created. */
export function validateCreate(type: ResourceType, object: KubeObject): void {
  const problems: Problems = [];
  validateMetadata(type, object, problems);
  validateKind(type, object, problems);
  if (type === PODS && listAt(object, "spec", "ephemeralContainers").length > 0) {
    const field = { path: "spec.ephemeralContainers", value: undefined };
    problems.push(forbiddenField(field, "cannot be set on create"));
  }
  refuse(type, object, problems);
}

/**
 * Throws 422 unless `object` may replace `old`. For a subresource ("status", "binding"…) only identity, metadata and
 * what it may change are checked: the caller takes nothing else from it.
 */
export function validateUpdate(
  type: ResourceType,
  object: KubeObject,
  old: KubeObject,
  subresource?: string,
): void {
  const problems: Problems = [];
  validateMetadata(type, object, problems);
  validateIdentity(object, old, problems);
  if (subresource === undefined) {
    validateKind(type, object, problems);
    validateChange(type, object, old, problems);
  } else if (subresource === "ephemeralcontainers") {
    validateKind(type, object, problems);
    validateEphemeralUpdate(object, old, problems);
  } else if (subresource === "resize") {
    validateKind(type, object, problems);
    validatePodResize(object, old, problems);
  } else if (type === CERTIFICATE_SIGNING_REQUESTS) {
    validateSigningRequestStatus(object, old, problems);
  } else {
    validateStatus({ path: "", value: object }, problems);
    if (type === PODS) validateStateTransitions(object, old, problems);
  }
  refuse(type, object, problems);
}

function validateIdentity(object: KubeObject, old: KubeObject, problems: Problems): void {
  for (const name of ["name", "namespace", "uid"]) {
    const path = `metadata.${name}`;
    const before = at(old, "metadata", name);
    const value = at(object, "metadata", name) ?? (name === "uid" ? before : undefined);
    if (value === before) continue;
    problems.push(invalidValue({ path, value }, "field is immutable"));
  }
}

function validateKind(type: ResourceType, object: KubeObject, problems: Problems): void {
  const root: Field = { path: "", value: object };
  const validate = VALIDATORS.get(type);
  if (validate !== undefined) validate(root, problems);
  else for (const name of ["spec", "status"]) checkObject(child(root, name), problems);
}

function validateChange(
  type: ResourceType,
  object: KubeObject,
  old: KubeObject,
  problems: Problems,
): void {
  if (type === PODS) validatePodUpdate(object, old, problems);
  if (type === SERVICES) validateServiceUpdate(object, old, problems);
  if (type === SECRETS) validateSecretType(object, old, problems);
  if (type === SECRETS || type === CONFIG_MAPS) validateImmutable(object, old, problems);
}

function validateStatus(root: Field, problems: Problems): void {
  const status = child(root, "status");
  if (!checkObject(status, problems)) return;
  for (const condition of objectsOf(child(status, "conditions"), problems)) {
    for (const name of ["type", "status"]) {
      const field = child(condition, name);
      if (!textOf(field, problems)) problems.push(required(field));
    }
  }
}

function validateConfigMap(root: Field, problems: Problems): void {
  const data = entriesOf(child(root, "data"), problems);
  const binary = entriesOf(child(root, "binaryData"), problems);
  const keys = new Set(data.map(({ key }) => key));
  for (const entry of data) {
    checkKey(entry, problems);
    textOf(entry, problems);
  }
  for (const entry of binary) {
    checkKey(entry, problems);
    checkBase64(entry, problems);
    const field = { path: "binaryData", value: entry.key };
    if (keys.has(entry.key)) problems.push(invalidValue(field, "duplicate of key present in data"));
  }
  checkSize([...data, ...binary], { path: "", value: undefined }, problems);
}

function validateSecret(root: Field, problems: Problems): void {
  const stringData = child(root, "stringData");
  // Defaulting moves stringData into data; what is still here could not be moved.
  for (const entry of entriesOf(stringData, problems)) textOf(entry, problems);
  textOf(child(root, "type"), problems);
  const data = entriesOf(child(root, "data"), problems);
  for (const entry of data) {
    checkKey(entry, problems);
    checkBase64(entry, problems);
  }
  checkSize(data, { path: "data", value: undefined }, problems);
}

function checkKey(entry: Field & { readonly key: string }, problems: Problems): void {
  const field = { path: entry.path, value: entry.key };
  if (entry.key.length > 253)
    problems.push(invalidValue(field, "must be no more than 253 characters"));
  if (!/^[-._a-zA-Z0-9]+$/.test(entry.key)) problems.push(invalidValue(field, KEY_RULE));
  else if (entry.key === "." || entry.key.startsWith(".."))
    problems.push(
      invalidValue(field, entry.key === "." ? "must not be '.'" : "must not start with '..'"),
    );
}

function checkBase64(entry: Field, problems: Problems): void {
  const text = textOf(entry, problems);
  if (text === undefined || (text.length % 4 === 0 && BASE64.test(text))) return;
  // The value is not shown: it may be a secret that somebody forgot to encode.
  problems.push(invalidValue({ path: entry.path, value: "" }, "illegal base64 data"));
}

function checkSize(entries: readonly Field[], field: Field, problems: Problems): void {
  const sizes = entries.map(({ value }) => (typeof value === "string" ? value.length : 0));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  // In characters, which is never more than bytes; base64 is a third longer than what it holds.
  if (total > (MAX_DATA * 4) / 3) problems.push(tooLong(field, MAX_DATA));
}

function validateNode(root: Field, problems: Problems): void {
  checkObject(child(root, "spec"), problems);
  validateStatus(root, problems);
  for (const taint of objectsOf(child(child(root, "spec"), "taints"), problems)) {
    if (!textOf(child(taint, "key"), problems)) problems.push(required(child(taint, "key")));
    const effects = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
    checkEnum(child(taint, "effect"), effects, problems);
  }
  for (const map of ["capacity", "allocatable"])
    quantities(child(child(root, "status"), map), problems);
}

function validateSlice(root: Field, problems: Problems): void {
  const addressType = child(root, "addressType");
  if (!addressType.value) problems.push(required(addressType));
  else checkEnum(addressType, ["FQDN", "IPv4", "IPv6"], problems);
  for (const port of objectsOf(child(root, "ports"), problems))
    checkEnum(child(port, "protocol"), PROTOCOLS, problems);
  for (const endpoint of objectsOf(child(root, "endpoints"), problems)) {
    const addresses = child(endpoint, "addresses");
    if (!Array.isArray(addresses.value) || addresses.value.length === 0)
      problems.push(required(addresses, "must contain at least 1 address"));
  }
}

function validateSecretType(object: KubeObject, old: KubeObject, problems: Problems): void {
  if (object.type === old.type) return;
  problems.push(invalidValue({ path: "type", value: object.type }, "field is immutable"));
}

function validateImmutable(object: KubeObject, old: KubeObject, problems: Problems): void {
  if (old.immutable !== true) return;
  const rule = "field is immutable when `immutable` is set";
  for (const name of ["immutable", "data", "binaryData"]) {
    if (isDeepStrictEqual(object[name], old[name])) continue;
    problems.push(forbiddenField({ path: name, value: object[name] }, rule));
  }
}
