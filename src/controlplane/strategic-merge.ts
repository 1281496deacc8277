/**
 * Strategic merge patch for the types this server has: lists that Go's struct tags merge by key are merged, all
 * others are replaced, and the directives ($patch, $retainKeys, $setElementOrder, $deleteFromPrimitiveList) work as
 * in k8s.io/apimachinery's strategicpatch, the order of merged lists included. Pure. Called by patch.ts.
 */

import { isDeepStrictEqual } from "node:util";
import { isObject } from "./objects.ts";
import { badRequest } from "./status-error.ts";

type Plain = Readonly<Record<string, unknown>>;

/** "" merges a list of primitives as a set. Lists that are not named here are atomic. */
const PRIMITIVES = "";

const CONTAINER_LISTS: Readonly<Record<string, string>> = {
  ports: "containerPort",
  env: "name",
  volumeMounts: "mountPath",
  volumeDevices: "devicePath",
};

/** `parent.field` of a list → its merge key; the parent of fields of list items is the list's field. */
const MERGE_KEYS: ReadonlyMap<string, string> = new Map([
  ["metadata.ownerReferences", "uid"],
  ["metadata.finalizers", PRIMITIVES],
  ["spec.containers", "name"],
  ["spec.initContainers", "name"],
  ["spec.ephemeralContainers", "name"],
  ["spec.volumes", "name"],
  ["spec.imagePullSecrets", "name"],
  ["spec.hostAliases", "ip"],
  ["spec.topologySpreadConstraints", "topologyKey"],
  ["spec.resourceClaims", "name"],
  ["spec.schedulingGates", "name"],
  ["spec.ports", "port"],
  ["spec.podCIDRs", PRIMITIVES],
  ["status.conditions", "type"],
  ["status.addresses", "type"],
  ["status.podIPs", "ip"],
  ["status.hostIPs", "ip"],
  [".secrets", "name"],
  [".imagePullSecrets", "name"],
  ...["containers", "initContainers", "ephemeralContainers"].flatMap((list) =>
    Object.entries(CONTAINER_LISTS).map(([field, key]) => [`${list}.${field}`, key] as const),
  ),
]);

const ORDER = "$setElementOrder/";
const DELETE_PRIMITIVES = "$deleteFromPrimitiveList/";

/** `original` with `patch` merged in; shares what the patch does not touch. Throws 400 for a patch that makes no sense. */
export function strategicMerge(original: Plain, patch: Plain): Plain {
  return mergeMap(original, patch, "");
}

function mergeMap(original: Plain, patch: Plain, parent: string): Plain {
  const directive = patch.$patch;
  if (directive === "delete") return {};
  if (directive === "replace") return mergeMap({}, { ...patch, $patch: "merge" }, parent);
  if (directive !== undefined && directive !== "merge") throw unknownDirective(directive);
  const result: Record<string, unknown> = retained(original, patch.$retainKeys);
  for (const [key, value] of Object.entries(patch)) {
    if (!key.startsWith(DELETE_PRIMITIVES)) continue;
    const field = key.slice(DELETE_PRIMITIVES.length);
    const gone = listOf(value, key);
    const list = result[field];
    if (Array.isArray(list)) result[field] = list.filter((item) => !gone.includes(item));
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith("$")) continue;
    if (value === null) delete result[key];
    else result[key] = mergeValue(result[key], value, { parent, field: key });
  }
  for (const [key, value] of Object.entries(patch)) {
    if (!key.startsWith(ORDER)) continue;
    const field = key.slice(ORDER.length);
    const merged = result[field];
    const mergeKey = MERGE_KEYS.get(`${parent}.${field}`);
    if (!Array.isArray(merged) || mergeKey === undefined) continue;
    const server = original[field];
    result[field] = inOrder(
      merged,
      listOf(value, key),
      Array.isArray(server) ? server : [],
      mergeKey,
    );
  }
  return result;
}

function retained(original: Plain, keys: unknown): Record<string, unknown> {
  if (keys === undefined) return { ...original };
  const kept = listOf(keys, "$retainKeys");
  return Object.fromEntries(Object.entries(original).filter(([key]) => kept.includes(key)));
}

function mergeValue(
  original: unknown,
  patch: unknown,
  place: { readonly parent: string; readonly field: string },
): unknown {
  if (isObject(patch)) return mergeMap(isObject(original) ? original : {}, patch, place.field);
  if (!Array.isArray(patch)) return patch;
  const mergeKey = MERGE_KEYS.get(`${place.parent}.${place.field}`);
  if (mergeKey === undefined) return withoutDirectives(patch, place.field);
  const list: readonly unknown[] = Array.isArray(original) ? original : [];
  if (mergeKey === PRIMITIVES) return mergePrimitives(list, patch);
  return mergeObjects(list, patch, { mergeKey, field: place.field });
}

function mergePrimitives(original: readonly unknown[], patch: readonly unknown[]): unknown {
  return inOrder([...new Set([...original, ...patch])], patch, original, PRIMITIVES);
}

function mergeObjects(
  original: readonly unknown[],
  patch: readonly unknown[],
  place: { readonly mergeKey: string; readonly field: string },
): readonly unknown[] {
  const { mergeKey, field } = place;
  const directives = patch.map((item) => (isObject(item) ? item.$patch : undefined));
  if (directives.includes("replace")) return withoutDirectives(patch, field);
  const wanted: Plain[] = [];
  let merged = [...original];
  for (const item of patch) {
    if (!isObject(item)) throw badRequest(`list ${field} to merge holds something that is no map`);
    if (!Object.hasOwn(item, mergeKey))
      throw badRequest(`map: ${field} item does not contain declared merge key: ${mergeKey}`);
    if (item.$patch === "delete") merged = merged.filter((other) => !isSame(other, item, mergeKey));
    else wanted.push(item);
  }
  for (const item of wanted) {
    const index = merged.findIndex((other) => isSame(other, item, mergeKey));
    const before = merged[index];
    const after = mergeMap(isObject(before) ? before : {}, item, field);
    if (index === -1) merged.push(after);
    else merged[index] = after;
  }
  return inOrder(merged, wanted, original, mergeKey);
}

/**
 * The order upstream gives: items named in `wanted` as they stand there, the others as on the server, and between the
 * two the server's order where it knows both; otherwise the wanted item comes first.
 */
function inOrder(
  merged: readonly unknown[],
  wanted: readonly unknown[],
  server: readonly unknown[],
  mergeKey: string,
): readonly unknown[] {
  const rank = (list: readonly unknown[], item: unknown) =>
    list.findIndex((other) => isSame(other, item, mergeKey));
  const byRank = (list: readonly unknown[]) => (a: unknown, b: unknown) =>
    rank(list, a) - rank(list, b);
  const named = merged.filter((item) => rank(wanted, item) !== -1).sort(byRank(wanted));
  const others = merged.filter((item) => rank(wanted, item) === -1).sort(byRank(server));
  const result: unknown[] = [];
  while (named.length > 0 && others.length > 0) {
    const [left, right] = [rank(server, others[0]), rank(server, named[0])];
    const isServerFirst = left !== -1 && right !== -1 && left < right;
    result.push(isServerFirst ? others.shift() : named.shift());
  }
  return [...result, ...named, ...others];
}

function isSame(a: unknown, b: unknown, mergeKey: string): boolean {
  if (mergeKey === PRIMITIVES) return a === b;
  if (!isObject(a) || !isObject(b)) return false;
  return Object.hasOwn(a, mergeKey) && isDeepStrictEqual(a[mergeKey], b[mergeKey]);
}

/** A list taken as it is: items that are only a directive or a deletion go, and so do directives inside items. */
function withoutDirectives(list: readonly unknown[], field: string): readonly unknown[] {
  return list
    .filter((item) => !isObject(item) || !isDirective(item))
    .map((item) => {
      if (isObject(item)) return mergeMap({}, item, field);
      return Array.isArray(item) ? withoutDirectives(item, field) : item;
    });
}

function isDirective(item: Plain): boolean {
  return item.$patch === "delete" || item.$patch === "replace";
}

function listOf(value: unknown, directive: string): readonly unknown[] {
  if (!Array.isArray(value)) throw badRequest(`the value of ${directive} must be a list`);
  return value;
}

function unknownDirective(directive: unknown): Error {
  return badRequest(`unknown patch directive ${JSON.stringify(directive)} in map`);
}
