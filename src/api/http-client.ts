/**
 * ApiClient over HTTP: paths, JSON, deadlines, pages, patch types, watches. Fails only with `Api*` codes or `Aborted`;
 * no message and no log line holds a body or a credential. Made once by the agent for the node's credentials.
 */

import type { IncomingMessage } from "node:http";
import { text as readText } from "node:stream/consumers";
import { sleep, withDeadline } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import {
  type ApiClient,
  CALL_DEADLINE_MS,
  type ListOptions,
  type ObjectList,
  type ObjectRef,
  type PatchType,
  type WatchEvent,
  type WatchOptions,
} from "./client.ts";
import type { ClusterCredentials } from "./credentials.ts";
import { parseStatus, retryAfterMs, statusError } from "./http-errors.ts";
import { type Exchange, HttpTransport } from "./http-transport.ts";
import { resourcePath } from "./resource-path.ts";
import type { Resource } from "./resources.ts";
import type { StoredObject } from "./types.ts";
import { decodeWatchLine, LineSplitter } from "./watch-decoder.ts";

export interface ApiClientOptions {
  readonly credentials: ClusterCredentials;
  readonly clock: Clock;
  /** Gives [0, 1); spreads the ends of watches. */
  readonly random: () => number;
  readonly log: Logger;
  /** e.g. "longshore/0.1.0". */
  readonly userAgent: string;
  /** Told of each request that was answered, or not (code `<error>`). */
  readonly onExchange?: (exchange: ApiExchange) => void;
}

/** One request as client-go counts it. */
export interface ApiExchange {
  readonly method: string;
  readonly host: string;
  readonly code: string;
  /** To the head of the answer. */
  readonly seconds: number;
}

const PAGE_SIZE = 500;
const MAX_RETRIES = 2;
/** Watches end by the server's hand after 5 to 10 minutes, as client-go asks. */
const MIN_WATCH_SECONDS = 300;
/** How much longer than that the connection may stay open, and how long the server may take to accept. */
const WATCH_GRACE_MS = 30_000;

const PATCH_CONTENT_TYPE: Readonly<Record<PatchType, string>> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
};

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
  readonly contentType?: string;
}

interface WireList<T> {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly T[] | null;
}

export function createApiClient(options: ApiClientOptions): ApiClient {
  return new HttpApiClient(options);
}

class HttpApiClient implements ApiClient {
  readonly #options: ApiClientOptions;
  readonly #transport: HttpTransport;
  /** The streams of watches, to be opened anew when the client certificate changes. */
  readonly #watches = new Set<IncomingMessage>();

  constructor(options: ApiClientOptions) {
    this.#options = options;
    this.#transport = new HttpTransport(options.credentials);
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
    return this.#call({ method: "GET", path: resourcePath(resource, ref) }, signal);
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
      response = await this.#openWatch(path, doing, controller.signal);
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
    return this.#call({ method: "POST", path, body }, signal);
  }

  update<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly subresource?: string },
    body: object,
    signal: AbortSignal,
  ): Promise<T> {
    return this.#call({ method: "PUT", path: resourcePath(resource, ref), body }, signal);
  }

  patch<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly subresource?: string; readonly type: PatchType },
    body: object,
    signal: AbortSignal,
  ): Promise<T> {
    const path = resourcePath(resource, ref);
    const contentType = PATCH_CONTENT_TYPE[ref.type];
    return this.#call({ method: "PATCH", path, body, contentType }, signal);
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
    await this.#call({ method: "DELETE", path: resourcePath(resource, ref), body }, signal);
  }

  createSubresource<R>(
    resource: Resource<StoredObject>,
    ref: ObjectRef & { readonly subresource: string },
    body: object,
    signal: AbortSignal,
  ): Promise<R> {
    return this.#call({ method: "POST", path: resourcePath(resource, ref), body }, signal);
  }

  close(): void {
    this.#transport.close();
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
      const page = await this.#call<WireList<T>>({ method: "GET", path }, signal);
      // Items of a list come without their type.
      for (const item of page.items ?? []) items.push({ apiVersion, kind: resource.kind, ...item });
      next = page.metadata?.continue ?? "";
      if (next === "") return { items, resourceVersion: page.metadata?.resourceVersion ?? "" };
    }
  }

  #call<R>(call: Call, signal: AbortSignal): Promise<R> {
    const doing = `${call.method} ${call.path}`;
    return withDeadline(
      {
        clock: this.#options.clock,
        ms: CALL_DEADLINE_MS,
        signal,
        code: "ApiTimeout",
        message: `${doing}: no answer within ${CALL_DEADLINE_MS / 1000} s`,
      },
      (inner) => this.#callWithRetries(call, doing, inner),
    );
  }

  async #callWithRetries<R>(call: Call, doing: string, signal: AbortSignal): Promise<R> {
    for (let attempt = 0; ; attempt++) {
      const { status, retryAfter, text } = await this.#exchange(call, doing, signal);
      if (status < 300) return parseBody<R>(text, doing);
      if (status === 401) this.#options.credentials.expire();
      const waitMs = attempt < MAX_RETRIES ? retryAfterMs(status, retryAfter) : undefined;
      if (waitMs === undefined) throw statusError(status, parseStatus(text), doing);
      this.#options.log.debug({ call: doing, status, waitMs }, "the API server asks to wait");
      await sleep(this.#options.clock, waitMs, signal);
    }
  }

  async #exchange(
    call: Call,
    doing: string,
    signal: AbortSignal,
  ): Promise<{ status: number; retryAfter: string | undefined; text: string }> {
    const response = await this.#send(
      {
        method: call.method,
        path: call.path,
        headers: this.#headers(call.body && (call.contentType ?? "application/json")),
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
        ownSocket: false,
      },
      signal,
    );
    try {
      const text = await readText(response);
      const retryAfter = response.headers["retry-after"];
      return { status: response.statusCode ?? 0, retryAfter, text };
    } catch (error) {
      throw this.#transport.failure(error, doing, signal);
    }
  }

  async #send(exchange: Exchange, signal: AbortSignal): Promise<IncomingMessage> {
    const { clock, onExchange, credentials } = this.#options;
    const startedAt = clock.monotonic();
    const tell = (code: string): void => {
      const seconds = (clock.monotonic() - startedAt) / 1000;
      onExchange?.({ method: exchange.method, host: credentials.server.host, code, seconds });
    };
    try {
      const response = await this.#transport.send(exchange, signal);
      tell(String(response.statusCode));
      return response;
    } catch (error) {
      if (!signal.aborted) tell("<error>");
      throw error;
    }
  }

  #openWatch(path: string, doing: string, signal: AbortSignal): Promise<IncomingMessage> {
    const deadline = {
      clock: this.#options.clock,
      ms: WATCH_GRACE_MS,
      signal,
      code: "ApiTimeout",
      message: `${doing}: not accepted within ${WATCH_GRACE_MS / 1000} s`,
    } as const;
    return withDeadline(deadline, async () => {
      const exchange = { method: "GET", path, headers: this.#headers(), ownSocket: true };
      // With the signal of the whole watch: it must outlive this deadline.
      const response = await this.#send(exchange, signal);
      if (response.statusCode === 200) return response;
      if (response.statusCode === 401) this.#options.credentials.expire();
      throw statusError(response.statusCode ?? 0, parseStatus(await readText(response)), doing);
    });
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
      if (this.#watches.has(response)) throw this.#transport.failure(error, doing, signal);
    }
  }

  #headers(contentType?: string): Record<string, string> {
    return {
      accept: "application/json",
      "user-agent": this.#options.userAgent,
      ...(contentType === undefined ? {} : { "content-type": contentType }),
    };
  }
}

function selectors(options: ListOptions): URLSearchParams {
  const query = new URLSearchParams();
  if (options.labelSelector !== undefined) query.set("labelSelector", options.labelSelector);
  if (options.fieldSelector !== undefined) query.set("fieldSelector", options.fieldSelector);
  return query;
}

function parseBody<R>(text: string, doing: string): R {
  try {
    return JSON.parse(text) as R;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // Not as cause: the message of a SyntaxError quotes the text, which may be a Secret.
    throw new LongshoreError("ApiServerError", `${doing}: the answer is not JSON`);
  }
}
