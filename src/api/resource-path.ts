/** Resource and reference → path in the API. Pure. Called by http-client.ts. */

import { LongshoreError } from "../core/errors.ts";
import type { Resource } from "./resources.ts";
import type { StoredObject } from "./types.ts";

export interface PathRef {
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
}

/** e.g. `/api/v1/namespaces/default/pods/web/status`. Without a name the collection, of one namespace or of all. */
export function resourcePath(resource: Resource<StoredObject>, ref: PathRef): string {
  if (resource.namespaced && ref.name !== undefined && ref.namespace === undefined) {
    throw new LongshoreError(
      "Bug",
      `${resource.kind} ${ref.name} is asked for without a namespace`,
    );
  }
  const root = resource.group === "" ? "/api" : `/apis/${resource.group}`;
  const scope =
    resource.namespaced && ref.namespace !== undefined
      ? ["namespaces", encodeURIComponent(ref.namespace)]
      : [];
  const object = ref.name === undefined ? [] : [encodeURIComponent(ref.name)];
  const subresource = ref.subresource === undefined ? [] : [ref.subresource];
  return [root, resource.version, ...scope, resource.plural, ...object, ...subresource].join("/");
}
