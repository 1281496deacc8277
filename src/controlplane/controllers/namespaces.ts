/**
 * Namespaces: the four that always exist, the ServiceAccount and the root certificate that each one holds, and the
 * emptying of one that is being deleted, pods with their grace. A namespace goes when nothing is left in it.
 * Started by install.ts.
 */

import { deleteObject, finishNamespace } from "../deletion.ts";
import type { KubeObject } from "../objects.ts";
import {
  CONFIG_MAPS,
  NAMESPACES,
  RESOURCE_TYPES,
  type ResourceType,
  SERVICE_ACCOUNTS,
} from "../registry.ts";
import type { StoreEvent } from "../store.ts";
import { type Controller, type ControllerContext, createLoop } from "./loop.ts";

export const SYSTEM_NAMESPACES = ["default", "kube-system", "kube-public", "kube-node-lease"];
const ROOT_CA = "kube-root-ca.crt";
/** Finalizers of others may hold an object; look again after this. */
const RECHECK_MS = 1000;

export function createNamespaceController(
  context: ControllerContext & { readonly rootCa: string },
): Controller {
  const { store } = context;
  const loop = createLoop(context, {
    name: "namespace",
    types: [undefined],
    initialKeys: () => store.list(NAMESPACES).items.map((it) => it.metadata.name),
    keysOf: namespacesOf,
    sync: (name) => syncNamespace(context, name),
  });
  return {
    start() {
      for (const name of SYSTEM_NAMESPACES) ensure(context, NAMESPACES, namespaceObject(name));
      loop.start();
    },
    stop: () => loop.stop(),
  };
}

function namespacesOf({ resource, type, object }: StoreEvent): string[] {
  if (resource === NAMESPACES) return [object.metadata.name];
  const { namespace } = object.metadata;
  return type === "DELETED" && namespace !== undefined ? [namespace] : [];
}

function syncNamespace(
  context: ControllerContext & { readonly rootCa: string },
  name: string,
): number | undefined {
  const namespace = context.store.get(NAMESPACES, undefined, name);
  if (namespace === undefined) return undefined;
  if (namespace.metadata.deletionTimestamp !== undefined) return emptyNamespace(context, name);
  ensure(context, SERVICE_ACCOUNTS, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default", namespace: name },
  });
  ensure(context, CONFIG_MAPS, {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: ROOT_CA,
      namespace: name,
      annotations: {
        "kubernetes.io/description":
          "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
      },
    },
    data: { "ca.crt": context.rootCa },
  });
  return undefined;
}

/** Asks for the deletion of all that is left; milliseconds until the next look, or undefined when done. */
function emptyNamespace(context: ControllerContext, name: string): number | undefined {
  const { store } = context;
  let left = 0;
  for (const type of RESOURCE_TYPES.filter((it) => it.namespaced)) {
    for (const { metadata } of store.list(type, name).items) {
      // Asking again would not hurt, but a pod whose grace runs need not be asked.
      const isAsked = metadata.deletionTimestamp !== undefined;
      const target = { type, namespace: name, name: metadata.name };
      if (isAsked || !deleteObject(context, target).isGone) left += 1;
    }
  }
  if (left > 0) return RECHECK_MS;
  finishNamespace(store, name);
  context.log.info({ namespace: name }, "namespace deleted");
  return undefined;
}

function namespaceObject(name: string): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name, labels: { "kubernetes.io/metadata.name": name } },
    spec: { finalizers: ["kubernetes"] },
    status: { phase: "Active" },
  };
}

/** Creates what is missing, and puts `data` right where it is ours. */
function ensure({ store }: ControllerContext, type: ResourceType, wanted: KubeObject): void {
  const { namespace, name } = wanted.metadata;
  if (store.get(type, namespace, name) === undefined) store.create(type, wanted);
  else if (wanted.data !== undefined)
    store.update(type, namespace, name, (current) => ({ ...current, data: wanted.data }));
}
