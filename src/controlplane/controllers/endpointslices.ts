/**
 * Keeps EndpointSlices and the legacy Endpoints of every Service with a selector at what endpoints.ts computes.
 * Slices made by hand (without our managed-by label) are never touched; an update that changes nothing is not one.
 * Slices that are new are written before those no longer wanted go. Started by install.ts.
 */

import type { Pod, Service } from "../../api/types.ts";
import type { KubeObject } from "../objects.ts";
import { withMeta } from "../objects.ts";
import { ENDPOINT_SLICES, ENDPOINTS, PODS, type ResourceType, SERVICES } from "../registry.ts";
import type { Store, StoreEvent } from "../store.ts";
import {
  computeEndpointSlices,
  computeEndpoints,
  hasManagedEndpoints,
  isSelected,
  MANAGED_BY,
  SERVICE_NAME,
  SLICE_CONTROLLER,
} from "./endpoints.ts";
import { type Controller, type ControllerContext, createLoop, keyOf, splitKey } from "./loop.ts";

export function createEndpointSliceController(context: ControllerContext): Controller {
  const { store } = context;
  return createLoop(context, {
    name: "endpointslice",
    types: [SERVICES, PODS, ENDPOINT_SLICES],
    initialKeys: () => [
      ...store.list(SERVICES).items.map(keyOf),
      ...store.list(ENDPOINT_SLICES).items.flatMap(serviceKeyOf),
    ],
    keysOf: (event) => {
      if (event.resource === SERVICES) return [keyOf(event.object)];
      if (event.resource === ENDPOINT_SLICES) return serviceKeyOf(event.object);
      return servicesOf(store, event);
    },
    sync: (key) => syncService(store, key),
  });
}

/** Only of slices that are ours. */
function serviceKeyOf({ metadata }: KubeObject): string[] {
  const service = metadata.labels?.[SERVICE_NAME];
  if (service === undefined || metadata.labels?.[MANAGED_BY] !== SLICE_CONTROLLER) return [];
  return [`${metadata.namespace}/${service}`];
}

/** The services that select the pod now, or did before its labels changed. */
function servicesOf(store: Store, { object, previous }: StoreEvent): string[] {
  const states = [object, ...(previous === undefined ? [] : [previous])] as unknown as Pod[];
  const { items } = store.list(SERVICES, object.metadata.namespace);
  return items
    .filter((item) => {
      const service = item as unknown as Service;
      return hasManagedEndpoints(service) && states.some((pod) => isSelected(service, pod));
    })
    .map(keyOf);
}

function syncService(store: Store, key: string): undefined {
  const { namespace, name } = splitKey(key);
  const found = store.get(SERVICES, namespace, name);
  const service = found as unknown as Service | undefined;
  const isManaged = service !== undefined && hasManagedEndpoints(service);
  const pods = store.list(PODS, namespace).items as unknown as readonly Pod[];
  const wanted = isManaged ? computeEndpointSlices(service, pods).map(asObject) : [];
  for (const slice of wanted) put(store, ENDPOINT_SLICES, slice);
  const names = new Set(wanted.map((slice) => slice.metadata.name));
  const ours = store.list(ENDPOINT_SLICES, namespace, (it) => serviceKeyOf(it).includes(key));
  for (const slice of ours.items) {
    if (names.has(slice.metadata.name)) continue;
    store.delete(ENDPOINT_SLICES, namespace, slice.metadata.name);
  }
  if (isManaged) put(store, ENDPOINTS, asObject(computeEndpoints(service, pods)));
  else if (service === undefined && store.get(ENDPOINTS, namespace, name) !== undefined)
    store.delete(ENDPOINTS, namespace, name);
}

function put(store: Store, type: ResourceType, wanted: KubeObject): void {
  const { namespace, name } = wanted.metadata;
  if (store.get(type, namespace, name) === undefined) {
    store.create(type, wanted);
    return;
  }
  store.update(type, namespace, name, (current) => ({
    ...withMeta(current, wanted.metadata),
    ...Object.fromEntries(Object.entries(wanted).filter(([field]) => field !== "metadata")),
  }));
}

function asObject(value: object): KubeObject {
  return value as KubeObject;
}
