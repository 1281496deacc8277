/**
 * /proc/self/mountinfo as a value. Pure: text in, entries out in the kernel's order (a later entry on the same mount
 * point covers an earlier one). What is mounted is read from here only, never remembered. Used by observe and plan.
 */

import { volumesOf } from "./paths.ts";

export interface MountEntry {
  readonly mountPoint: string;
  readonly fstype: string;
  /** Of the file system, e.g. `rw,size=1024k`. */
  readonly superOptions: string;
  /** True when mounts made below are passed on to other mount namespaces. */
  readonly isShared: boolean;
}

/** Space, tab, newline and backslash are written as \ooo. */
function unescapeOctal(field: string): string {
  if (!field.includes("\\")) return field;
  const bytes = Buffer.from(field);
  const out: number[] = [];
  for (let at = 0; at < bytes.length; at++) {
    const octal = /^\\([0-7]{3})/.exec(bytes.toString("latin1", at, at + 4));
    if (octal?.[1] === undefined) out.push(bytes[at] ?? 0);
    else {
      out.push(Number.parseInt(octal[1], 8));
      at += 3;
    }
  }
  return Buffer.from(out).toString();
}

export function parseMountinfo(text: string): readonly MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split("\n")) {
    const fields = line.split(" ");
    const separator = fields.indexOf("-", 6);
    const mountPoint = fields[4];
    if (separator === -1 || mountPoint === undefined) continue;
    entries.push({
      mountPoint: unescapeOctal(mountPoint),
      fstype: fields[separator + 1] ?? "",
      superOptions: fields[separator + 3] ?? "",
      isShared: fields.slice(6, separator).some((field) => field.startsWith("shared:")),
    });
  }
  return entries;
}

export function isBelow(path: string, ancestor: string): boolean {
  return path.startsWith(ancestor === "/" ? "/" : `${ancestor}/`);
}

/** The entry on whose file system `path` lies. */
export function containingMount(
  entries: readonly MountEntry[],
  path: string,
): MountEntry | undefined {
  let best: MountEntry | undefined;
  for (const entry of entries) {
    const covers = entry.mountPoint === path || isBelow(path, entry.mountPoint);
    if (covers && entry.mountPoint.length >= (best?.mountPoint.length ?? 0)) best = entry;
  }
  return best;
}

const REMOTE_TYPE = /^(nfs4?|cifs|smb3|ceph|glusterfs|fuse\..*)$/;

/** Whether looking at it may wait for another machine. */
export function isRemote({ fstype, mountPoint }: MountEntry, podDir: string): boolean {
  return REMOTE_TYPE.test(fstype) || isBelow(mountPoint, volumesOf(podDir, "nfs"));
}

/** The mount on which a path lies, where that is such a one. */
export function remoteMountOf(
  path: string,
  mounts: readonly MountEntry[],
  podDir: string,
): MountEntry | undefined {
  const mount = containingMount(mounts, path);
  return mount !== undefined && isRemote(mount, podDir) ? mount : undefined;
}

/** Bytes of `size=` in a tmpfs' options; undefined when it has no limit of its own. */
export function tmpfsSize(entry: MountEntry): number | undefined {
  const match = /(?:^|,)size=(\d+)([kmg]?)/i.exec(entry.superOptions);
  if (match === null) return undefined;
  const unit = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[(match[2] ?? "").toLowerCase()] ?? 1;
  return Number(match[1]) * unit;
}
