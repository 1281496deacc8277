/**
 * Whose a pod's volumes are: with fsGroup everything in them belongs to that group, readable for it, and directories
 * pass it on. Pure. Used by desired.ts and the kinds; the kernel passes the group on to what containers make.
 */

import type { Pod } from "../api/types.ts";

export interface VolumeOwner {
  /** The group of all volumes that are the pod's own. */
  readonly group?: number;
  /** fsGroupChangePolicy OnRootMismatch: a tree whose root is the group's is taken to be the group's. */
  readonly isLazy: boolean;
  /** The one user all containers run as; tokens are for it alone. */
  readonly user?: number;
}

const SET_GID = 0o2000;
const GROUP_READS = 0o440;
const GROUP_WRITES = 0o660;
const GROUP_ENTERS = 0o110;

export function ownerOf({ spec }: Pod): VolumeOwner {
  const group = spec.securityContext?.fsGroup;
  const users = new Set(
    [...(spec.initContainers ?? []), ...spec.containers].map(
      ({ securityContext }) => securityContext?.runAsUser ?? spec.securityContext?.runAsUser,
    ),
  );
  const [user] = users;
  return {
    isLazy: spec.securityContext?.fsGroupChangePolicy === "OnRootMismatch",
    ...(group === undefined ? {} : { group }),
    ...(users.size === 1 && user !== undefined ? { user } : {}),
  };
}

/** What the kubelet adds to the mode of a file that belongs to a group. */
export function fileMode(mode: number, group: number | undefined): number {
  return group === undefined ? mode : mode | GROUP_READS;
}

export function directoryMode(mode: number, group: number | undefined): number {
  return group === undefined ? mode : mode | SET_GID | GROUP_READS | GROUP_ENTERS;
}

/** In a volume that containers write. */
export function ownedMode(mode: number, isDirectory: boolean): number {
  const writable = mode | GROUP_WRITES;
  return isDirectory ? writable | SET_GID | GROUP_ENTERS : writable;
}
