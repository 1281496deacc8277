/**
 * What a reflector knows: a readable cache of one resource that is replaced as a whole on a relist, so that readers
 * never see half a list. Written by the reflector only.
 */

import { orAborted } from "../core/abort.ts";
import type { StoredObject } from "./types.ts";

/** "namespace/name", or "name" for cluster-wide objects. */
export function keyOf(object: StoredObject): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined ? name : `${namespace}/${name}`;
}

export type StoreChange<T> =
  | { readonly kind: "applied"; readonly key: string; readonly object: T; readonly previous?: T }
  | { readonly kind: "deleted"; readonly key: string; readonly previous: T };

export interface Store<T extends StoredObject> {
  /** True once a whole list has been read. */
  readonly isSynced: boolean;
  /** Resolves when a whole list has been read; rejects with Aborted. */
  waitUntilSynced(signal: AbortSignal): Promise<void>;
  get(key: string): T | undefined;
  list(): readonly T[];
  /** Called after the store changed, once for each object, also for those a relist found changed or gone. */
  onChange(listener: (change: StoreChange<T>) => void): void;
}

export class MutableStore<T extends StoredObject> implements Store<T> {
  readonly #objects = new Map<string, T>();
  readonly #listeners: ((change: StoreChange<T>) => void)[] = [];
  readonly #synced = Promise.withResolvers<void>();
  #isSynced = false;

  get isSynced(): boolean {
    return this.#isSynced;
  }

  waitUntilSynced(signal: AbortSignal): Promise<void> {
    return orAborted(this.#synced.promise, signal);
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): readonly T[] {
    return [...this.#objects.values()];
  }

  onChange(listener: (change: StoreChange<T>) => void): void {
    this.#listeners.push(listener);
  }

  /** Swaps the whole content, then tells of each difference. */
  replace(objects: readonly T[]): void {
    const before = new Map(this.#objects);
    this.#objects.clear();
    for (const object of objects) this.#objects.set(keyOf(object), object);
    this.#isSynced = true;
    this.#synced.resolve();
    for (const [key, previous] of before) {
      if (!this.#objects.has(key)) this.#tell({ kind: "deleted", key, previous });
    }
    for (const [key, object] of this.#objects) {
      const previous = before.get(key);
      if (previous?.metadata.resourceVersion === object.metadata.resourceVersion) continue;
      this.#tell({ kind: "applied", key, object, ...(previous === undefined ? {} : { previous }) });
    }
  }

  apply(object: T): void {
    const key = keyOf(object);
    const previous = this.#objects.get(key);
    this.#objects.set(key, object);
    this.#tell({ kind: "applied", key, object, ...(previous === undefined ? {} : { previous }) });
  }

  delete(object: T): void {
    const key = keyOf(object);
    const previous = this.#objects.get(key);
    if (previous === undefined) return;
    this.#objects.delete(key);
    this.#tell({ kind: "deleted", key, previous });
  }

  #tell(change: StoreChange<T>): void {
    for (const listener of this.#listeners) listener(change);
  }
}
