/**
 * What the server makes of an object it is sent before anything judges it: kind and version checked, identity checked
 * against the URL, fields only the server sets taken away, a name generated. Pure but for `random`. Called by rest.ts.
 */

import { at, isObject, type KubeObject, type Meta, without } from "./objects.ts";
import { apiVersionOf, type ResourceType } from "./registry.ts";
import type { ResourcePath } from "./request-path.ts";
import { resizedSpec } from "./resize-validation.ts";
import { badRequest, conflict, invalid } from "./status-error.ts";

const NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789";
/** A generated name is cut so that base and suffix stay within 63 characters. */
const MAX_GENERATED_BASE = 58;

/** The body as an object of the type. Throws BadRequest. */
export function readObject(type: ResourceType, body: unknown): KubeObject {
  if (!isObject(body)) throw badRequest("the request body must be a JSON object");
  const wanted = apiVersionOf(type);
  const { kind = type.kind, apiVersion = wanted } = body;
  if (kind !== type.kind || apiVersion !== wanted) {
    const why = `${String(kind)} in version "${String(apiVersion)}" cannot be handled as a ${type.kind} in version "${wanted}"`;
    throw badRequest(why);
  }
  if (body.metadata !== undefined && body.metadata !== null && !isObject(body.metadata))
    throw badRequest(
      `${type.kind} in version "${wanted}" cannot be handled as a ${type.kind}: metadata`,
    );
  const given: Readonly<Record<string, unknown>> = isObject(body.metadata) ? body.metadata : {};
  const { managedFields: _, selfLink: __, ...metadata } = given;
  for (const field of ["labels", "annotations"]) {
    if (isTextMap(metadata[field] ?? {})) continue;
    throw badRequest(
      `${type.kind} in version "${wanted}": metadata.${field} must be a map of strings`,
    );
  }
  return { ...body, kind, apiVersion, metadata } as unknown as KubeObject;
}

/** A new object under its final name, without what only the server sets. Throws 400 and 422. */
export function nameObject(path: ResourcePath, sent: KubeObject, random: () => number): KubeObject {
  const { type, namespace } = path;
  const { name = "", generateName = "", resourceVersion = "" } = sent.metadata as Partial<Meta>;
  checkNamespace(path, sent);
  if (resourceVersion !== "")
    throw badRequest("resourceVersion should not be set on objects to be created");
  if (name === "" && generateName === "") {
    const message = "Required value: name or generateName is required";
    throw invalid(type, "", [{ reason: "FieldValueRequired", message, field: "metadata.name" }]);
  }
  const own = without(
    sent.metadata,
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "namespace",
  );
  return {
    ...sent,
    metadata: {
      ...own,
      name: name === "" ? generateName.slice(0, MAX_GENERATED_BASE) + randomSuffix(random) : name,
      ...(namespace === undefined ? {} : { namespace }),
    },
  };
}

/** Five letters for the end of a generated name. */
export function randomSuffix(random: () => number): string {
  const letter = (): string => NAME_LETTERS[Math.floor(random() * NAME_LETTERS.length)] ?? "b";
  return Array.from({ length: 5 }, letter).join("");
}

/** Throws where an update is meant for another object or for an older version. */
export function checkIdentity(path: ResourcePath, sent: KubeObject, current: KubeObject): void {
  const { type } = path;
  const { name, uid } = current.metadata;
  const { name: sentName = "", uid: sentUid = "" } = sent.metadata as Partial<Meta>;
  checkNamespace(path, sent);
  if (sentName !== name)
    throw badRequest(
      `the name of the object (${sentName}) does not match the name on the URL (${name})`,
    );
  if (sentUid !== "" && sentUid !== uid) {
    const why = `Precondition failed: UID in precondition: ${sentUid}, UID in object meta: ${uid}`;
    throw conflict(type, name, why);
  }
}

/**
 * What of a sent object goes into the store: main updates keep the status, updates of a subresource keep all but it, and what
 * only the server sets stays as it was.
 */
export function mergeSent(path: ResourcePath, old: KubeObject, sent: KubeObject): KubeObject {
  const { type, subresource } = path;
  if (subresource === "status" || subresource === "approval")
    return { ...old, status: sent.status };
  if (subresource === "ephemeralcontainers") {
    const ephemeralContainers = at(sent, "spec", "ephemeralContainers");
    return { ...old, spec: { ...(isObject(old.spec) ? old.spec : {}), ephemeralContainers } };
  }
  if (subresource === "resize") return { ...old, spec: resizedSpec(old.spec, sent.spec) };
  if (subresource === "finalize") return { ...old, spec: sent.spec };
  const hasStatus = type.subresources.some(({ name }) => name === "status");
  const kept = withServerMeta(old, sent);
  if (!hasStatus) return kept;
  return old.status === undefined
    ? (without(kept, "status") as KubeObject)
    : { ...kept, status: old.status };
}

/** What identifies the object and what only the server sets, as it was; a client may leave all of it out. */
const SERVER_META = [
  "name",
  "namespace",
  "uid",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "generation",
] as const;

function withServerMeta(old: KubeObject, sent: KubeObject): KubeObject {
  const own = without(sent.metadata, ...SERVER_META);
  const kept = SERVER_META.filter((field) => old.metadata[field] !== undefined);
  const metadata = { ...own, ...Object.fromEntries(kept.map((it) => [it, old.metadata[it]])) };
  return { ...sent, metadata: metadata as Meta };
}

function checkNamespace({ namespace }: ResourcePath, sent: KubeObject): void {
  const own = sent.metadata.namespace ?? "";
  if (own !== "" && own !== namespace)
    throw badRequest(
      "the namespace of the provided object does not match the namespace sent on the request",
    );
}

function isTextMap(value: unknown): boolean {
  return isObject(value) && Object.values(value).every((text) => typeof text === "string");
}
