/**
 * What to do next for the volumes of a pod. Pure: the desired volumes (kinds/*) and what is there (observe.ts) in,
 * steps for apply.ts out; an empty list means it is as it should be. Repeating observe, plan and apply from any
 * point of an interrupted run ends in the empty plan, which is all the crash recovery there is.
 */

import { isBelow, isRemote, type MountEntry, tmpfsSize } from "./mountinfo.ts";
import { directoryMode, ownedMode } from "./ownership.ts";
import { hashPayload, type Payload, tmpfsBytes } from "./payload.ts";

export type HostPathType =
  | ""
  | "DirectoryOrCreate"
  | "Directory"
  | "FileOrCreate"
  | "File"
  | "Socket"
  | "CharDevice"
  | "BlockDevice";

interface DesiredBase {
  readonly name: string;
  /** What containers get mounted: below the pod's directory, or a path of the host's. */
  readonly path: string;
  /** Whose it is to be; absent = the agent's own. */
  readonly group?: number;
}

export type DesiredVolume = DesiredBase &
  (
    | { readonly kind: "directory" }
    /** `sizeBytes` undefined = no limit of its own. */
    | { readonly kind: "memory"; readonly sizeBytes?: number }
    | { readonly kind: "files"; readonly onTmpfs: boolean; readonly payload: Payload }
    | {
        readonly kind: "nfs";
        /** `server:/path` */
        readonly source: string;
        readonly options: readonly string[];
        readonly readOnly: boolean;
      }
    /** With a group, everything below is given to it: once for a pod, or if `isLazy` only where the root is not its. */
    | { readonly kind: "host-path"; readonly type: HostPathType; readonly isLazy?: boolean }
  );

export type EntryKind =
  | "absent"
  | "directory"
  | "file"
  | "socket"
  | "char-device"
  | "block-device"
  | "other";

export interface ObservedVolume {
  /** Not following a link, except for a path of the host's. */
  readonly entry: EntryKind;
  /** What is mounted exactly there, topmost. */
  readonly mount?: MountEntry;
  /** Of a path of the host's, when it is there. */
  readonly root?: { readonly gid: number; readonly mode: number };
  /** Hash of the payload written last by this process; undefined after a restart. */
  readonly contentHash?: string;
}

export type VolumeStep = { readonly path: string } & (
  | { readonly kind: "make-directory"; readonly mode: number; readonly group?: number }
  | {
      readonly kind: "mount-tmpfs";
      readonly sizeBytes?: number;
      /** Ask that it never goes to swap. */
      readonly isSecret: boolean;
      readonly isResize: boolean;
      readonly mode: number;
      readonly group?: number;
    }
  | { readonly kind: "mount-nfs"; readonly source: string; readonly options: readonly string[] }
  | { readonly kind: "write-files"; readonly payload: Payload; readonly group?: number }
  | { readonly kind: "make-host-directory" }
  | { readonly kind: "make-host-file" }
  | { readonly kind: "give-tree"; readonly group: number }
  /** The volume cannot be as desired; waiting may help. */
  | { readonly kind: "refuse"; readonly message: string }
);

const VOLUME_MODE = 0o777;
/** Of a place where another file system is to be. */
const MOUNT_POINT_MODE = 0o750;

export function computeVolumeSteps(
  desired: DesiredVolume,
  observed: ObservedVolume,
): readonly VolumeStep[] {
  if (desired.kind === "host-path") {
    const steps = hostPathSteps(desired.path, desired.type, observed.entry);
    return steps.length > 0 ? steps : giveSteps(desired, observed);
  }
  if (desired.kind === "nfs") return nfsSteps(desired, observed);
  const { path, group } = desired;
  const ofGroup = group === undefined ? {} : { group };
  const owned = { mode: directoryMode(VOLUME_MODE, group), ...ofGroup };
  if (observed.entry !== "absent" && observed.entry !== "directory")
    return [{ kind: "refuse", path, message: `${path} is not a directory` }];
  const steps: VolumeStep[] = [];
  if (observed.entry === "absent") steps.push({ kind: "make-directory", path, ...owned });
  if (desired.kind === "directory") return steps;

  const isTmpfs = observed.mount?.fstype === "tmpfs";
  if (desired.kind === "memory") {
    const size = desired.sizeBytes === undefined ? {} : { sizeBytes: desired.sizeBytes };
    if (!isTmpfs)
      steps.push({
        kind: "mount-tmpfs",
        path,
        isSecret: false,
        isResize: false,
        ...size,
        ...owned,
      });
    return steps;
  }
  if (desired.onTmpfs) {
    const sizeBytes = tmpfsBytes(desired.payload);
    const isTooSmall =
      observed.mount !== undefined && (tmpfsSize(observed.mount) ?? sizeBytes) < sizeBytes;
    if (!isTmpfs || isTooSmall)
      steps.push({
        kind: "mount-tmpfs",
        path,
        isSecret: true,
        isResize: isTmpfs,
        sizeBytes,
        ...owned,
      });
  }
  if (steps.length > 0 || observed.contentHash !== hashPayload(desired.payload))
    steps.push({ kind: "write-files", path, payload: desired.payload, ...ofGroup });
  return steps;
}

/** What is mounted is left as it is, and not looked at. Its files belong to whom the server says. */
function nfsSteps(
  { path, source, options }: Extract<DesiredVolume, { readonly kind: "nfs" }>,
  { entry, mount }: ObservedVolume,
): readonly VolumeStep[] {
  if (mount !== undefined) return [];
  if (entry !== "absent" && entry !== "directory")
    return [{ kind: "refuse", path, message: `${path} is not a directory` }];
  const mode = MOUNT_POINT_MODE;
  return [
    ...(entry === "absent" ? [{ kind: "make-directory", path, mode } as const] : []),
    { kind: "mount-nfs", path, source, options },
  ];
}

/** What is remembered of a volume once its steps are done. */
export function contentHashOf(desired: DesiredVolume): string {
  return desired.kind === "files" ? hashPayload(desired.payload) : "done";
}

function giveSteps(
  desired: Extract<DesiredVolume, { readonly kind: "host-path" }>,
  { root, contentHash }: ObservedVolume,
): readonly VolumeStep[] {
  const { path, group, isLazy } = desired;
  if (group === undefined || contentHash === contentHashOf(desired)) return [];
  const isRootIts = root?.gid === group && ownedMode(root.mode, true) === root.mode;
  return isLazy && isRootIts ? [] : [{ kind: "give-tree", path, group }];
}

const HOST_PATH_WANTS: Readonly<
  Record<Exclude<HostPathType, "">, { readonly entry: EntryKind; readonly words: string }>
> = {
  DirectoryOrCreate: { entry: "directory", words: "a directory" },
  Directory: { entry: "directory", words: "a directory" },
  FileOrCreate: { entry: "file", words: "a file" },
  File: { entry: "file", words: "a file" },
  Socket: { entry: "socket", words: "a socket file" },
  CharDevice: { entry: "char-device", words: "a character device" },
  BlockDevice: { entry: "block-device", words: "a block device" },
};

function hostPathSteps(path: string, type: HostPathType, entry: EntryKind): readonly VolumeStep[] {
  // Without a type nothing is checked, but container runtimes make a directory of what is missing.
  if (entry === "absent" && (type === "" || type === "DirectoryOrCreate"))
    return [{ kind: "make-host-directory", path }];
  if (type === "") return [];
  if (entry === "absent" && type === "FileOrCreate") return [{ kind: "make-host-file", path }];
  const wants = HOST_PATH_WANTS[type];
  if (entry === wants.entry) return [];
  const message = `hostPath type check failed: ${path} is not ${wants.words}`;
  return [{ kind: "refuse", path, message }];
}

export type TeardownStep =
  | { readonly kind: "unmount"; readonly path: string; readonly isRemote: boolean }
  | { readonly kind: "remove-tree"; readonly path: string };

/** Unmounts first, deepest and latest first; the tree goes only once nothing is mounted at or below it. */
export function computeTeardownSteps(
  podDir: string,
  mounts: readonly MountEntry[],
  exists: boolean,
): readonly TeardownStep[] {
  const inside = mounts
    .filter(({ mountPoint }) => mountPoint === podDir || isBelow(mountPoint, podDir))
    .reverse()
    .sort((a, b) => b.mountPoint.split("/").length - a.mountPoint.split("/").length);
  if (inside.length > 0)
    return inside.map((entry) => ({
      ...{ kind: "unmount", path: entry.mountPoint, isRemote: isRemote(entry, podDir) },
    }));
  return exists ? [{ kind: "remove-tree", path: podDir }] : [];
}
