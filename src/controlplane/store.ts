/**
 * The one owner of objects: a SQLite file, read whole into memory at `open` and written through in one transaction
 * for each change. Resource versions increase strictly across all resources and restarts. Objects handed out are
 * frozen. Every method is synchronous, so a read-modify-write cannot be interleaved. Called by REST and controllers.
 */

import { DatabaseSync, type StatementSync } from "node:sqlite";
import { isDeepStrictEqual } from "node:util";
import { type Clock, formatTime } from "../core/clock.ts";
import { LongshoreError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { type KubeObject, withMeta } from "./objects.ts";
import { apiVersionOf, RESOURCE_TYPES, type ResourceType, resourceName } from "./registry.ts";
import { alreadyExists, conflict, modified, notFound } from "./status-error.ts";

export interface StoreOptions {
  /** A file, or ":memory:". */
  readonly path: string;
  readonly clock: Clock;
  readonly randomUid: () => string;
  readonly log: Logger;
}

export interface StoreEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly resource: ResourceType;
  /** For DELETED: the last state, with the resource version of the deletion. */
  readonly object: KubeObject;
  readonly previous?: KubeObject;
  readonly resourceVersion: number;
}

export interface Precondition {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

export interface StoreList {
  /** Sorted by namespace, then name. */
  readonly items: readonly KubeObject[];
  readonly resourceVersion: string;
}

export type StoreListener = (event: StoreEvent) => void;

interface Statements {
  readonly put: StatementSync;
  readonly remove: StatementSync;
  readonly setVersion: StatementSync;
}

/** Events kept for watches that resume. Beyond that they get 410 and list again. */
const WINDOW = 2000;

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (resource, namespace, name)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS version (id INTEGER PRIMARY KEY CHECK (id = 0), value INTEGER NOT NULL);
  INSERT OR IGNORE INTO version VALUES (0, 0);
`;

export class Store {
  readonly #options: StoreOptions;
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #listeners = new Set<{
    readonly resource: ResourceType | undefined;
    readonly listener: StoreListener;
  }>();
  readonly #undelivered: StoreEvent[] = [];
  #window: StoreEvent[] = [];
  #windowStart = 0;
  #version = 0;
  #isDelivering = false;
  #database: DatabaseSync | undefined;
  #statements: Statements | undefined;

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  /** Throws when the file cannot be read or is not ours. */
  open(): void {
    const database = new DatabaseSync(this.#options.path);
    database.exec(SCHEMA);
    this.#database = database;
    this.#statements = {
      put: database.prepare("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)"),
      remove: database.prepare(
        "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?",
      ),
      setVersion: database.prepare("UPDATE version SET value = ? WHERE id = 0"),
    };
    this.#load(database);
  }

  close(): void {
    this.#listeners.clear();
    this.#database?.close();
    this.#database = undefined;
    this.#statements = undefined;
  }

  get resourceVersion(): string {
    return String(this.#version);
  }

  get(type: ResourceType, namespace: string | undefined, name: string): KubeObject | undefined {
    return this.#of(type).get(keyOf(namespace, name));
  }

  /** All of one resource, of one namespace when given. */
  list(
    type: ResourceType,
    namespace?: string,
    filter?: (object: KubeObject) => boolean,
  ): StoreList {
    const items = [...this.#of(type).entries()]
      .filter(([, object]) => namespace === undefined || object.metadata.namespace === namespace)
      .filter(([, object]) => filter === undefined || filter(object))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object);
    return { items, resourceVersion: String(this.#version) };
  }

  /** Fills in uid, creationTimestamp and resourceVersion. Throws AlreadyExists (409). */
  create(type: ResourceType, object: KubeObject): KubeObject {
    const { name, namespace } = object.metadata;
    if (this.get(type, namespace, name) !== undefined) throw alreadyExists(type, name);
    const stamped = withMeta(object, {
      uid: this.#options.randomUid(),
      creationTimestamp: formatTime(this.#options.clock.now()),
    });
    return this.#put(type, stamped, undefined);
  }

  /**
   * Replaces an object by what `change` makes of it; identity (name, namespace, uid, creation) stays whatever it
   * returns. Stores nothing and keeps the resource version when nothing changed. Throws NotFound (404).
   */
  update(
    type: ResourceType,
    namespace: string | undefined,
    name: string,
    change: (current: KubeObject) => KubeObject,
  ): KubeObject {
    const current = this.get(type, namespace, name);
    if (current === undefined) throw notFound(type, name);
    const changed = change(current);
    const { uid, creationTimestamp, resourceVersion } = current.metadata;
    const next = withMeta(changed, {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    });
    if (isDeepStrictEqual(next, current)) return current;
    return this.#put(type, next, current);
  }

  /** Really removes the object; whether a delete is graceful is decided by deletion.ts. Throws 404 and 409. */
  delete(
    type: ResourceType,
    namespace: string | undefined,
    name: string,
    precondition: Precondition = {},
  ): KubeObject {
    const current = this.get(type, namespace, name);
    if (current === undefined) throw notFound(type, name);
    checkPrecondition(type, current, precondition);
    const version = this.#version + 1;
    this.#transact(version, (statements) => {
      statements.remove.run(resourceName(type), namespace ?? "", name);
    });
    this.#of(type).delete(keyOf(namespace, name));
    const object = deepFreeze(withMeta(current, { resourceVersion: String(version) }));
    this.#publish({
      type: "DELETED",
      resource: type,
      object,
      previous: current,
      resourceVersion: version,
    });
    return object;
  }

  /**
   * Calls `listener` after each change of `type` (of everything when undefined), in the order of resource versions,
   * also when a listener itself writes. Returns the way to stop.
   */
  subscribe(type: ResourceType | undefined, listener: StoreListener): () => void {
    const entry = { resource: type, listener };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  /** What happened to `type` after a resource version, or "expired" when that is no longer known. */
  eventsSince(type: ResourceType, resourceVersion: number): readonly StoreEvent[] | "expired" {
    if (resourceVersion < this.#windowStart || resourceVersion > this.#version) return "expired";
    return this.#window.filter(
      (event) => event.resource === type && event.resourceVersion > resourceVersion,
    );
  }

  #load(database: DatabaseSync): void {
    const version = database.prepare("SELECT value FROM version").get()?.value;
    this.#version = Number(version);
    // A crash of the host may have lost the newest versions; skip ahead so that none is handed out twice.
    if (this.#version > 0) this.#version += 1000;
    this.#windowStart = this.#version;
    const known = new Set(RESOURCE_TYPES.map(resourceName));
    for (const row of database.prepare("SELECT resource, body FROM objects").all()) {
      if (!known.has(String(row.resource))) continue;
      const object = JSON.parse(String(row.body)) as KubeObject;
      const { namespace, name } = object.metadata;
      this.#ofName(String(row.resource)).set(keyOf(namespace, name), deepFreeze(object));
    }
    this.#options.log.debug({ version: this.#version }, "opened the object store");
  }

  #put(type: ResourceType, object: KubeObject, previous: KubeObject | undefined): KubeObject {
    const { namespace, name } = object.metadata;
    const version = this.#version + 1;
    const stored = deepFreeze({
      ...withMeta(object, { resourceVersion: String(version) }),
      apiVersion: apiVersionOf(type),
      kind: type.kind,
    });
    this.#transact(version, (statements) => {
      statements.put.run(resourceName(type), namespace ?? "", name, JSON.stringify(stored));
    });
    this.#of(type).set(keyOf(namespace, name), stored);
    this.#publish({
      type: previous === undefined ? "ADDED" : "MODIFIED",
      resource: type,
      object: stored,
      ...(previous === undefined ? {} : { previous }),
      resourceVersion: version,
    });
    return stored;
  }

  #transact(version: number, write: (statements: Statements) => void): void {
    const database = this.#database;
    const statements = this.#statements;
    if (database === undefined || statements === undefined)
      throw new LongshoreError("Bug", "the object store was used while closed");
    database.exec("BEGIN IMMEDIATE");
    try {
      write(statements);
      statements.setVersion.run(version);
      database.exec("COMMIT");
    } catch (error) {
      database.exec("ROLLBACK");
      throw error;
    }
    this.#version = version;
  }

  #publish(event: StoreEvent): void {
    this.#window.push(event);
    if (this.#window.length > WINDOW * 2) {
      this.#windowStart = this.#window[WINDOW - 1]?.resourceVersion ?? this.#version;
      this.#window = this.#window.slice(WINDOW);
    }
    this.#undelivered.push(event);
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    for (let next = this.#undelivered.shift(); next; next = this.#undelivered.shift()) {
      this.#deliver(next);
    }
    this.#isDelivering = false;
  }

  #deliver(event: StoreEvent): void {
    for (const { resource, listener } of [...this.#listeners]) {
      if (resource !== undefined && resource !== event.resource) continue;
      try {
        listener(event);
      } catch (err) {
        // One broken listener must neither fail the write that is already durable nor starve the others.
        this.#options.log.error(
          { err, resource: event.resource.plural },
          "a store listener failed",
        );
      }
    }
  }

  #of(type: ResourceType): Map<string, KubeObject> {
    return this.#ofName(resourceName(type));
  }

  #ofName(resource: string): Map<string, KubeObject> {
    const found = this.#objects.get(resource);
    if (found !== undefined) return found;
    const made = new Map<string, KubeObject>();
    this.#objects.set(resource, made);
    return made;
  }
}

/** Throws Conflict (409) when the object is not the one the caller means. */
export function checkPrecondition(
  type: ResourceType,
  current: KubeObject,
  precondition: Precondition,
): void {
  const { name, uid, resourceVersion } = current.metadata;
  if (precondition.uid !== undefined && precondition.uid !== uid) {
    const why = `Precondition failed: UID in precondition: ${precondition.uid}, UID in object meta: ${uid}`;
    throw conflict(type, name, why);
  }
  if (
    precondition.resourceVersion !== undefined &&
    precondition.resourceVersion !== resourceVersion
  ) {
    throw modified(type, name);
  }
}

function keyOf(namespace: string | undefined, name: string): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function deepFreeze<T>(value: T): T {
  if (value === null || typeof value !== "object" || Object.isFrozen(value)) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}
