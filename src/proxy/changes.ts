/**
 * Which Services must be looked at again: follows the stores of Services and EndpointSlices, knows the slices of each
 * Service, and remembers the keys of those of which something changed. Slices may come before their Service.
 * Owned by one Proxier.
 */

import { keyOf, type Store } from "../api/store.ts";
import type { EndpointSlice, Service } from "../api/types.ts";
import { serviceKeyOf } from "./endpoints.ts";
import type { ServiceObjects } from "./service-rules.ts";

export interface ChangedServices {
  readonly keys: ReadonlySet<string>;
  /** When the changes of endpoints behind it happened, as their writer says; milliseconds since the epoch. */
  readonly triggers: readonly number[];
}

const TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time";

export class ServiceChanges {
  readonly #services: Store<Service>;
  readonly #endpointSlices: Store<EndpointSlice>;
  readonly #slices = new Map<string, readonly EndpointSlice[]>();
  #keys = new Set<string>();
  #triggers: number[] = [];

  constructor(services: Store<Service>, endpointSlices: Store<EndpointSlice>) {
    this.#services = services;
    this.#endpointSlices = endpointSlices;
  }

  get isSynced(): boolean {
    return this.#services.isSynced && this.#endpointSlices.isSynced;
  }

  /** Call once. `onChange` is called for each change from now on, and what the stores hold counts as changed. */
  start(onChange: () => void): void {
    for (const service of this.#services.list()) this.#keys.add(keyOf(service));
    for (const slice of this.#endpointSlices.list()) this.#change(undefined, slice);
    this.#triggers = [];
    this.#services.onChange(({ key }) => {
      this.#keys.add(key);
      onChange();
    });
    this.#endpointSlices.onChange((change) => {
      const object = change.kind === "applied" ? change.object : undefined;
      this.#change(change.previous, object);
      onChange();
    });
  }

  /** What changed since the last call. */
  take(): ChangedServices {
    const taken = { keys: this.#keys, triggers: this.#triggers };
    this.#keys = new Set();
    this.#triggers = [];
    return taken;
  }

  /** What could not be brought to the kernel: it counts as changed again. */
  putBack({ keys, triggers }: ChangedServices): void {
    this.#keys = this.#keys.union(keys);
    this.#triggers.unshift(...triggers);
  }

  objectsOf(key: string): ServiceObjects {
    return { service: this.#services.get(key), endpointSlices: this.#slices.get(key) ?? [] };
  }

  #change(previous: EndpointSlice | undefined, object: EndpointSlice | undefined): void {
    const was = previous === undefined ? undefined : serviceKeyOf(previous);
    const is = object === undefined ? undefined : serviceKeyOf(object);
    if (was !== undefined && previous !== undefined)
      this.#keep(was, without(this.#at(was), previous));
    if (is === undefined || object === undefined) return;
    this.#keep(is, [...without(this.#at(is), object), object]);
    const trigger = Date.parse(object.metadata.annotations?.[TRIGGER_TIME] ?? "");
    if (!Number.isNaN(trigger)) this.#triggers.push(trigger);
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
