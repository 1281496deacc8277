/**
 * Watches: a stream of JSON lines from a resource version on, through a selector, with a synthetic DELETED when an
 * object leaves the selection. Called by server.ts; ends with its connection or its timeout.
 */

import type { ServerResponse } from "node:http";
import type { Clock } from "../core/clock.ts";
import { type RestCall, selectorOf } from "./rest.ts";
import { expired } from "./status-error.ts";
import type { Store, StoreEvent } from "./store.ts";

/** Throws 400 and 410 before anything is sent. */
export function serveWatch(
  context: { readonly store: Store; readonly clock: Clock },
  call: RestCall,
  response: ServerResponse,
): void {
  const { type, namespace } = call.path;
  const selects = selectorOf(call);
  const from = call.query.get("resourceVersion") ?? "";
  const isFresh = from === "" || from === "0";
  const missed = isFresh ? [] : context.store.eventsSince(type, Number(from));
  if (missed === "expired") throw expired(`too old resource version: ${from}`);
  const write = (kind: string, object: object): void => {
    response.write(`${JSON.stringify({ type: kind, object })}\n`);
  };
  const send = (event: StoreEvent): void => {
    if (namespace !== undefined && event.object.metadata.namespace !== namespace) return;
    const was = event.previous !== undefined && selects(event.previous);
    const is = event.type !== "DELETED" && selects(event.object);
    if (is) write(was ? "MODIFIED" : "ADDED", event.object);
    else if (was) write("DELETED", event.object);
  };
  response.writeHead(200, { "content-type": "application/json" });
  response.flushHeaders();
  if (isFresh)
    for (const item of context.store.list(type, namespace, selects).items) write("ADDED", item);
  for (const event of missed) send(event);
  const unsubscribe = context.store.subscribe(type, send);
  const seconds = Number(call.query.get("timeoutSeconds") ?? 1800);
  const timer = context.clock.after(seconds * 1000, () => response.end());
  response.on("close", () => {
    timer.cancel();
    unsubscribe();
  });
}
