/**
 * An API server's storage behind ApiClient, in memory: resourceVersions, conflicts, watches that replay, graceful
 * deletion of pods, status as a subresource. Tests put objects in, look at what is there and at `calls`, make the next
 * calls fail, and cut watches. What it does not model it refuses as a Bug rather than guessing.
 */

import type {
  ApiClient,
  ListOptions,
  ObjectList,
  ObjectRef,
  PatchType,
  WatchEvent,
  WatchOptions,
} from "../../src/api/client.ts";
import type { Resource } from "../../src/api/resources.ts";
import type { Pod, StoredObject } from "../../src/api/types.ts";
import { type Clock, formatTime } from "../../src/core/clock.ts";
import { type ErrorCode, LongshoreError } from "../../src/core/errors.ts";
import { FakeClock } from "./clock.ts";
import { applyPatch } from "./patch.ts";
import { isSelected } from "./selectors.ts";

export type Verb =
  | "get"
  | "list"
  | "watch"
  | "create"
  | "update"
  | "patch"
  | "delete"
  | "createSubresource";

export interface RecordedCall {
  readonly verb: Verb;
  /** Plural name. */
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
  readonly body?: object;
}

/** Undefined matches everything. */
export interface FailureMatch {
  readonly verb?: Verb;
  readonly resource?: string;
}

interface Change {
  readonly version: number;
  readonly resource: string;
  readonly object: StoredObject;
  readonly previous: StoredObject | undefined;
  readonly isDeleted: boolean;
}

type SubresourceHandler = (ref: ObjectRef, body: object) => object;

/** Resources whose status changes only through the subresource. */
const WITH_STATUS = ["pods", "nodes", "services"];

export class FakeApi implements ApiClient {
  readonly calls: RecordedCall[] = [];
  readonly #clock: Clock;
  readonly #objects = new Map<string, StoredObject>();
  readonly #history: Change[] = [];
  readonly #wakers = new Set<() => void>();
  readonly #failures: { readonly code: ErrorCode; readonly match: FailureMatch }[] = [];
  readonly #subresources = new Map<string, SubresourceHandler>();
  #version = 100;
  #oldestVersion = 0;
  #watchGeneration = 0;
  #nextUid = 1;
  #openWatches = 0;

  constructor(clock: Clock = new FakeClock()) {
    this.#clock = clock;
  }

  /** Stores objects as they are, as somebody else's write: no call is recorded, watches see it. */
  put<T extends StoredObject>(resource: Resource<T>, ...objects: readonly T[]): void {
    for (const object of objects) this.#write(resource, object);
  }

  /** Removes an object at once, as somebody else's write. */
  remove(resource: Resource<StoredObject>, ref: ObjectRef): void {
    this.#erase(resource, this.#read(resource, ref));
  }

  /** What is stored, or undefined; records no call. */
  peek<T extends StoredObject>(resource: Resource<T>, ref: ObjectRef): T | undefined {
    return this.#objects.get(pathOf(resource, ref)) as T | undefined;
  }

  /** All that is stored of a resource; records no call. */
  peekAll<T extends StoredObject>(resource: Resource<T>): readonly T[] {
    const prefix = `${prefixOf(resource)}/`;
    return [...this.#objects].filter(([path]) => path.startsWith(prefix)).map(([, o]) => o as T);
  }

  /** The next call that matches fails with `code`. Several queue up. */
  failNext(code: ErrorCode, match: FailureMatch = {}): void {
    this.#failures.push({ code, match });
  }

  /** Answers POSTs to `plural/subresource`; without one they are refused. */
  onSubresource(plural: string, subresource: string, handler: SubresourceHandler): void {
    this.#subresources.set(`${plural}/${subresource}`, handler);
  }

  /** Ends every open watch normally, as a server does after timeoutSeconds. */
  closeWatches(): void {
    this.#watchGeneration++;
    this.#wake();
  }

  /** Forgets the history: a watch from before the last write gets 410, an open one too. */
  compact(): void {
    this.#oldestVersion = this.#version;
    this.#history.length = 0;
    this.#wake();
  }

  get openWatches(): number {
    return this.#openWatches;
  }

  async get<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    signal: AbortSignal,
  ): Promise<T> {
    this.#begin({ verb: "get", resource: resource.plural, ...ref }, signal);
    return this.#read(resource, ref);
  }

  async list<T extends StoredObject>(
    resource: Resource<T>,
    options: ListOptions,
    signal: AbortSignal,
  ): Promise<ObjectList<T>> {
    const { namespace } = options;
    this.#begin(
      {
        verb: "list",
        resource: resource.plural,
        ...(namespace === undefined ? {} : { namespace }),
      },
      signal,
    );
    const items = this.peekAll(resource).filter((object) => isSelected(object, options));
    return { items, resourceVersion: String(this.#version) };
  }

  async *watch<T extends StoredObject>(
    resource: Resource<T>,
    options: WatchOptions,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    this.#begin({ verb: "watch", resource: resource.plural }, signal);
    const generation = this.#watchGeneration;
    let seen = Number(options.resourceVersion);
    this.#openWatches++;
    try {
      this.#refuseExpired(seen);
      yield { kind: "bookmark", resourceVersion: options.resourceVersion };
      while (generation === this.#watchGeneration) {
        this.#refuseExpired(seen);
        const change = this.#history.find((entry) => entry.version > seen);
        if (change === undefined) {
          await this.#change(signal);
          continue;
        }
        seen = change.version;
        if (change.resource !== prefixOf(resource)) continue;
        const event = eventOf<T>(change, options);
        if (event !== undefined) yield event;
      }
    } finally {
      this.#openWatches--;
    }
  }

  async create<T extends StoredObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    body: object,
    signal: AbortSignal,
  ): Promise<T> {
    const given = structuredClone(body) as T;
    const ref = { ...(namespace === undefined ? {} : { namespace }), name: given.metadata.name };
    this.#begin({ verb: "create", resource: resource.plural, ...ref, body: given }, signal);
    if (this.#objects.has(pathOf(resource, ref))) {
      throw new LongshoreError("ApiAlreadyExists", `${resource.plural} "${ref.name}" exists`, {
        status: 409,
      });
    }
    const creationTimestamp = formatTime(this.#clock.now());
    const uid = `fake-uid-${this.#nextUid++}`;
    const metadata = { ...given.metadata, ...ref, uid, creationTimestamp };
    return this.#write(resource, { ...given, metadata });
  }

  async update<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly subresource?: string },
    body: object,
    signal: AbortSignal,
  ): Promise<T> {
    const given = structuredClone(body) as T;
    this.#begin({ verb: "update", resource: resource.plural, ...ref, body: given }, signal);
    return this.#replace(resource, ref, this.#read(resource, ref), given);
  }

  async patch<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly subresource?: string; readonly type: PatchType },
    body: object,
    signal: AbortSignal,
  ): Promise<T> {
    const { type, ...place } = ref;
    const patch = structuredClone(body);
    this.#begin({ verb: "patch", resource: resource.plural, ...place, body: patch }, signal);
    const old = this.#read(resource, ref);
    return this.#replace(resource, ref, old, applyPatch(type, old, patch) as T);
  }

  async delete<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly gracePeriodSeconds?: number; readonly uid?: string },
    signal: AbortSignal,
  ): Promise<void> {
    const { gracePeriodSeconds, uid, ...place } = ref;
    const body = {
      ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
      ...(uid === undefined ? {} : { uid }),
    };
    this.#begin({ verb: "delete", resource: resource.plural, ...place, body }, signal);
    const object = this.#read(resource, ref);
    if (uid !== undefined && uid !== object.metadata.uid) throw conflict(resource, ref, "uid");
    if ((object.metadata.finalizers ?? []).length > 0) {
      throw new LongshoreError("Bug", "the fake API does not model finalizers");
    }
    const graceSeconds = graceOf(resource, object, gracePeriodSeconds);
    if (graceSeconds === 0) this.#erase(resource, object);
    else this.#markDeleted(resource, object, graceSeconds);
  }

  async createSubresource<R>(
    resource: Resource<StoredObject>,
    ref: ObjectRef & { readonly subresource: string },
    body: object,
    signal: AbortSignal,
  ): Promise<R> {
    this.#begin({ verb: "createSubresource", resource: resource.plural, ...ref, body }, signal);
    const handler = this.#subresources.get(`${resource.plural}/${ref.subresource}`);
    if (handler === undefined) {
      throw new LongshoreError("Bug", `no test handles ${resource.plural}/${ref.subresource}`);
    }
    return handler(ref, body) as R;
  }

  close(): void {
    this.closeWatches();
  }

  #begin(call: RecordedCall, signal: AbortSignal): void {
    if (signal.aborted) throw new LongshoreError("Aborted", "stopped while waiting");
    this.calls.push(call);
    const index = this.#failures.findIndex(
      ({ match }) =>
        (match.verb ?? call.verb) === call.verb &&
        (match.resource ?? call.resource) === call.resource,
    );
    const [failure] = index === -1 ? [] : this.#failures.splice(index, 1);
    if (failure !== undefined) {
      throw new LongshoreError(failure.code, `${call.verb} ${call.resource}: made to fail`);
    }
  }

  #read<T extends StoredObject>(resource: Resource<T>, ref: ObjectRef): T {
    const object = this.peek(resource, ref);
    if (object !== undefined) return object;
    throw new LongshoreError("ApiNotFound", `${resource.plural} "${ref.name}" not found`, {
      status: 404,
    });
  }

  #replace<T extends StoredObject>(
    resource: Resource<T>,
    ref: ObjectRef & { readonly subresource?: string },
    old: T,
    given: T,
  ): T {
    const { resourceVersion } = given.metadata;
    if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion) {
      throw conflict(resource, ref, "resourceVersion");
    }
    const { uid, creationTimestamp } = old.metadata;
    if (given.metadata.uid !== undefined && given.metadata.uid !== uid) {
      throw conflict(resource, ref, "uid");
    }
    const created = creationTimestamp === undefined ? {} : { creationTimestamp };
    const metadata = { ...given.metadata, uid, ...created };
    return this.#write(resource, { ...scoped(resource, ref.subresource, old, given), metadata });
  }

  #write<T extends StoredObject>(resource: Resource<T>, object: T): T {
    const path = pathOf(resource, object.metadata);
    const previous = this.#objects.get(path);
    const version = ++this.#version;
    const metadata = { ...object.metadata, resourceVersion: String(version) };
    const stored = deepFreeze(structuredClone({ ...object, metadata }));
    this.#objects.set(path, stored);
    this.#tell({
      version,
      resource: prefixOf(resource),
      object: stored,
      previous,
      isDeleted: false,
    });
    return stored;
  }

  #erase(resource: Resource<StoredObject>, object: StoredObject): void {
    this.#objects.delete(pathOf(resource, object.metadata));
    const version = ++this.#version;
    const metadata = { ...object.metadata, resourceVersion: String(version) };
    this.#tell({
      version,
      resource: prefixOf(resource),
      object: { ...object, metadata },
      previous: object,
      isDeleted: true,
    });
  }

  #markDeleted<T extends StoredObject>(resource: Resource<T>, object: T, seconds: number): void {
    const { deletionGracePeriodSeconds: earlier } = object.metadata;
    if (earlier !== undefined && earlier <= seconds) return;
    const metadata = {
      ...object.metadata,
      deletionTimestamp: formatTime(this.#clock.now() + seconds * 1000),
      deletionGracePeriodSeconds: seconds,
    };
    this.#write(resource, { ...object, metadata });
  }

  #tell(change: Change): void {
    this.#history.push(change);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakers) wake();
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => (): void => {
        this.#wakers.delete(wake);
        signal.removeEventListener("abort", onAbort);
        settle();
      };
      const wake = end(resolve);
      const onAbort = end(() => reject(new LongshoreError("Aborted", "stopped while waiting")));
      if (signal.aborted) return onAbort();
      this.#wakers.add(wake);
      signal.addEventListener("abort", onAbort);
    });
  }

  #refuseExpired(version: number): void {
    if (version >= this.#oldestVersion) return;
    throw new LongshoreError("ApiExpired", "too old resource version", { status: 410 });
  }
}

function prefixOf(resource: Resource<StoredObject>): string {
  return `${resource.group}/${resource.plural}`;
}

function pathOf(
  resource: Resource<StoredObject>,
  ref: { readonly namespace?: string; readonly name: string },
): string {
  if (resource.namespaced && ref.namespace === undefined) {
    throw new LongshoreError("Bug", `${resource.kind} ${ref.name} without a namespace`);
  }
  return `${prefixOf(resource)}/${resource.namespaced ? ref.namespace : ""}/${ref.name}`;
}

function conflict(resource: Resource<StoredObject>, ref: ObjectRef, field: string): LongshoreError {
  const message = `${resource.plural} "${ref.name}": another ${field} is stored`;
  return new LongshoreError("ApiConflict", message, { status: 409 });
}

/** What a write to the object, or to its status, may change. */
function scoped<T extends StoredObject>(
  resource: Resource<T>,
  subresource: string | undefined,
  old: T,
  given: T,
): T {
  const { status: oldStatus } = old as { status?: unknown };
  const { status } = given as { status?: unknown };
  if (subresource === "status") return { ...old, status };
  if (subresource !== undefined) {
    throw new LongshoreError("Bug", `the fake API has no ${resource.plural}/${subresource}`);
  }
  if (!WITH_STATUS.includes(resource.plural)) return given;
  return oldStatus === undefined ? given : { ...given, status: oldStatus };
}

/** Seconds until the object goes: only pods that are on a node wait. */
function graceOf(
  resource: Resource<StoredObject>,
  object: StoredObject,
  asked: number | undefined,
): number {
  if (resource.plural !== "pods") return 0;
  const { spec } = object as Pod;
  if (spec.nodeName === undefined) return 0;
  return asked ?? spec.terminationGracePeriodSeconds ?? 30;
}

/** What a watch with `options` hears of a change: an object that leaves the selection is deleted for it. */
function eventOf<T extends StoredObject>(
  change: Change,
  options: ListOptions,
): WatchEvent<T> | undefined {
  const object = change.object as T;
  const was = change.previous !== undefined && isSelected(change.previous, options);
  if (!change.isDeleted && isSelected(object, options)) return { kind: "applied", object };
  return was ? { kind: "deleted", object } : undefined;
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}
