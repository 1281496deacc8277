/**
 * Which Services must be looked at again: follows the stores of Services and EndpointSlices, knows the slices of each
 * Service in one address family, and remembers the keys of those of which something changed. Slices may come before
 * their Service. Owned by one Proxier.
 */

import { keyOf, type Store } from "../api/store.ts";
import type { EndpointSlice, Service } from "../api/types.ts";
import type { Family } from "../core/ip.ts";
import { serviceKeyOf } from "./endpoints.ts";
import type { ServiceObjects } from "./service-rules.ts";

export class ServiceChanges {
  readonly #services: Store<Service>;
  readonly #endpointSlices: Store<EndpointSlice>;
  readonly #family: Family;
  readonly #slices = new Map<string, readonly EndpointSlice[]>();
  #keys = new Set<string>();

  constructor(services: Store<Service>, endpointSlices: Store<EndpointSlice>, family: Family) {
    this.#services = services;
    this.#endpointSlices = endpointSlices;
    this.#family = family;
  }

  get isSynced(): boolean {
    return this.#services.isSynced && this.#endpointSlices.isSynced;
  }

  /** Call once. `onChange` is called for each change from now on, and what the stores hold counts as changed. */
  start(onChange: () => void): void {
    for (const service of this.#services.list()) this.#keys.add(keyOf(service));
    for (const slice of this.#endpointSlices.list()) this.#change(undefined, this.#ours(slice));
    this.#services.onChange(({ key }) => {
      this.#keys.add(key);
      onChange();
    });
    this.#endpointSlices.onChange((change) => {
      const object = change.kind === "applied" ? this.#ours(change.object) : undefined;
      const previous = this.#ours(change.previous);
      if (object === undefined && previous === undefined) return;
      this.#change(previous, object);
      onChange();
    });
  }

  /** Keys of what changed since the last call. */
  take(): ReadonlySet<string> {
    const taken = this.#keys;
    this.#keys = new Set();
    return taken;
  }

  /** What could not be looked at after all counts as changed again. */
  putBack(keys: ReadonlySet<string>): void {
    this.#keys = this.#keys.union(keys);
  }

  objectsOf(key: string): ServiceObjects {
    return { service: this.#services.get(key), endpointSlices: this.#slices.get(key) ?? [] };
  }

  /** A slice of the family; undefined for others, which are another proxier's. */
  #ours(slice: EndpointSlice | undefined): EndpointSlice | undefined {
    return slice?.addressType === this.#family ? slice : undefined;
  }

  #change(previous: EndpointSlice | undefined, object: EndpointSlice | undefined): void {
    const was = previous === undefined ? undefined : serviceKeyOf(previous);
    const is = object === undefined ? undefined : serviceKeyOf(object);
    if (was !== undefined && previous !== undefined)
      this.#keep(was, without(this.#at(was), previous));
    if (is === undefined || object === undefined) return;
    this.#keep(is, without(this.#at(is), object).concat(object));
  }

  #at(key: string): readonly EndpointSlice[] {
    return this.#slices.get(key) ?? [];
  }

  #keep(key: string, slices: readonly EndpointSlice[]): void {
    if (slices.length === 0) this.#slices.delete(key);
    else this.#slices.set(key, slices);
    this.#keys.add(key);
  }
}

function without(slices: readonly EndpointSlice[], gone: EndpointSlice): readonly EndpointSlice[] {
  return slices.filter((slice) => slice.metadata.name !== gone.metadata.name);
}
