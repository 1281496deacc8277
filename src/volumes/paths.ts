/**
 * Where things of a pod lie: <root>/pods/<uid>/volumes/kubernetes.io~<plugin>/<volume>, as the kubelet has it.
 * Pure; refuses names that would lead elsewhere, because UIDs and names of static pods and of a hostile API
 * server end in paths that are unmounted and removed. Used by all of volumes.
 */

import { join } from "node:path";
import { LongshoreError } from "../core/errors.ts";

export type Plugin =
  | "empty-dir"
  | "host-path"
  | "secret"
  | "configmap"
  | "downward-api"
  | "projected"
  | "nfs"
  | "image";

const SAFE_UID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export function podDirectory(podsDir: string, podUid: string): string {
  if (!SAFE_UID.test(podUid))
    throw new LongshoreError(
      "VolumeInvalid",
      `pod UID ${JSON.stringify(podUid)} is not a file name`,
    );
  return join(podsDir, podUid);
}

/** Where the volumes of one kind are. */
export function volumesOf(podDir: string, plugin: Plugin): string {
  return join(podDir, "volumes", `kubernetes.io~${plugin}`);
}

export function volumePath(podDir: string, plugin: Plugin, name: string): string {
  if (!DNS_LABEL.test(name))
    throw new LongshoreError(
      "VolumeInvalid",
      `volume name ${JSON.stringify(name)} must be a DNS label`,
    );
  return join(volumesOf(podDir, plugin), name);
}

export function subPathTarget(
  podDir: string,
  volume: string,
  container: string,
  index: number,
): string {
  for (const name of [volume, container])
    if (!DNS_LABEL.test(name))
      throw new LongshoreError("VolumeInvalid", `${JSON.stringify(name)} must be a DNS label`);
  return join(podDir, "volume-subpaths", volume, container, String(index));
}

/** True for names that `podDirectory` may have made. */
export function isPodUid(name: string): boolean {
  return SAFE_UID.test(name);
}
