/**
 * How a client wants to see objects: whole, as metadata only, or as a Table with kubectl's columns. Pure; chosen by the
 * Accept header, used by server.ts for answers and by watch.ts for each event.
 */

import { type Answer, json } from "./http-io.ts";
import type { KubeObject } from "./objects.ts";
import { apiVersionOf, type ResourceType } from "./registry.ts";
import { computeTable } from "./table.ts";

export type IncludeObject = "None" | "Metadata" | "Object";

export type Presentation =
  | { readonly kind: "object" }
  | { readonly kind: "table"; readonly includeObject: IncludeObject; readonly nowMs: number }
  | { readonly kind: "metadata" };

/** A page of a list. */
export interface ObjectPage {
  readonly items: readonly KubeObject[];
  readonly meta: {
    readonly resourceVersion: string;
    readonly continue?: string;
    readonly remainingItemCount?: number;
  };
}

/** The first media type of the header that is known wins; what is not known is answered as objects. */
export function presentationOf(
  accept: string,
  query: URLSearchParams,
  nowMs: number,
): Presentation {
  for (const mediaType of accept.split(",")) {
    if (!mediaType.includes("application/json") && !mediaType.includes("*/*")) continue;
    if (/;as=Table;/.test(`${mediaType.replaceAll(" ", "")};`)) {
      const asked = query.get("includeObject");
      const includeObject = asked === "None" || asked === "Object" ? asked : "Metadata";
      return { kind: "table", includeObject, nowMs };
    }
    if (/;as=PartialObjectMetadata(List)?;/.test(`${mediaType.replaceAll(" ", "")};`))
      return { kind: "metadata" };
    return { kind: "object" };
  }
  return { kind: "object" };
}

export function presentObject(
  type: ResourceType,
  object: KubeObject,
  presentation: Presentation,
): Answer {
  switch (presentation.kind) {
    case "object":
      return json(object);
    case "metadata":
      return json(metadataOnly(object));
    case "table": {
      const { resourceVersion = "" } = object.metadata;
      const { nowMs, includeObject } = presentation;
      return json(computeTable(type, [object], { resourceVersion }, nowMs, includeObject));
    }
  }
}

export function presentList(
  type: ResourceType,
  page: ObjectPage,
  presentation: Presentation,
): Answer {
  const { items, meta } = page;
  switch (presentation.kind) {
    case "object":
      return json({
        kind: `${type.kind}List`,
        apiVersion: apiVersionOf(type),
        metadata: meta,
        items,
      });
    case "metadata":
      return json({
        kind: "PartialObjectMetadataList",
        apiVersion: "meta.k8s.io/v1",
        metadata: meta,
        items: items.map(metadataOnly),
      });
    case "table":
      return json(computeTable(type, items, meta, presentation.nowMs, presentation.includeObject));
  }
}

function metadataOnly(object: KubeObject): object {
  return {
    kind: "PartialObjectMetadata",
    apiVersion: "meta.k8s.io/v1",
    metadata: object.metadata,
  };
}
