/** Label and field selectors as far as the fake API needs them; what it does not know, it refuses. */

import type { ListOptions } from "../../src/api/client.ts";
import type { StoredObject } from "../../src/api/types.ts";
import { LongshoreError } from "../../src/core/errors.ts";

const FIELDS = ["metadata.name", "metadata.namespace", "spec.nodeName", "status.phase", "type"];

export function isSelected(object: StoredObject, options: ListOptions): boolean {
  if (options.namespace !== undefined && object.metadata.namespace !== options.namespace)
    return false;
  const labels = object.metadata.labels ?? {};
  return (
    terms(options.labelSelector).every((term) => holds(term, (key) => labels[key])) &&
    terms(options.fieldSelector).every((term) => holds(term, (path) => fieldOf(object, path) ?? ""))
  );
}

function terms(selector: string | undefined): string[] {
  return selector === undefined || selector === "" ? [] : selector.split(",");
}

function holds(term: string, lookUp: (key: string) => string | undefined): boolean {
  const match = /^(!?)([\w./-]+)(?:(==|=|!=)([\w./-]*))?$/.exec(term);
  if (match === null) throw new LongshoreError("Bug", `the fake API cannot select by "${term}"`);
  const [, not, key = "", operator, wanted] = match;
  const value = lookUp(key);
  if (operator === undefined) return (value !== undefined) === (not === "");
  return (value === wanted) === (operator !== "!=");
}

function fieldOf(object: StoredObject, path: string): string | undefined {
  if (!FIELDS.includes(path)) {
    throw new LongshoreError("Bug", `the fake API has no field selector ${path}`);
  }
  let value: unknown = object;
  for (const part of path.split("."))
    value = (value as Record<string, unknown> | undefined)?.[part];
  return value as string | undefined;
}
