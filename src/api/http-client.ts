/**
 * ApiClient over HTTP: paths, pages, patch types, watches (http-calls.ts makes the single request). Fails only with `Api*` codes or `Aborted`;
 * no message and no log line holds a body or a credential. Made once by the agent for the node's credentials.
 */

import type { IncomingMessage } from "node:http";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type {
  ApiClient,
  ListOptions,
  ObjectList,
  ObjectRef,
  PatchType,
  WatchEvent,
  WatchOptions,
} from "./client.ts";
import { type ApiClientOptions, HttpCalls } from "./http-calls.ts";
import { resourcePath } from "./resource-path.ts";
import type { Resource } from "./resources.ts";
import type { StoredObject } from "./types.ts";
import { decodeWatchLine, LineSplitter } from "./watch-decoder.ts";

const PAGE_SIZE = 500;
/** Watches end by the server's hand after 5 to 10 minutes, as client-go asks. */
const MIN_WATCH_SECONDS = 300;
/** How much longer than that the connection may stay open. */
const WATCH_GRACE_MS = 30_000;

const PATCH_CONTENT_TYPE: Readonly<Record<PatchType, string>> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
};

interface WireList<T> {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly T[] | null;
}

export function createApiClient(options: ApiClientOptions): ApiClient {
  return new HttpApiClient(options);
}

class HttpApiClient implements ApiClient {
  readonly #options: ApiClientOptions;
  readonly #calls: HttpCalls;
  /** The streams of watches, to be opened anew when the client certificate changes. */
  readonly #watches = new Set<IncomingMessage>();

  constructor(options: ApiClientOptions) {
    this.#options = options;
    this.#calls = new HttpCalls(options);
    options.credentials.onChange?.(() => {
      const open = [...this.#watches];
      this.#watches.clear();
      for (const response of open) response.destroy();
    });
  }

  get<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    signal: AbortSignal,
  ): Promise<T> {
    return this.#calls.call({ method: "GET", path: resourcePath(resource, ref) }, signal);
  }

  async list<T extends StoredObject>(
    resource: Resource<T>,
    options: ListOptions,
    signal: AbortSignal,
  ): Promise<ObjectList<T>> {
    try {
      return await this.#pages(resource, options, signal);
    } catch (error) {
      if (!hasCode(error, "ApiExpired")) throw error;
      // The snapshot behind the pages was compacted away while we read: take the whole list at once.
      return this.#pages(resource, { ...options, limit: 0 }, signal);
    }
  }

  async *watch<T extends StoredObject>(
    resource: Resource<T>,
    options: WatchOptions,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    const seconds = Math.floor(MIN_WATCH_SECONDS * (1 + this.#options.random()));
    const query = selectors(options);
    query.set("watch", "true");
    query.set("allowWatchBookmarks", "true");
    query.set("timeoutSeconds", String(seconds));
    query.set("resourceVersion", options.resourceVersion);
    const path = `${resourcePath(resource, options)}?${query}`;
    const doing = `watching ${resource.plural}`;
    const controller = new AbortController();
    const onAbort = (): void =>
      controller.abort(new LongshoreError("Aborted", `${doing}: stopped`));
    const timer = this.#options.clock.after(seconds * 1000 + WATCH_GRACE_MS, () =>
      controller.abort(
        new LongshoreError("ApiTimeout", `${doing}: the server neither sent nor closed`),
      ),
    );
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    let response: IncomingMessage | undefined;
    try {
      response = await this.#calls.openStream(path, doing, controller.signal);
      this.#watches.add(response);
      yield { kind: "bookmark", resourceVersion: options.resourceVersion };
      yield* this.#events<T>(response, doing, controller.signal);
    } finally {
      if (response !== undefined) this.#watches.delete(response);
      timer.cancel();
      signal.removeEventListener("abort", onAbort);
      controller.abort(new LongshoreError("Aborted", `${doing}: no longer read`));
    }
  }

  create<T extends StoredObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    body: object,
    signal: AbortSignal,
  ): Promise<T> {
    const path = resourcePath(resource, namespace === undefined ? {} : { namespace });
    return this.#calls.call({ method: "POST", path, body }, signal);
  }

  update<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly subresource?: string },
    body: object,
    signal: AbortSignal,
  ): Promise<T> {
    return this.#calls.call({ method: "PUT", path: resourcePath(resource, ref), body }, signal);
  }

  patch<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly subresource?: string; readonly type: PatchType },
    body: object,
    signal: AbortSignal,
  ): Promise<T> {
    const path = resourcePath(resource, ref);
    const contentType = PATCH_CONTENT_TYPE[ref.type];
    return this.#calls.call({ method: "PATCH", path, body, contentType }, signal);
  }

  async delete<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly gracePeriodSeconds?: number; readonly uid?: string },
    signal: AbortSignal,
  ): Promise<void> {
    const { gracePeriodSeconds, uid } = ref;
    const body = {
      apiVersion: "v1",
      kind: "DeleteOptions",
      ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
      ...(uid === undefined ? {} : { preconditions: { uid } }),
    };
    await this.#calls.call({ method: "DELETE", path: resourcePath(resource, ref), body }, signal);
  }

  createSubresource<R>(
    resource: Resource<StoredObject>,
    ref: ObjectRef & { readonly subresource: string },
    body: object,
    signal: AbortSignal,
  ): Promise<R> {
    return this.#calls.call({ method: "POST", path: resourcePath(resource, ref), body }, signal);
  }

  close(): void {
    this.#calls.close();
  }

  async #pages<T extends StoredObject>(
    resource: Resource<T>,
    options: ListOptions,
    signal: AbortSignal,
  ): Promise<ObjectList<T>> {
    const limit = options.limit ?? PAGE_SIZE;
    const apiVersion =
      resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
    const items: T[] = [];
    let next = "";
    for (;;) {
      const query = selectors(options);
      if (limit > 0) query.set("limit", String(limit));
      if (next !== "") query.set("continue", next);
      const path = `${resourcePath(resource, options)}?${query}`;
      const page = await this.#calls.call<WireList<T>>({ method: "GET", path }, signal);
      // Items of a list come without their type.
      for (const item of page.items ?? []) items.push({ apiVersion, kind: resource.kind, ...item });
      next = page.metadata?.continue ?? "";
      if (next === "") return { items, resourceVersion: page.metadata?.resourceVersion ?? "" };
    }
  }

  async *#events<T extends StoredObject>(
    response: IncomingMessage,
    doing: string,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    const splitter = new LineSplitter();
    try {
      for await (const chunk of response) {
        for (const line of splitter.push(chunk as Buffer)) yield decodeWatchLine<T>(line, doing);
      }
    } catch (error) {
      // Not in the set any more: ended by us, which to its reader is as if the server had closed it.
      if (this.#watches.has(response)) throw this.#calls.failure(error, doing, signal);
    }
  }
}

function selectors(options: ListOptions): URLSearchParams {
  const query = new URLSearchParams();
  if (options.labelSelector !== undefined) query.set("labelSelector", options.labelSelector);
  if (options.fieldSelector !== undefined) query.set("fieldSelector", options.fieldSelector);
  return query;
}
