/**
 * Watches: a stream of JSON lines from a resource version on, through a selector, with a synthetic DELETED when an
 * object leaves the selection, bookmarks, and the list as initial events where it is asked for. Called by server.ts;
 * ends with its connection, its timeout, or when its client does not keep up.
 */

import type { ServerResponse } from "node:http";
import type { Clock, Timer } from "../core/clock.ts";
import { type Form, shapeList, shapeObject } from "./negotiate.ts";
import { type KubeObject, withMeta } from "./objects.ts";
import { apiVersionOf } from "./registry.ts";
import { type RestCall, selectorOf } from "./rest.ts";
import { badRequest, expired, invalid } from "./status-error.ts";
import type { Store, StoreEvent } from "./store.ts";

export interface WatchContext {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
}

/** What is sent for one change, or undefined where the watch does not see it. Pure. */
export type WatchView = (
  event: StoreEvent,
) => { readonly type: StoreEvent["type"]; readonly object: KubeObject } | undefined;

const BOOKMARK_MS = 60_000;
/** As upstream: 30 to 60 minutes where the client names no timeout. */
const MIN_TIMEOUT_S = 1800;
/** Bytes that may wait for a slow client. */
const MAX_BACKLOG = 32 * 1024 * 1024;

/** Throws 400, 410 and 422 before anything is sent. */
export function serveWatch(
  context: WatchContext,
  call: RestCall,
  form: Form,
  response: ServerResponse,
): void {
  const { store, clock } = context;
  const { type, namespace } = call.path;
  const selects = selectorOf(call);
  const view = viewOf(namespace, selects);
  const start = startOf(store, call);
  const stream = new WatchStream(response, (object) =>
    shapeObject(form, type, object, clock.now()),
  );
  const bookmark = (isInitialEnd: boolean): void => {
    const annotations = isInitialEnd
      ? { annotations: { "k8s.io/initial-events-end": "true" } }
      : {};
    const metadata = { resourceVersion: store.resourceVersion, ...annotations };
    const plain = { kind: type.kind, apiVersion: apiVersionOf(type), metadata };
    const isTable = form.kind === "table";
    stream.send("BOOKMARK", isTable ? shapeList(form, { type, items: [], metadata }, 0) : plain);
  };
  if (start.kind === "list")
    for (const item of store.list(type, namespace, selects).items) stream.sendObject("ADDED", item);
  if (start.kind === "list" && start.isMarked) bookmark(true);
  const send = (event: StoreEvent): void => {
    const seen = view(event);
    if (seen !== undefined) stream.sendObject(seen.type, seen.object);
  };
  if (start.kind === "resume") for (const event of start.missed) send(event);
  const unsubscribe = store.subscribe(type, send);
  const wantsBookmarks = call.query.get("allowWatchBookmarks") === "true";
  const timers = startTimers(context, timeoutOf(context, call), {
    onBookmark: () => wantsBookmarks && bookmark(false),
    onEnd: () => response.end(),
  });
  response.on("close", () => {
    timers.cancel();
    unsubscribe();
  });
}

export function viewOf(
  namespace: string | undefined,
  selects: (object: KubeObject) => boolean,
): WatchView {
  return (event) => {
    if (namespace !== undefined && event.object.metadata.namespace !== namespace) return undefined;
    const was = event.previous !== undefined && selects(event.previous);
    const is = event.type !== "DELETED" && selects(event.object);
    if (is) return { type: was ? "MODIFIED" : "ADDED", object: event.object };
    if (!was || event.previous === undefined) return undefined;
    const resourceVersion = String(event.resourceVersion);
    return { type: "DELETED", object: withMeta(event.previous, { resourceVersion }) };
  };
}

type Start =
  | { readonly kind: "list"; readonly isMarked: boolean }
  | { readonly kind: "resume"; readonly missed: readonly StoreEvent[] };

function startOf(store: Store, { path, query }: RestCall): Start {
  const from = query.get("resourceVersion") ?? "";
  const wantsInitial = query.get("sendInitialEvents") === "true";
  if (from !== "" && !/^\d+$/.test(from)) throw badRequest(`invalid resource version: "${from}"`);
  if (query.has("sendInitialEvents") && query.get("resourceVersionMatch") !== "NotOlderThan") {
    const message =
      "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
    throw invalid({ group: "meta.k8s.io", kind: "ListOptions" }, "", [
      { reason: "FieldValueForbidden", message, field: "resourceVersionMatch" },
    ]);
  }
  if (wantsInitial || from === "" || from === "0") return { kind: "list", isMarked: wantsInitial };
  const missed = store.eventsSince(path.type, Number(from));
  if (missed === "expired") throw expired(`too old resource version: ${from}`);
  return { kind: "resume", missed };
}

/** Milliseconds. */
function timeoutOf({ random }: WatchContext, { query }: RestCall): number {
  const asked = Number(query.get("timeoutSeconds") ?? 0);
  return (asked > 0 ? asked : MIN_TIMEOUT_S * (1 + random())) * 1000;
}

function startTimers(
  { clock }: WatchContext,
  timeoutMs: number,
  on: { readonly onBookmark: () => unknown; readonly onEnd: () => unknown },
): Timer {
  let next: Timer = clock.after(BOOKMARK_MS, tick);
  function tick(): void {
    on.onBookmark();
    next = clock.after(BOOKMARK_MS, tick);
  }
  const end = clock.after(timeoutMs, () => {
    // The last bookmark lets the client resume where this watch stood.
    on.onBookmark();
    on.onEnd();
  });
  return {
    cancel: () => {
      next.cancel();
      end.cancel();
    },
  };
}

class WatchStream {
  readonly #response: ServerResponse;
  readonly #shape: (object: KubeObject) => object;

  constructor(response: ServerResponse, shape: (object: KubeObject) => object) {
    this.#response = response;
    this.#shape = shape;
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
  }

  sendObject(type: string, object: KubeObject): void {
    this.send(type, this.#shape(object));
  }

  send(type: string, object: object): void {
    if (this.#response.destroyed || this.#response.writableEnded) return;
    if (this.#response.writableLength > MAX_BACKLOG) this.#response.destroy();
    else this.#response.write(`${JSON.stringify({ type, object })}\n`);
  }
}
