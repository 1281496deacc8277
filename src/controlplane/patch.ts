/**
 * PATCH: the three patch types kubectl and client libraries send, applied to a stored object. Identity stays: a patch
 * that names another uid, name or namespace is a conflict. Pure; throws StatusError only. Called by rest.ts, which
 * checks metadata.resourceVersion of the result itself.
 */

import jsonpatch from "fast-json-patch";
import { isObject, type KubeObject, type Meta } from "./objects.ts";
import { apiVersionOf, type ResourceType } from "./registry.ts";
import { badRequest, conflict, StatusError } from "./status-error.ts";
import { checkPrecondition } from "./store.ts";
import { strategicMerge } from "./strategic-merge.ts";

export const PATCH_TYPES: readonly string[] = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
];

/** Upstream's maxJSONPatchOperations. */
const MAX_OPERATIONS = 10_000;
/** Upstream's AccumulatedCopySizeLimit, in characters of JSON: copies of copies grow without end. */
const MAX_COPIED = 3 * 1024 * 1024;
/** Nesting beyond which a document is refused; Go's JSON stops at 10,000, our stack much earlier. */
const MAX_DEPTH = 500;

/** The patched object, not defaulted and not validated. Throws 400, 409, 413, 415 and 422. */
export function applyPatch(
  type: ResourceType,
  current: KubeObject,
  contentType: string,
  patch: unknown,
): KubeObject {
  checkDocument(patch);
  const result = patched(current, contentType.split(";")[0]?.trim() ?? "", patch);
  // JSON patch can copy a document into itself; what comes out must be as tame as what came in.
  checkDocument(result);
  if (!isObject(result) || !isObject(result.metadata)) throw rejected();
  return withIdentity(type, current, result, result.metadata);
}

/** Refuses (400) JSON that is nested too deep to walk or has a key that would reach a prototype. */
export function checkDocument(document: unknown): void {
  let level: readonly unknown[] = [document];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH) throw badRequest(`exceeded max depth of ${MAX_DEPTH}`);
    const containers = level.filter((value) => value !== null && typeof value === "object");
    if (containers.some((value) => Object.hasOwn(value as object, "__proto__")))
      throw badRequest('the field name "__proto__" is not allowed');
    level = containers.flatMap((value) => Object.values(value as object));
  }
}

function patched(current: KubeObject, mediaType: string, patch: unknown): unknown {
  switch (mediaType) {
    case "application/json-patch+json":
      return applyOperations(current, patch);
    case "application/merge-patch+json":
      return mergePatch(current, objectPatch(patch));
    case "application/strategic-merge-patch+json":
      return strategicMerge(current, objectPatch(patch));
    default:
      throw unsupportedMediaType();
  }
}

function applyOperations(current: KubeObject, patch: unknown): unknown {
  if (!Array.isArray(patch) || !patch.every(isOperation))
    throw badRequest("error decoding patch: a JSON patch is a list of operations");
  if (patch.length > MAX_OPERATIONS) {
    const message = `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${patch.length}`;
    throw new StatusError(413, "RequestEntityTooLarge", message);
  }
  try {
    // Clones, because the library writes into the document and keeps parts of the patch in it.
    return applyInOrder(structuredClone(current), structuredClone(patch));
  } catch (error) {
    // Whatever the library throws (a failed test, a missing path, a banned key) is the fault of the patch.
    throw rejected(error);
  }
}

function applyInOrder(current: unknown, operations: readonly jsonpatch.Operation[]): unknown {
  let document = current;
  let copied = 0;
  for (const operation of operations) {
    if (operation.op === "copy") {
      const source: unknown = jsonpatch.getValueByPointer(document, operation.from);
      copied += JSON.stringify(source)?.length ?? 0;
      if (copied > MAX_COPIED) throw rejected();
    }
    document = jsonpatch.applyOperation(document, operation, true).newDocument;
  }
  return document;
}

function isOperation(value: unknown): value is jsonpatch.Operation {
  return isObject(value) && typeof value.op === "string" && typeof value.path === "string";
}

function objectPatch(patch: unknown): Readonly<Record<string, unknown>> {
  if (!isObject(patch)) throw badRequest("error decoding patch: the patch must be a JSON object");
  return patch;
}

/** RFC 7386. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(Object.hasOwn(result, key) ? result[key] : undefined, value);
  }
  return result;
}

function withIdentity(
  type: ResourceType,
  current: KubeObject,
  result: Readonly<Record<string, unknown>>,
  metadata: Readonly<Record<string, unknown>>,
): KubeObject {
  const { name, namespace, uid, creationTimestamp } = current.metadata;
  const { apiVersion = apiVersionOf(type), kind = type.kind } = result;
  if (apiVersion !== apiVersionOf(type) || kind !== type.kind)
    throw badRequest(`the patched object is no ${apiVersionOf(type)} ${type.kind}`);
  checkPrecondition(type, current, typeof metadata.uid === "string" ? { uid: metadata.uid } : {});
  for (const [field, mine] of Object.entries({ name, namespace })) {
    const wanted = metadata[field] ?? mine;
    if (wanted === mine) continue;
    const why = `the ${field} of the object (${String(mine)}) cannot be changed to ${JSON.stringify(wanted)}`;
    throw conflict(type, name, why);
  }
  const meta = {
    ...metadata,
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
  } as Meta;
  return { ...result, apiVersion: apiVersionOf(type), kind: type.kind, metadata: meta };
}

function unsupportedMediaType(): StatusError {
  const message = `the body of the request was in an unknown format - accepted media types include: ${PATCH_TYPES.join(", ")}`;
  return new StatusError(415, "UnsupportedMediaType", message);
}

function rejected(cause?: unknown): StatusError {
  const message = "the server rejected our request due to an error in our request";
  const error = new StatusError(422, "Invalid", message, {});
  if (cause !== undefined) error.cause = cause;
  return error;
}
