/**
 * From a volume that names a claim (or asks for one of its own) to the PersistentVolume bound to it, as the volume of a
 * kind that this node can show: hostPath, local or nfs. A bound pair never changes, so each is read once for a pod.
 * Who has one that is for one pod only is known since the agent's start. Called by volume-manager.ts; what is not bound
 * yet is VolumeNotReady.
 */

import { matchesNodeSelector } from "../api/node-selection.ts";
import type { PersistentVolume, PersistentVolumeClaim, Pod, Volume } from "../api/types.ts";
import { LongshoreError } from "../core/errors.ts";
import type { PodFacts } from "./volumes.ts";

export interface ClaimSource {
  /** undefined when it does not exist. */
  getClaim(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<PersistentVolumeClaim | undefined>;
  getPersistentVolume(name: string, signal: AbortSignal): Promise<PersistentVolume | undefined>;
}

/** What a PersistentVolume is on this node. */
export type ClaimedVolume = {
  /** Of the PersistentVolume. */
  readonly name: string;
  /** Of the claim. */
  readonly claim: string;
  readonly readOnly: boolean;
  /** Only one pod may use it: ReadWriteOncePod. */
  readonly isForOnePod: boolean;
} & (
  | {
      readonly kind: "host";
      readonly source: NonNullable<Volume["hostPath"]>;
      /** A local volume belongs to the pod's group, a hostPath stays as the host has it. */
      readonly isOwned: boolean;
    }
  | {
      readonly kind: "nfs";
      readonly source: NonNullable<Volume["nfs"]>;
      readonly options: readonly string[];
    }
);

type NodeOfPod = Pick<PodFacts, "nodeName" | "nodeLabels">;

export function claimNameOf(pod: Pod, volume: Volume): string | undefined {
  if (volume.ephemeral !== undefined) return `${pod.metadata.name}-${volume.name}`;
  return volume.persistentVolumeClaim?.claimName;
}

/** Volumes that containers have as block devices. */
export function deviceNames({ spec }: Pod): ReadonlySet<string> {
  const { containers = [], initContainers = [], ephemeralContainers = [] } = spec;
  return new Set(
    [...containers, ...initContainers, ...ephemeralContainers].flatMap(({ volumeDevices = [] }) =>
      volumeDevices.map(({ name }) => name),
    ),
  );
}

export class Claims {
  readonly #source: ClaimSource;
  /** By UID of the pod, then name of the volume. */
  readonly #resolved = new Map<string, Map<string, ClaimedVolume>>();

  constructor(source: ClaimSource) {
    this.#source = source;
  }

  async resolve(
    pod: Pod,
    volume: Volume,
    { claimName, node }: { readonly claimName: string; readonly node: NodeOfPod },
    signal: AbortSignal,
  ): Promise<ClaimedVolume> {
    const { uid, namespace } = pod.metadata;
    const known = this.#resolved.get(uid)?.get(volume.name);
    if (known !== undefined) return known;
    const claim = await this.#source.getClaim(namespace, claimName, signal);
    const name = nameOfVolume(pod, volume, claim, `${namespace}/${claimName}`);
    const bound = await this.#source.getPersistentVolume(name, signal);
    const spec = specOf(bound, name, claim?.metadata.uid, node);
    const { accessModes = [] } = spec;
    const isForOnePod = accessModes.length === 1 && accessModes[0] === "ReadWriteOncePod";
    if (isForOnePod && this.#isUsedBeside(uid, name))
      refuse("volume uses the ReadWriteOncePod access mode and is already in use by another pod");
    const readOnly =
      volume.persistentVolumeClaim?.readOnly === true ||
      spec.nfs?.readOnly === true ||
      (accessModes.length > 0 && accessModes.every((mode) => mode === "ReadOnlyMany"));
    const resolved = { name, claim: claimName, readOnly, isForOnePod, ...kindOf(spec, name) };
    this.#resolved.set(uid, (this.#resolved.get(uid) ?? new Map()).set(volume.name, resolved));
    return resolved;
  }

  forget(podUid: string): void {
    this.#resolved.delete(podUid);
  }

  #isUsedBeside(podUid: string, volume: string): boolean {
    return [...this.#resolved].some(
      ([uid, volumes]) =>
        uid !== podUid && [...volumes.values()].some(({ name }) => name === volume),
    );
  }
}

function refuse(message: string): never {
  throw new LongshoreError("VolumeNotReady", message);
}

function nameOfVolume(
  pod: Pod,
  volume: Volume,
  claim: PersistentVolumeClaim | undefined,
  key: string,
): string {
  if (claim === undefined)
    refuse(`error processing PVC ${key}: persistentvolumeclaim ${JSON.stringify(key)} not found`);
  const { ownerReferences = [], deletionTimestamp } = claim.metadata;
  const isOfPod = ownerReferences.some(
    (owner) => owner.controller && owner.uid === pod.metadata.uid,
  );
  if (volume.ephemeral !== undefined && !isOfPod)
    refuse(`PVC ${key} was not created for pod ${pod.metadata.name} (pod is not owner)`);
  if (deletionTimestamp !== undefined) refuse(`error processing PVC ${key}: PVC is being deleted`);
  const { volumeName = "", volumeMode } = claim.spec ?? {};
  if (claim.status?.phase !== "Bound" || volumeName === "")
    refuse(`error processing PVC ${key}: PVC is not bound`);
  const isDevice = deviceNames(pod).has(volume.name);
  if (volumeMode === "Block" && !isDevice)
    refuse(`volume ${volume.name} has volumeMode Block, but is specified in volumeMounts`);
  if (volumeMode !== "Block" && isDevice)
    refuse(`volume ${volume.name} has volumeMode Filesystem, but is specified in volumeDevices`);
  return volumeName;
}

type VolumeSpec = NonNullable<PersistentVolume["spec"]>;

/** Of a volume that is this claim's and may be used on this node. */
function specOf(
  volume: PersistentVolume | undefined,
  name: string,
  claimUid: string | undefined,
  { nodeName, nodeLabels }: NodeOfPod,
): VolumeSpec {
  if (volume === undefined) refuse(`persistentvolume ${JSON.stringify(name)} not found`);
  const { spec = {} } = volume;
  if (spec.claimRef?.uid !== claimUid)
    refuse(`persistentvolume ${JSON.stringify(name)} is bound to another claim`);
  const required = spec.nodeAffinity?.required;
  if (required && !matchesNodeSelector(required, { name: nodeName, labels: nodeLabels }))
    refuse(
      `persistentvolume ${JSON.stringify(name)} is not for this node: no matching NodeSelectorTerms`,
    );
  return spec;
}

type OfKind<T> = T extends unknown ? Omit<T, "name" | "claim" | "readOnly" | "isForOnePod"> : never;

function kindOf(spec: VolumeSpec, name: string): OfKind<ClaimedVolume> {
  const { hostPath, local, nfs, csi, volumeMode, mountOptions = [] } = spec;
  if (volumeMode === "Block") {
    if (local === undefined)
      refuse(`persistentvolume ${JSON.stringify(name)} is of no kind that is a block device here`);
    return { kind: "host", source: { path: local.path, type: "BlockDevice" }, isOwned: false };
  }
  if (nfs !== undefined) return { kind: "nfs", source: nfs, options: mountOptions };
  if (hostPath !== undefined) return { kind: "host", source: hostPath, isOwned: false };
  if (local !== undefined)
    return { kind: "host", source: { path: local.path, type: "Directory" }, isOwned: true };
  if (csi !== undefined) refuse(`kubernetes.io/csi: ${noDriver(csi.driver)}`);
  return refuse(`persistentvolume ${JSON.stringify(name)} is of no kind that this node can mount`);
}

/** The kubelet's words for a driver that nobody registered; here nobody can. */
export function noDriver(driver: string): string {
  return `driver name ${driver} not found in the list of registered CSI drivers`;
}
