/**
 * The API client as its users see it: typed calls by resource, each with a signal and a deadline, failing only with
 * LongshoreError codes `Api*` or `Aborted`. The HTTP behind it is http-client.ts; the fake is test/fakes/api.ts.
 */

import type { Resource } from "./resources.ts";
import type { StoredObject } from "./types.ts";

export interface ObjectRef {
  readonly namespace?: string;
  readonly name: string;
}

export interface ListOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Page size; the client follows `continue` and returns the whole list. */
  readonly limit?: number;
}

export interface ObjectList<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
}

export type WatchEvent<T> =
  | { readonly kind: "applied"; readonly object: T }
  | { readonly kind: "deleted"; readonly object: T }
  | { readonly kind: "bookmark"; readonly resourceVersion: string };

export interface WatchOptions extends ListOptions {
  readonly resourceVersion: string;
}

export type PatchType = "json" | "merge" | "strategic";

/** Default deadline of a call, in milliseconds. */
export const CALL_DEADLINE_MS = 15_000;

export interface ApiClient {
  get<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    signal: AbortSignal,
  ): Promise<T>;
  list<T extends StoredObject>(
    resource: Resource<T>,
    options: ListOptions,
    signal: AbortSignal,
  ): Promise<ObjectList<T>>;
  /**
   * Ends normally when the server closes the stream; throws ApiExpired on 410, also one sent as an ERROR event.
   * The first event is a bookmark of the version asked for, as soon as the server has accepted the watch.
   */
  watch<T extends StoredObject>(
    resource: Resource<T>,
    options: WatchOptions,
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent<T>>;
  create<T extends StoredObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    body: object,
    signal: AbortSignal,
  ): Promise<T>;
  /** PUT; `body.metadata.resourceVersion`, if set, must match or the call fails with ApiConflict. */
  update<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly subresource?: string },
    body: object,
    signal: AbortSignal,
  ): Promise<T>;
  patch<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly subresource?: string; readonly type: PatchType },
    body: object,
    signal: AbortSignal,
  ): Promise<T>;
  /** `uid` is a precondition: an object of the same name made since stays (ApiConflict). */
  delete<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly gracePeriodSeconds?: number; readonly uid?: string },
    signal: AbortSignal,
  ): Promise<void>;
  /** POST to a subresource such as `token` or `binding`. */
  createSubresource<R>(
    resource: Resource<StoredObject>,
    ref: ObjectRef & { readonly subresource: string },
    body: object,
    signal: AbortSignal,
  ): Promise<R>;
  /** Ends the kept-alive connections. */
  close(): void;
}
