/**
 * Keeps a Store equal to one resource of the API server: list, then watch, for ever. A state and one step from it to the
 * next; the store is swapped whole on a relist; failures wait longer each time and are logged once until it works again.
 * Made by agent.ts, one per resource (and by pods/ for single Secrets and ConfigMaps).
 */

import { sleep } from "../core/abort.ts";
import { jitteredDelay } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { assertNever, hasCode, LongshoreError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { ApiClient, ListOptions, WatchEvent } from "./client.ts";
import type { Resource } from "./resources.ts";
import { MutableStore, type Store } from "./store.ts";
import type { StoredObject } from "./types.ts";

export type ReflectorState =
  /** Nothing is known, or what is known is too old to go on from: next is a list. */
  | { readonly kind: "empty" }
  /** The store holds `resourceVersion`: next is a watch from there. */
  | { readonly kind: "watching"; readonly resourceVersion: string }
  /** The last try failed: next is `then`, after a while. */
  | { readonly kind: "backing-off"; readonly delayMs: number; readonly then: ActiveState };

type ActiveState = Extract<ReflectorState, { kind: "empty" | "watching" }>;

export interface ReflectorOptions<T extends StoredObject> {
  readonly client: ApiClient;
  readonly resource: Resource<T>;
  readonly options: Pick<ListOptions, "namespace" | "labelSelector" | "fieldSelector">;
  readonly clock: Clock;
  /** Gives [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** For logs and health, e.g. "pods". */
  readonly name: string;
  /** What of an object goes into the store; by default all but managedFields. Must keep the metadata it is known by. */
  readonly keep?: (object: T) => T;
}

const BACKOFF = { initialMs: 1_600, maxMs: 60_000 };
/** A watch without events that ends sooner than this was refused rather than served. */
const SHORT_WATCH_MS = 1_000;

export class Reflector<T extends StoredObject> {
  readonly #options: ReflectorOptions<T>;
  readonly #store = new MutableStore<T>();
  readonly #controller = new AbortController();
  #state: ReflectorState = { kind: "empty" };
  #isConnected = false;
  #failures = 0;
  #hasWarned = false;
  #running: Promise<void> | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = { ...options, log: options.log.child({ reflector: options.name }) };
  }

  get store(): Store<T> {
    return this.#store;
  }

  get state(): ReflectorState {
    return this.#state;
  }

  /** True while the last thing heard from the server was no failure. For `healthz`. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  start(): void {
    this.#running ??= this.#run(this.#controller.signal);
  }

  /** The store keeps its last content. */
  async stop(): Promise<void> {
    this.#controller.abort();
    await this.#running;
    this.#isConnected = false;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#state = await this.#step(this.#state, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#state = this.#afterFailure(error);
      }
    }
  }

  async #step(state: ReflectorState, signal: AbortSignal): Promise<ReflectorState> {
    switch (state.kind) {
      case "empty":
        return this.#list(signal);
      case "watching":
        return this.#watch(state.resourceVersion, signal);
      case "backing-off":
        await sleep(this.#options.clock, state.delayMs, signal);
        return state.then;
      default:
        return assertNever(state);
    }
  }

  async #list(signal: AbortSignal): Promise<ReflectorState> {
    const { client, resource, options, keep = withoutManagers } = this.#options;
    const list = await client.list(resource, options, signal);
    this.#store.replace(list.items.map((object) => keep(object)));
    this.#onHeard();
    return { kind: "watching", resourceVersion: list.resourceVersion };
  }

  /** Follows one watch to its end. On the way `#state` has the version to resume from after a failure. */
  async #watch(from: string, signal: AbortSignal): Promise<ReflectorState> {
    const { client, resource, options, clock } = this.#options;
    const startedAt = clock.monotonic();
    let heard = 0;
    const watchOptions = { ...options, resourceVersion: from };
    for await (const event of client.watch(resource, watchOptions, signal)) {
      const resourceVersion = this.#take(event);
      this.#state = { kind: "watching", resourceVersion };
      this.#onHeard();
      heard++;
      // The first event only says that the server accepted the watch; it may still refuse it in the next.
      if (heard > 1) this.#failures = 0;
    }
    if (heard <= 1 && clock.monotonic() - startedAt < SHORT_WATCH_MS) {
      throw new LongshoreError(
        "ApiUnreachable",
        `watching ${resource.plural}: the server closed the stream at once`,
      );
    }
    this.#failures = 0;
    return this.#state;
  }

  /** Puts an event into the store and returns the resourceVersion that the store is at then. */
  #take(event: WatchEvent<T>): string {
    const { keep = withoutManagers } = this.#options;
    switch (event.kind) {
      case "applied":
        this.#store.apply(keep(event.object));
        return event.object.metadata.resourceVersion;
      case "deleted":
        this.#store.delete(event.object);
        return event.object.metadata.resourceVersion;
      case "bookmark":
        return event.resourceVersion;
      default:
        return assertNever(event);
    }
  }

  #onHeard(): void {
    this.#isConnected = true;
    if (!this.#hasWarned) return;
    this.#hasWarned = false;
    this.#options.log.info({}, `following ${this.#options.resource.plural} again`);
  }

  #afterFailure(error: unknown): ReflectorState {
    const failed = this.#state;
    const active: ActiveState = failed.kind === "backing-off" ? failed.then : failed;
    const isExpired = hasCode(error, "ApiExpired");
    const then: ActiveState = isExpired ? { kind: "empty" } : active;
    const attempt = this.#failures++;
    if (isExpired && attempt === 0) {
      this.#options.log.debug({ err: error }, "resourceVersion expired, listing again");
      return then;
    }
    this.#isConnected = false;
    this.#report(error);
    const delayMs = jitteredDelay(attempt, BACKOFF, this.#options.random);
    return { kind: "backing-off", delayMs: Math.min(delayMs, 30_000), then };
  }

  #report(error: unknown): void {
    const { log, resource } = this.#options;
    const isFirst = !this.#hasWarned;
    this.#hasWarned = true;
    const remedy = hasCode(error, "ApiForbidden")
      ? `; allow these credentials to list and watch ${resource.plural} (RBAC)`
      : "";
    const message = `cannot follow ${resource.plural}${remedy}`;
    if (isFirst) log.warn({ err: error }, message);
    else log.debug({ err: error }, message);
  }
}

/** Who wrote which field nobody here reads, and it is half of many an object. */
function withoutManagers<T extends StoredObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
