/**
 * Field errors as upstream's validation words them, and reads of unknown JSON that report a wrong type instead of
 * throwing. Problems are collected in a list that `refuse` turns into one 422. Called by the validators only.
 */

import { isObject, type KubeObject } from "./objects.ts";
import type { ResourceType } from "./registry.ts";
import { invalid, type StatusCause } from "./status-error.ts";

export type Problems = StatusCause[];

/** A value and where it stands, e.g. `spec.containers[0].image`. */
export interface Field {
  readonly path: string;
  readonly value: unknown;
}

export function child(parent: Field, name: string): Field {
  const { value } = parent;
  const found = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  return { path: parent.path === "" ? name : `${parent.path}.${name}`, value: found ?? undefined };
}

export function required(field: Field, detail = ""): StatusCause {
  const message = detail === "" ? "Required value" : `Required value: ${detail}`;
  return { reason: "FieldValueRequired", message, field: field.path };
}

export function invalidValue(field: Field, detail: string): StatusCause {
  const message = `Invalid value: ${show(field.value)}: ${detail}`;
  return { reason: "FieldValueInvalid", message, field: field.path };
}

export function unsupported(field: Field, supported: readonly string[]): StatusCause {
  const list = supported.map((value) => JSON.stringify(value)).join(", ");
  const message = `Unsupported value: ${show(field.value)}: supported values: ${list}`;
  return { reason: "FieldValueNotSupported", message, field: field.path };
}

export function duplicate(field: Field): StatusCause {
  const message = `Duplicate value: ${show(field.value)}`;
  return { reason: "FieldValueDuplicate", message, field: field.path };
}

export function notFoundValue(field: Field): StatusCause {
  const message = `Not found: ${show(field.value)}`;
  return { reason: "FieldValueNotFound", message, field: field.path };
}

export function forbiddenField(field: Field, detail: string): StatusCause {
  return { reason: "FieldValueForbidden", message: `Forbidden: ${detail}`, field: field.path };
}

export function tooLong(field: Field, limit: number): StatusCause {
  const message = `Too long: may not be more than ${limit} bytes`;
  return { reason: "FieldValueTooLong", message, field: field.path };
}

export function tooMany(field: Field, count: number, limit: number): StatusCause {
  const message = `Too many: ${count}: must have at most ${limit} items`;
  return { reason: "FieldValueTooMany", message, field: field.path };
}

function wrongType(field: Field, wanted: string): StatusCause {
  const message = `Invalid value: ${show(field.value)}: must be of type ${wanted}`;
  return { reason: "FieldValueTypeInvalid", message, field: field.path };
}

function show(value: unknown): string {
  if (value === undefined) return '""';
  // Upstream prints Go structures here; nobody reads them, and they may hold secrets.
  return value !== null && typeof value === "object" ? "{}" : JSON.stringify(value);
}

/** The text, or undefined when absent or of another type, which is reported. */
export function textOf(field: Field, problems: Problems): string | undefined {
  if (field.value === undefined || typeof field.value === "string") return field.value;
  problems.push(wrongType(field, "string"));
  return undefined;
}

/** The whole number, or undefined when absent or not one, which is reported. */
export function integerOf(field: Field, problems: Problems): number | undefined {
  if (field.value === undefined) return undefined;
  if (typeof field.value === "number" && Number.isSafeInteger(field.value)) return field.value;
  problems.push(wrongType(field, "integer"));
  return undefined;
}

export function checkBoolean(field: Field, problems: Problems): void {
  if (field.value === undefined || typeof field.value === "boolean") return;
  problems.push(wrongType(field, "boolean"));
}

/** The items of a list; none when absent or not a list, which is reported. */
export function itemsOf(field: Field, problems: Problems): readonly Field[] {
  if (field.value === undefined) return [];
  if (Array.isArray(field.value)) {
    return field.value.map((value: unknown, index) => ({ path: `${field.path}[${index}]`, value }));
  }
  problems.push(wrongType(field, "array"));
  return [];
}

/** The items of a list of objects; others are reported and left out. */
export function objectsOf(field: Field, problems: Problems): readonly Field[] {
  return itemsOf(field, problems).filter((item) => checkObject(item, problems));
}

/** The entries of a map with the key in the path as upstream has it: `data[key]`. */
export function entriesOf(field: Field, problems: Problems): readonly (Field & { key: string })[] {
  if (!checkObject(field, problems) || !isObject(field.value)) return [];
  return Object.entries(field.value).map(([key, value]) => ({
    key,
    path: `${field.path}[${key}]`,
    value,
  }));
}

/** Whether it is an object or absent; anything else is reported. */
export function checkObject(field: Field, problems: Problems): boolean {
  if (field.value === undefined || isObject(field.value)) return true;
  problems.push(wrongType(field, "object"));
  return false;
}

export function checkEnum(field: Field, supported: readonly string[], problems: Problems): void {
  const text = textOf(field, problems);
  if (text !== undefined && !supported.includes(text)) problems.push(unsupported(field, supported));
}

/** Reports each later field whose value an earlier one has. */
export function checkUnique(fields: readonly Field[], problems: Problems): void {
  const seen = new Set<unknown>();
  for (const field of fields) {
    if (field.value === undefined) continue;
    if (seen.has(field.value)) problems.push(duplicate(field));
    seen.add(field.value);
  }
}

/** Throws 422 with all problems; nothing when there are none. */
export function refuse(type: ResourceType, object: KubeObject, problems: Problems): void {
  if (problems.length === 0) return;
  const metadata: unknown = object.metadata;
  const name = isObject(metadata) && typeof metadata.name === "string" ? metadata.name : "";
  throw invalid(type, name, problems);
}
