/** Lists in pages: `limit` and `continue` over a sorted list. Pure; called by rest.ts. */

import type { KubeObject } from "./objects.ts";
import { badRequest } from "./status-error.ts";
import type { StoreList } from "./store.ts";

export interface Page {
  readonly items: readonly KubeObject[];
  readonly metadata: {
    readonly resourceVersion: string;
    readonly continue?: string;
    readonly remainingItemCount?: number;
  };
}

/** The page after the one that `continue` was given out for; a later page may see later changes. Throws 400. */
export function pageOf(list: StoreList, query: URLSearchParams): Page {
  const token = query.get("continue") ?? "";
  const limit = Number(query.get("limit") ?? 0);
  if (!Number.isInteger(limit) || limit < 0)
    throw badRequest(`invalid limit: ${query.get("limit")}`);
  const after = token === "" ? undefined : decode(token);
  const rest = after === undefined ? list.items : list.items.filter((it) => keyOf(it) > after);
  const items = limit === 0 ? rest : rest.slice(0, limit);
  const last = items.at(-1);
  const { resourceVersion } = list;
  if (last === undefined || items.length === rest.length)
    return { items, metadata: { resourceVersion } };
  const isWhole = !query.get("labelSelector") && !query.get("fieldSelector");
  const remaining = isWhole ? { remainingItemCount: rest.length - items.length } : {};
  return { items, metadata: { resourceVersion, continue: encode(keyOf(last)), ...remaining } };
}

/** As the store sorts: by namespace and name in one text. */
function keyOf({ metadata }: KubeObject): string {
  return metadata.namespace === undefined
    ? metadata.name
    : `${metadata.namespace}/${metadata.name}`;
}

function encode(key: string): string {
  return Buffer.from(JSON.stringify({ v: "longshore/v1", after: key })).toString("base64url");
}

function decode(token: string): string {
  const text = Buffer.from(token, "base64url").toString("utf8");
  const after = /^\{"v":"longshore\/v1","after":(".*")\}$/.exec(text)?.[1];
  if (after === undefined) throw badRequest("continue key is not valid");
  return String(JSON.parse(after));
}
