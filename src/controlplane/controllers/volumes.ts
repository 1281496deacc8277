/**
 * Binds claims to PersistentVolumes that are there (no classes, nothing is provisioned), makes the claims of generic
 * ephemeral volumes and takes them away with their pods, and keeps the phases of both. A volume whose claim went is
 * Released and keeps its data. Started by install.ts.
 */

import type { PersistentVolume, PersistentVolumeClaim, Pod } from "../../api/types.ts";
import { deleteObject } from "../deletion.ts";
import type { KubeObject } from "../objects.ts";
import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS } from "../registry.ts";
import type { Store } from "../store.ts";
import { type Controller, type ControllerContext, createLoop, keyOf, splitKey } from "./loop.ts";
import { findVolume, isFor } from "./volume-binding.ts";

/** One key: binding looks at all volumes and claims anyway, and a small cluster has few. */
const ALL = "all";

export function createVolumeController(context: ControllerContext): Controller {
  const { store } = context;
  return createLoop(context, {
    name: "persistentvolume-binder",
    types: [PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS],
    initialKeys: () => [ALL, ...store.list(PODS, undefined, hasEphemeral).items.map(keyOf)],
    keysOf: ({ resource, object }) => {
      if (resource !== PODS) return [ALL];
      return hasEphemeral(object) ? [keyOf(object), ALL] : [];
    },
    sync: (key) => (key === ALL ? syncAll(context) : createClaims(store, key)),
  });
}

function ephemeralVolumesOf(pod: KubeObject) {
  const { spec } = pod as unknown as Pod;
  return (spec.volumes ?? []).flatMap(({ name, ephemeral }) =>
    ephemeral?.volumeClaimTemplate === undefined
      ? []
      : [{ claim: `${pod.metadata.name}-${name}`, template: ephemeral.volumeClaimTemplate }],
  );
}

function hasEphemeral(pod: KubeObject): boolean {
  return ephemeralVolumesOf(pod).length > 0;
}

function createClaims(store: Store, key: string): undefined {
  const { namespace, name } = splitKey(key);
  const pod = store.get(PODS, namespace, name);
  if (pod === undefined || pod.metadata.deletionTimestamp !== undefined) return;
  for (const { claim, template } of ephemeralVolumesOf(pod)) {
    if (store.get(PERSISTENT_VOLUME_CLAIMS, namespace, claim) !== undefined) continue;
    const { labels, annotations } = template.metadata ?? {};
    const { uid = "" } = pod.metadata;
    const owner = { apiVersion: "v1", kind: "Pod", name, uid, controller: true };
    store.create(PERSISTENT_VOLUME_CLAIMS, {
      ...{ apiVersion: "v1", kind: "PersistentVolumeClaim" },
      metadata: {
        ...{ namespace, name: claim },
        ...(labels === undefined ? {} : { labels }),
        ...(annotations === undefined ? {} : { annotations }),
        ownerReferences: [{ ...owner, blockOwnerDeletion: true }],
      },
      spec: template.spec,
      status: { phase: "Pending" },
    } as unknown as KubeObject);
  }
}

function syncAll(context: ControllerContext): undefined {
  const { store } = context;
  for (const claim of listClaims(store)) {
    if (isAbandoned(store, claim)) {
      const { namespace, name } = claim.metadata;
      deleteObject(context, { type: PERSISTENT_VOLUME_CLAIMS, namespace, name }, {});
    } else if (claim.metadata.deletionTimestamp === undefined) bindClaim(store, claim);
  }
  const claims = listClaims(store);
  for (const volume of listVolumes(store)) {
    const phase = phaseOf(volume, claims);
    if (volume.status?.phase !== phase)
      updateVolume(store, volume, (current) => ({ ...current, status: { phase } }));
  }
}

/** Its pod went, or gave its name to another. */
function isAbandoned(store: Store, { metadata }: PersistentVolumeClaim): boolean {
  const { namespace, ownerReferences = [] } = metadata;
  const owner = ownerReferences.find(({ kind, controller }) => kind === "Pod" && controller);
  if (owner === undefined) return false;
  return store.get(PODS, namespace, owner.name)?.metadata.uid !== owner.uid;
}

function bindClaim(store: Store, claim: PersistentVolumeClaim): void {
  const isBound = claim.status?.phase === "Bound";
  const volume = findVolume(claim, listVolumes(store));
  if (volume === undefined) {
    if (isBound) setClaim(store, claim, { status: { ...claim.status, phase: "Lost" } });
    return;
  }
  const { namespace, name, uid } = claim.metadata;
  const { resourceVersion } = claim.metadata;
  const claimRef = { kind: "PersistentVolumeClaim", apiVersion: "v1", namespace, name, uid };
  // The volume first: a claim that says Bound must have one that says the same.
  if (volume.spec?.claimRef?.uid !== uid)
    updateVolume(store, volume, (current) => ({
      ...current,
      spec: { ...current.spec, claimRef: { ...claimRef, resourceVersion } },
      status: { phase: "Bound" },
    }));
  if (isBound) return;
  const { accessModes, capacity } = volume.spec ?? {};
  setClaim(store, claim, {
    spec: { ...claim.spec, volumeName: volume.metadata.name },
    status: { phase: "Bound", accessModes, capacity },
  });
}

function phaseOf(volume: PersistentVolume, claims: readonly PersistentVolumeClaim[]): string {
  const ref = volume.spec?.claimRef;
  if (ref?.uid === undefined || ref.uid === "") return "Available";
  return claims.some((claim) => isFor(volume, claim)) ? "Bound" : "Released";
}

function listClaims(store: Store): readonly PersistentVolumeClaim[] {
  return store.list(PERSISTENT_VOLUME_CLAIMS).items as unknown as PersistentVolumeClaim[];
}

function listVolumes(store: Store): readonly PersistentVolume[] {
  return store.list(PERSISTENT_VOLUMES).items as unknown as PersistentVolume[];
}

function setClaim(store: Store, { metadata }: PersistentVolumeClaim, change: object): void {
  const { namespace, name } = metadata;
  store.update(PERSISTENT_VOLUME_CLAIMS, namespace, name, (it) => ({ ...it, ...change }));
}

function updateVolume(
  store: Store,
  { metadata }: PersistentVolume,
  change: (current: PersistentVolume) => object,
): void {
  store.update(
    PERSISTENT_VOLUMES,
    undefined,
    metadata.name,
    (it) => change(it as unknown as PersistentVolume) as KubeObject,
  );
}
