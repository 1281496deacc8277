/**
 * What the API server fills in: `applyDefaults` on every write (upstream's versioned defaulting), `prepareForCreate`
 * once on create (its strategies' PrepareForCreate and the admission plugins that are always on), `prepareForUpdate`
 * on each later write of the object itself. All are pure, never throw and leave values of a wrong type alone for validation to refuse. Called by rest.ts, in that order.
 */

import { at, isObject, type JsonObject, type KubeObject } from "./objects.ts";
import { admitPod, podWithDefaults } from "./pod-defaults.ts";
import {
  ENDPOINT_SLICES,
  ENDPOINTS,
  NAMESPACES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  type ResourceType,
  SECRETS,
  SERVICES,
} from "./registry.ts";
import { keepAllocated, serviceWithDefaults } from "./service-defaults.ts";

/** The object with its defaults; fields that are null are absent, as for Go's decoder. Running it again changes nothing. */
export function applyDefaults(type: ResourceType, object: KubeObject): KubeObject {
  const clean = dropNulls(object) as KubeObject;
  switch (type) {
    case PODS:
      return podWithDefaults(clean);
    case SERVICES:
      return serviceWithDefaults(clean);
    case SECRETS:
      return secretWithDefaults(clean);
    case NAMESPACES:
      return namespaceWithDefaults(clean);
    case PERSISTENT_VOLUMES:
      return withSpec(clean, {
        persistentVolumeReclaimPolicy: "Retain",
        volumeMode: "Filesystem",
      });
    case PERSISTENT_VOLUME_CLAIMS:
      return withSpec(clean, { volumeMode: "Filesystem" });
    case ENDPOINT_SLICES:
      return { ...clean, ...mapList(clean, "ports", portWithDefaults) };
    case ENDPOINTS:
      return { ...clean, ...mapList(clean, "subsets", subsetWithDefaults) };
    default:
      return clean;
  }
}

/** The object as it is first stored: status as the server sets it, and what admission adds to pods. */
export function prepareForCreate(type: ResourceType, object: KubeObject): KubeObject {
  switch (type) {
    case PODS:
      return admitPod(object);
    case SERVICES:
      return { ...object, status: { loadBalancer: {} } };
    case NAMESPACES:
      return { ...object, status: { phase: "Active" } };
    case PERSISTENT_VOLUMES:
    case PERSISTENT_VOLUME_CLAIMS:
      return { ...object, status: { phase: "Pending" } };
    default:
      return object;
  }
}

/** The object as it replaces `old`: what the server allocated stays where the client left it out. */
export function prepareForUpdate(
  type: ResourceType,
  object: KubeObject,
  old: KubeObject,
): KubeObject {
  return type === SERVICES ? keepAllocated(object, old) : object;
}

function withSpec(object: KubeObject, defaults: JsonObject): KubeObject {
  const { spec } = object;
  return isObject(spec) ? { ...object, spec: { ...defaults, ...spec } } : object;
}

function dropNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dropNulls);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== null)
      .map(([key, inner]) => [key, dropNulls(inner)]),
  );
}

/** `{ field: mapped }` when the object has a list there, else nothing; items that are no objects stay. */
function mapList(
  object: unknown,
  field: string,
  map: (item: JsonObject) => unknown,
): Readonly<Record<string, unknown>> {
  const list = at(object, field);
  if (!Array.isArray(list)) return {};
  return { [field]: list.map((item) => (isObject(item) ? map(item as JsonObject) : item)) };
}

function portWithDefaults(port: JsonObject): unknown {
  return { name: "", protocol: "TCP", ...port };
}

function subsetWithDefaults(subset: JsonObject): unknown {
  return { ...subset, ...mapList(subset, "ports", (port) => ({ protocol: "TCP", ...port })) };
}

function secretWithDefaults(secret: KubeObject): KubeObject {
  const { stringData, ...rest } = secret;
  const typed = { type: "Opaque", ...rest } as KubeObject;
  if (stringData === undefined) return typed;
  const isText = isObject(stringData) && Object.values(stringData).every(isString);
  if (!isText) return { ...typed, stringData };
  const encoded = Object.entries(stringData).map(([key, text]) => [
    key,
    Buffer.from(String(text)).toString("base64"),
  ]);
  const data = isObject(typed.data) ? typed.data : {};
  return { ...typed, data: { ...data, ...Object.fromEntries(encoded) } };
}

function isString(value: unknown): boolean {
  return typeof value === "string";
}

function namespaceWithDefaults(namespace: KubeObject): KubeObject {
  const { metadata } = namespace;
  if (!isObject(metadata)) return namespace;
  const labels = metadata.labels ?? {};
  const spec = namespace.spec ?? {};
  return {
    ...namespace,
    metadata: isObject(labels)
      ? { ...metadata, labels: { ...labels, "kubernetes.io/metadata.name": metadata.name } }
      : metadata,
    spec: isObject(spec) ? { finalizers: ["kubernetes"], ...spec } : spec,
  };
}
