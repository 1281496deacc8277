/**
 * Names, labels, annotations, finalizers and owners: what every object must get right, in the words of upstream's
 * apimachinery validation. Pure; problems are collected. Called by validation.ts and, for names inside specs, by the
 * validators of the kinds.
 */

import {
  child,
  entriesOf,
  type Field,
  forbiddenField,
  integerOf,
  invalidValue,
  itemsOf,
  objectsOf,
  type Problems,
  required,
  textOf,
  tooLong,
} from "./field-errors.ts";
import { isObject, type KubeObject } from "./objects.ts";
import { CLUSTER_TRUST_BUNDLES, NAMESPACES, type ResourceType, SERVICES } from "./registry.ts";

interface Format {
  readonly form: RegExp;
  readonly limit: number;
  readonly message: string;
}

const LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

export const DNS_LABEL: Format = {
  form: new RegExp(`^${LABEL}$`),
  limit: 63,
  message: `a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '${LABEL}')`,
};

export const DNS_SUBDOMAIN: Format = {
  form: new RegExp(`^${LABEL}(\\.${LABEL})*$`),
  limit: 253,
  message: `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${LABEL}(\\.${LABEL})*')`,
};

const DNS_1035_LABEL: Format = {
  form: /^[a-z]([-a-z0-9]*[a-z0-9])?$/,
  limit: 63,
  message:
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
};

/** Of a ClusterTrustBundle: `signer:path:name`, the slashes of the signer's name being colons. */
const BUNDLE_NAME: Format = {
  ...DNS_SUBDOMAIN,
  form: new RegExp(`^${LABEL}(\\.${LABEL})*(:${LABEL}(\\.${LABEL})*)*$`),
};

const QUALIFIED_NAME: Format = {
  form: new RegExp(`^${QUALIFIED}$`),
  limit: 63,
  message: `name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '${QUALIFIED}')`,
};

const LABEL_VALUE: Format = {
  form: new RegExp(`^(${QUALIFIED})?$`),
  limit: 63,
  message: `a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(${QUALIFIED})?')`,
};

const MAX_ANNOTATIONS = 256 * 1024;

export function validateMetadata(type: ResourceType, object: KubeObject, problems: Problems): void {
  const metadata: Field = { path: "metadata", value: object.metadata };
  if (!isObject(metadata.value)) {
    problems.push(required(metadata));
    return;
  }
  const name = child(metadata, "name");
  const generateName = textOf(child(metadata, "generateName"), problems);
  if (name.value === undefined || name.value === "") {
    if (generateName === undefined)
      problems.push(required(name, "name or generateName is required"));
    else problems.push(required(name));
  } else checkFormat(name, nameFormat(type), problems);
  validateNamespace(type, child(metadata, "namespace"), problems);
  validateLabels(child(metadata, "labels"), problems);
  validateAnnotations(child(metadata, "annotations"), problems);
  for (const finalizer of itemsOf(child(metadata, "finalizers"), problems))
    checkQualifiedName(finalizer, problems);
  validateOwners(child(metadata, "ownerReferences"), problems);
  textOf(child(metadata, "deletionTimestamp"), problems);
  integerOf(child(metadata, "deletionGracePeriodSeconds"), problems);
}

function nameFormat(type: ResourceType): Format {
  if (type === NAMESPACES) return DNS_LABEL;
  if (type === CLUSTER_TRUST_BUNDLES) return BUNDLE_NAME;
  return type === SERVICES ? DNS_1035_LABEL : DNS_SUBDOMAIN;
}

function validateNamespace(type: ResourceType, namespace: Field, problems: Problems): void {
  if (type.namespaced) {
    if (namespace.value === undefined) problems.push(required(namespace));
    else checkFormat(namespace, DNS_LABEL, problems);
    return;
  }
  if (namespace.value !== undefined && namespace.value !== "")
    problems.push(forbiddenField(namespace, "not allowed on this type"));
}

/** Reports a text that does not have the format; absent texts pass. */
export function checkFormat(field: Field, format: Format, problems: Problems): void {
  const text = textOf(field, problems);
  if (text === undefined) return;
  if (text.length > format.limit)
    problems.push(invalidValue(field, `must be no more than ${format.limit} characters`));
  else if (!format.form.test(text)) problems.push(invalidValue(field, format.message));
}

/** Labels: keys and values. Upstream names the map, not the key, in the path. */
export function validateLabels(labels: Field, problems: Problems): void {
  for (const { key, value } of entriesOf(labels, problems)) {
    checkQualifiedName({ path: labels.path, value: key }, problems);
    const field = { path: labels.path, value };
    if (value === undefined) continue;
    checkFormat(field, LABEL_VALUE, problems);
  }
}

function validateAnnotations(annotations: Field, problems: Problems): void {
  let size = 0;
  for (const { key, value } of entriesOf(annotations, problems)) {
    checkQualifiedName({ path: annotations.path, value: key.toLowerCase() }, problems);
    const text = textOf({ path: annotations.path, value }, problems) ?? "";
    size += Buffer.byteLength(key) + Buffer.byteLength(text);
  }
  if (size > MAX_ANNOTATIONS) problems.push(tooLong(annotations, MAX_ANNOTATIONS));
}

/** `[prefix/]name` of labels, annotations, finalizers and conditions. */
export function checkQualifiedName(field: Field, problems: Problems): void {
  const text = textOf(field, problems);
  if (text === undefined) return;
  const parts = text.split("/");
  const name = parts.at(-1) ?? "";
  const prefix = parts.length === 2 ? (parts[0] ?? "") : undefined;
  const report = (detail: string) => problems.push(invalidValue(field, detail));
  if (parts.length > 2)
    report(`a qualified name ${QUALIFIED_NAME.message.slice("name part ".length)}`);
  if (prefix === "") report("prefix part must be non-empty");
  else if (prefix !== undefined && !DNS_SUBDOMAIN.form.test(prefix))
    report(`prefix part ${DNS_SUBDOMAIN.message}`);
  if (name === "") report("name part must be non-empty");
  else if (name.length > QUALIFIED_NAME.limit)
    report(`name part must be no more than ${QUALIFIED_NAME.limit} characters`);
  if (!QUALIFIED_NAME.form.test(name)) report(QUALIFIED_NAME.message);
}

function validateOwners(owners: Field, problems: Problems): void {
  for (const owner of objectsOf(owners, problems)) {
    for (const name of ["apiVersion", "kind", "name", "uid"]) {
      const field = child(owner, name);
      const text = textOf(field, problems);
      if (text === undefined || text === "") problems.push(required(field, "must not be empty"));
    }
  }
}
