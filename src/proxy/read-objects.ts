/**
 * Services, EndpointSlices and Nodes from a file, as `longshore proxy render` and tests give them: one object, a List,
 * or several documents, YAML or JSON. An API server would have checked their shape; here it is done for the fields
 * that the proxy reads, and a mistake names the document and the field (ConfigInvalid). Pure.
 */

import { CORE_SCHEMA, loadAll } from "js-yaml";
import type { EndpointSlice, Node, Service } from "../api/types.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import { shown } from "./services.ts";

export interface ProxyObjects {
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly nodes: readonly Node[];
}

/** What a field must hold where it is there. A name that ends in `!` must be there. */
type Shape =
  | "string"
  | "integer"
  | "boolean"
  | { readonly [field: string]: Shape }
  | ListOf
  | MapOf;
interface ListOf {
  readonly "[]": Shape;
}
/** Any keys. */
interface MapOf {
  readonly "*": Shape;
}

const TEXTS: Shape = { "[]": "string" };
const METADATA: Shape = {
  "name!": "string",
  namespace: "string",
  labels: { "*": "string" },
};
const NAMED: Shape = { "[]": { "name!": "string" } };

const SHAPES: Readonly<Record<string, Shape>> = {
  Service: {
    "metadata!": METADATA,
    spec: {
      type: "string",
      clusterIP: "string",
      clusterIPs: TEXTS,
      ipFamilies: TEXTS,
      ports: {
        "[]": { name: "string", protocol: "string", "port!": "integer", nodePort: "integer" },
      },
      externalIPs: TEXTS,
      loadBalancerSourceRanges: TEXTS,
      internalTrafficPolicy: "string",
      externalTrafficPolicy: "string",
      healthCheckNodePort: "integer",
      sessionAffinity: "string",
      sessionAffinityConfig: { clientIP: { timeoutSeconds: "integer" } },
    },
    status: {
      loadBalancer: { ingress: { "[]": { ip: "string", ipMode: "string" } } },
    },
  },
  EndpointSlice: {
    "metadata!": METADATA,
    "addressType!": "string",
    ports: { "[]": { name: "string", protocol: "string", port: "integer" } },
    endpoints: {
      "[]": {
        "addresses!": TEXTS,
        nodeName: "string",
        conditions: { ready: "boolean", serving: "boolean", terminating: "boolean" },
        hints: { forZones: NAMED, forNodes: NAMED },
      },
    },
  },
  Node: {
    "metadata!": METADATA,
    spec: { podCIDRs: TEXTS },
    status: { addresses: { "[]": { "type!": "string", "address!": "string" } } },
  },
};

/** @param file for messages. */
export function readObjects(text: string, file: string): ProxyObjects {
  const objects = documentsOf(text, file).flatMap((document, index) =>
    itemsOf(document, `${file}: document ${index + 1}`),
  );
  const seen = new Set<string>();
  for (const { object, where } of objects) {
    const { namespace, name } = object.metadata as { namespace: string; name: string };
    const key = `${String(object.kind)} ${namespace}/${name}`;
    if (seen.has(key)) throw invalid(`${where}: ${shown(key)} is there twice`);
    seen.add(key);
  }
  const ofKind = <T>(kind: string): readonly T[] =>
    objects.filter(({ object }) => object.kind === kind).map(({ object }) => object as T);
  return {
    services: ofKind<Service>("Service"),
    endpointSlices: ofKind<EndpointSlice>("EndpointSlice"),
    nodes: ofKind<Node>("Node"),
  };
}

type Json = Readonly<Record<string, unknown>>;

interface Placed {
  readonly object: Json;
  /** File, document and item. */
  readonly where: string;
}

function documentsOf(text: string, file: string): readonly unknown[] {
  try {
    // Quicker by far than the reader of YAML, and lists are long.
    if (text.trimStart().startsWith("{")) return [JSON.parse(text)];
  } catch {
    // Several JSON documents, or YAML in flow style: YAML reads both, and its message has the line.
  }
  try {
    // Without the schema's dates: a name such as 2026-01-01 is a name.
    return loadAll(text, undefined, { schema: CORE_SCHEMA });
  } catch (cause) {
    // Only the first line: those after it repeat the file, which may hold anything.
    const [words = ""] = messageOf(cause).split("\n");
    throw new LongshoreError("ConfigInvalid", `${file} is not YAML or JSON: ${words}`, { cause });
  }
}

function itemsOf(document: unknown, where: string): readonly Placed[] {
  if (document === null || document === undefined) return [];
  if (!isObject(document)) throw invalid(`${where} is not an object`);
  const { kind, items } = document;
  if (typeof kind !== "string") throw invalid(`${where}: kind is missing`);
  if (kind.endsWith("List")) {
    const list = items ?? [];
    if (!Array.isArray(list)) throw invalid(`${where}: items is not a list`);
    // A typed list names the kind of its items once.
    const ofItems = kind === "List" ? {} : { kind: kind.slice(0, -"List".length) };
    return list.flatMap((item: unknown, index) =>
      itemsOf(
        isObject(item) ? { ...ofItems, ...item } : (item ?? "null"),
        `${where}: items[${index}]`,
      ),
    );
  }
  const shape = SHAPES[kind];
  if (shape === undefined)
    throw invalid(`${where}: kind ${shown(kind)} is none of ${Object.keys(SHAPES).join(", ")}`);
  check(document, shape, { where: `${where} (${kind} ${nameOf(document)})`, field: "" });
  return [{ object: completed(document, kind), where }];
}

/** As the API server would have stored it. */
function completed(object: Json, kind: string): Json {
  const metadata = object.metadata as Json;
  const { name } = metadata;
  const namespace = kind === "Node" ? {} : { namespace: metadata.namespace ?? "default" };
  return {
    ...object,
    metadata: { uid: name, resourceVersion: "0", ...metadata, ...namespace },
  };
}

interface Place {
  readonly where: string;
  readonly field: string;
}

function check(value: unknown, shape: Shape, at: Place): void {
  if (typeof shape === "string") {
    const isRight = shape === "integer" ? Number.isInteger(value) : typeof value === shape;
    if (!isRight) throw wrong(at, shape === "integer" ? "a whole number" : `a ${shape}`);
  } else if ("[]" in shape) {
    if (!Array.isArray(value)) throw wrong(at, "a list");
    for (const [index, item] of value.entries())
      check(item, shape["[]"] as Shape, { ...at, field: `${at.field}[${index}]` });
  } else {
    if (!isObject(value)) throw wrong(at, "an object");
    checkFields(value, shape, at);
  }
}

function checkFields(value: Json, shape: MapOf | { readonly [field: string]: Shape }, at: Place) {
  const fields =
    "*" in shape ? Object.keys(value).map((key) => [key, shape["*"]]) : Object.entries(shape);
  for (const [spelled, inner] of fields as [string, Shape][]) {
    const isRequired = spelled.endsWith("!") && !("*" in shape);
    const name = isRequired ? spelled.slice(0, -1) : spelled;
    const place = {
      ...at,
      field: at.field === "" ? name : `${at.field}.${/^[\w./-]+$/.test(name) ? name : shown(name)}`,
    };
    const given = value[name];
    if (given !== undefined && given !== null) check(given, inner, place);
    else if (isRequired) throw invalid(`${place.where}: ${place.field} is missing`);
  }
}

function isObject(value: unknown): value is Json {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function nameOf({ metadata }: Json): string {
  const name = isObject(metadata) ? metadata.name : undefined;
  return typeof name === "string" ? shown(name) : "without name";
}

function wrong(at: Place, wants: string): LongshoreError {
  return invalid(`${at.where}: ${at.field} is not ${wants}`);
}

function invalid(message: string): LongshoreError {
  return new LongshoreError("ConfigInvalid", message);
}
