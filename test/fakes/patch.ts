/**
 * The three patch types as the API server applies them, as far as Longshore uses them: JSON patch, JSON merge patch, and
 * strategic merge with the merge keys below; any other list of a strategic patch replaces the one that was there.
 */

import jsonPatch from "fast-json-patch";
import type { PatchType } from "../../src/api/client.ts";
import { LongshoreError } from "../../src/core/errors.ts";

type Json = Readonly<Record<string, unknown>>;

/** Field → key by which its elements are merged. */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  conditions: "type",
  addresses: "type",
  podIPs: "ip",
  hostIPs: "ip",
  ownerReferences: "uid",
};

export function applyPatch(type: PatchType, target: object, patch: object): object {
  const copy = structuredClone(target);
  if (type === "merge") return mergeObject(copy as Json, patch as Json, false);
  if (type === "strategic") return mergeObject(copy as Json, patch as Json, true);
  const operations = patch as Parameters<typeof jsonPatch.applyPatch>[1];
  try {
    return jsonPatch.applyPatch(copy, operations, true).newDocument as object;
  } catch (cause) {
    throw new LongshoreError("ApiInvalid", "the JSON patch does not apply", { cause, status: 422 });
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function mergeObject(target: Json, patch: Json, isStrategic: boolean): Json {
  const result: Record<string, unknown> = { ...target };
  for (const [field, value] of Object.entries(patch)) {
    if (isStrategic && field.startsWith("$")) {
      if (field.startsWith("$setElementOrder/")) continue;
      throw new LongshoreError("Bug", `the fake API does not know the directive ${field}`);
    }
    if (value === null) delete result[field];
    else result[field] = mergeValue(field, target[field], value, isStrategic);
  }
  return result;
}

function mergeValue(field: string, old: unknown, value: unknown, isStrategic: boolean): unknown {
  if (isObject(value)) return mergeObject(isObject(old) ? old : {}, value, isStrategic);
  const key = MERGE_KEYS[field];
  if (!isStrategic || key === undefined || !Array.isArray(value)) return value;
  return mergeList(Array.isArray(old) ? old : [], value as Json[], key);
}

function mergeList(old: readonly Json[], patch: readonly Json[], key: string): readonly Json[] {
  const elements = patch.filter((element) => element.$patch === undefined);
  if (patch.some((element) => element.$patch === "replace")) return elements;
  const deleted = patch.filter((element) => element.$patch === "delete").map((e) => e[key]);
  const result = old.filter((element) => !deleted.includes(element[key]));
  for (const element of elements) {
    const index = result.findIndex((existing) => existing[key] === element[key]);
    const existing = result[index];
    if (existing === undefined) result.push(element);
    else result[index] = mergeObject(existing, element, true);
  }
  return result;
}
