/**
 * In which form an answer is wanted: the object itself, kubectl's table, or metadata only. Pure; reads the Accept
 * header once for each request and shapes objects, lists and watch events by it. Called by server.ts and watch.ts.
 */

import type { KubeObject } from "./objects.ts";
import { apiVersionOf, type ResourceType } from "./registry.ts";
import { StatusError } from "./status-error.ts";
import { computeTable } from "./table.ts";

export type Form =
  | { readonly kind: "object" }
  | { readonly kind: "table"; readonly include: "None" | "Metadata" | "Object" }
  | { readonly kind: "metadata" };

export interface ListMeta {
  readonly resourceVersion?: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

/** The first form of the header that is served. Throws NotAcceptable (406). */
export function formOf(accept: string | undefined, query: URLSearchParams): Form {
  if (accept === undefined || accept === "") return { kind: "object" };
  for (const range of accept.split(",")) {
    const [media = "", ...parameters] = range.split(";").map((part) => part.trim());
    if (!["application/json", "application/*", "*/*"].includes(media)) continue;
    const as = parameters.find((parameter) => parameter.startsWith("as="))?.slice(3) ?? "";
    if (as === "") return { kind: "object" };
    if (parameters.some((it) => it === "v=v1beta1") && as === "Table") continue;
    if (as === "Table") return { kind: "table", include: includeOf(query) };
    if (as === "PartialObjectMetadata" || as === "PartialObjectMetadataList")
      return { kind: "metadata" };
  }
  const message = "only the following media types are accepted: application/json";
  throw new StatusError(406, "NotAcceptable", message);
}

export function shapeObject(
  form: Form,
  type: ResourceType,
  object: KubeObject,
  now: number,
): object {
  switch (form.kind) {
    case "object":
      return object;
    case "metadata":
      return partial(object);
    case "table": {
      const { resourceVersion } = object.metadata;
      const meta = resourceVersion === undefined ? {} : { resourceVersion };
      return computeTable(type, [object], meta, now, form.include);
    }
  }
}

export interface Collection {
  readonly type: ResourceType;
  readonly items: readonly KubeObject[];
  readonly metadata: ListMeta;
}

export function shapeList(form: Form, { type, items, metadata }: Collection, now: number): object {
  switch (form.kind) {
    case "object":
      return { kind: `${type.kind}List`, apiVersion: apiVersionOf(type), metadata, items };
    case "metadata":
      return {
        kind: "PartialObjectMetadataList",
        apiVersion: "meta.k8s.io/v1",
        metadata,
        items: items.map(partial),
      };
    case "table":
      return computeTable(type, items, metadata, now, form.include);
  }
}

function partial({ metadata }: KubeObject): object {
  return { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata };
}

function includeOf(query: URLSearchParams): "None" | "Metadata" | "Object" {
  const asked = query.get("includeObject");
  return asked === "None" || asked === "Object" ? asked : "Metadata";
}
