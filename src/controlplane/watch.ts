/**
 * Watches: a stream of JSON lines from a resource version on, through a selector, with a synthetic DELETED when an
 * object leaves the selection. Called by server.ts; ends with its connection or its timeout.
 */

import type { ServerResponse } from "node:http";
import type { Clock } from "../core/clock.ts";
import { type Presentation, presentObject } from "./present.ts";
import { apiVersionOf } from "./registry.ts";
import { type RestCall, selectorOf } from "./rest.ts";
import { expired, StatusError } from "./status-error.ts";
import type { Store, StoreEvent } from "./store.ts";

export interface WatchContext {
  readonly store: Store;
  readonly clock: Clock;
}

export interface WatchRequest {
  readonly call: RestCall;
  readonly presentation: Presentation;
}

const BOOKMARK_INTERVAL_MS = 30_000;
const DEFAULT_TIMEOUT_SECONDS = 1_800;

/** Throws 400, 410 and 422 before anything is sent. */
export function serveWatch(
  context: WatchContext,
  request: WatchRequest,
  response: ServerResponse,
): void {
  const { call, presentation } = request;
  const { type, namespace } = call.path;
  const { store, clock } = context;
  if (call.query.has("sendInitialEvents"))
    throw new StatusError(
      422,
      "Invalid",
      "ListOptions.meta.k8s.io is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
    );
  const selects = selectorOf(call);
  const from = call.query.get("resourceVersion") ?? "";
  const isFresh = from === "" || from === "0";
  const missed = isFresh ? [] : store.eventsSince(type, Number(from));
  if (missed === "expired") throw expired(`too old resource version: ${from}`);
  const write = (kind: string, object: object): void => {
    response.write(`${JSON.stringify({ type: kind, object })}\n`);
  };
  const send = (event: StoreEvent): void => {
    if (namespace !== undefined && event.object.metadata.namespace !== namespace) return;
    const was = event.previous !== undefined && selects(event.previous);
    const is = event.type !== "DELETED" && selects(event.object);
    const now =
      presentation.kind === "table" ? { ...presentation, nowMs: clock.now() } : presentation;
    const object = presentObject(type, event.object, now).body as object;
    if (is) write(was ? "MODIFIED" : "ADDED", object);
    else if (was) write("DELETED", object);
  };
  response.writeHead(200, { "content-type": "application/json" });
  response.flushHeaders();
  if (isFresh) {
    for (const item of store.list(type, namespace, selects).items)
      write("ADDED", presentObject(type, item, presentation).body as object);
  }
  for (const event of missed) send(event);
  const unsubscribe = store.subscribe(type, send);
  const stopBookmarks = sendBookmarks(context, request, write);
  const seconds = Number(call.query.get("timeoutSeconds") ?? DEFAULT_TIMEOUT_SECONDS);
  const timer = clock.after(seconds * 1000, () => response.end());
  response.on("close", () => {
    timer.cancel();
    stopBookmarks();
    unsubscribe();
  });
}

/** A quiet watch would be left behind by the window of kept events; a bookmark tells how far it may skip. */
function sendBookmarks(
  { store, clock }: WatchContext,
  { call }: WatchRequest,
  write: (kind: string, object: object) => void,
): () => void {
  if (!["true", "1"].includes(call.query.get("allowWatchBookmarks") ?? "")) return () => undefined;
  const { type } = call.path;
  const tick = (): void => {
    const { resourceVersion } = store;
    write("BOOKMARK", {
      kind: type.kind,
      apiVersion: apiVersionOf(type),
      metadata: { resourceVersion },
    });
    timer = clock.after(BOOKMARK_INTERVAL_MS, tick);
  };
  let timer = clock.after(BOOKMARK_INTERVAL_MS, tick);
  return () => timer.cancel();
}
