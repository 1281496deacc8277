/**
 * Keeps what is in use: a claim stays until no pod that has a node uses it, a PersistentVolume until no claim is bound to
 * it, however early they are deleted. By upstream's finalizers. Started by install.ts.
 */

import type { PersistentVolume, Pod } from "../../api/types.ts";
import { isReleased } from "../deletion.ts";
import { type KubeObject, withMeta } from "../objects.ts";
import {
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  type ResourceType,
} from "../registry.ts";
import type { Store } from "../store.ts";
import { type Controller, type ControllerContext, createLoop } from "./loop.ts";

/** One key: a small cluster has few claims, and pods change what many of them are. */
const ALL = "all";
const OF_CLAIM = "kubernetes.io/pvc-protection";
const OF_VOLUME = "kubernetes.io/pv-protection";

export function createProtectionController(context: ControllerContext): Controller {
  return createLoop(context, {
    name: "volume-protection",
    types: [PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS],
    initialKeys: () => [ALL],
    keysOf: ({ resource, object }) =>
      resource !== PODS || claimsOf(object).length > 0 ? [ALL] : [],
    sync: () => syncAll(context.store),
  });
}

function syncAll(store: Store): undefined {
  const used = new Set(store.list(PODS).items.flatMap(claimsInUse));
  for (const claim of store.list(PERSISTENT_VOLUME_CLAIMS).items) {
    const { namespace, name } = claim.metadata;
    protect(store, PERSISTENT_VOLUME_CLAIMS, claim, OF_CLAIM, used.has(`${namespace}/${name}`));
  }
  for (const volume of store.list(PERSISTENT_VOLUMES).items) {
    const isBound = (volume as unknown as PersistentVolume).status?.phase === "Bound";
    protect(store, PERSISTENT_VOLUMES, volume, OF_VOLUME, isBound);
  }
}

/** The names of the claims in the pod's volumes, those it asks for itself too. */
function claimsOf(pod: KubeObject): readonly string[] {
  const { volumes = [] } = (pod as unknown as Pod).spec;
  return volumes.flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
    if (ephemeral !== undefined) return [`${pod.metadata.name}-${name}`];
    return persistentVolumeClaim === undefined ? [] : [persistentVolumeClaim.claimName];
  });
}

function claimsInUse(pod: KubeObject): readonly string[] {
  const { spec, status } = pod as unknown as Pod;
  const hasEnded = status?.phase === "Succeeded" || status?.phase === "Failed";
  if (spec.nodeName === undefined || hasEnded) return [];
  return claimsOf(pod).map((claim) => `${pod.metadata.namespace}/${claim}`);
}

function protect(
  store: Store,
  type: ResourceType,
  object: KubeObject,
  finalizer: string,
  isUsed: boolean,
): void {
  const { namespace, name } = object.metadata;
  const next = computeFinalizers(object, finalizer, isUsed);
  if (next === undefined) return;
  const updated = store.update(type, namespace, name, (it) => withMeta(it, { finalizers: next }));
  if (isReleased(type, updated)) store.delete(type, namespace, name);
}

/** The object's finalizers as they should be; undefined = as they are. Pure. */
export function computeFinalizers(
  { metadata }: Pick<KubeObject, "metadata">,
  finalizer: string,
  isUsed: boolean,
): readonly string[] | undefined {
  const { finalizers = [], deletionTimestamp } = metadata;
  const isHeld = finalizers.includes(finalizer);
  if (deletionTimestamp === undefined) return isHeld ? undefined : [...finalizers, finalizer];
  if (isUsed || !isHeld) return undefined;
  return finalizers.filter((one) => one !== finalizer);
}
