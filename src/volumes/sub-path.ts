/**
 * A part of a volume as a mount of ours, at <pod dir>/volume-subpaths/<volume>/<container>/<index>, where the kubelet
 * has it: the engine is given that place, which no container can exchange, and not a path inside the volume. Made anew
 * before each start; it goes with the pod's other mounts. Called by volume-manager.ts.
 */

import { type FileHandle, mkdir, readlink, rmdir, unlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { Syscalls } from "../core/syscalls.ts";
import { readEntry, readMounts } from "./observe.ts";
import { subPathTarget } from "./paths.ts";
import { openBelow } from "./safe-path.ts";
import type { SubPathRequest } from "./volumes.ts";

/** Throws ContainerConfigInvalid in the kubelet's words. */
export async function bindSubPath(
  podDir: string,
  request: SubPathRequest,
  syscalls: Syscalls,
): Promise<string> {
  const { volume, subPath, container } = request;
  const target = subPathTarget(podDir, volume.name, container, request.index);
  try {
    const part = await openBelow(volume.hostPath, subPath);
    try {
      await bind(part, target, syscalls);
    } finally {
      await part.close();
    }
    return target;
  } catch (cause) {
    const about = `for volumeMount "${volume.name}" of container "${container}"`;
    const message = `failed to prepare subPath ${about}: ${messageOf(cause)}`;
    throw new LongshoreError("ContainerConfigInvalid", message, { cause });
  }
}

async function bind(part: FileHandle, target: string, syscalls: Syscalls): Promise<void> {
  for (const { mountPoint } of await readMounts())
    if (mountPoint === target) await syscalls.unmount(target);
  const kind = (await part.stat()).isDirectory() ? "directory" : "file";
  await makeTarget(target, kind);
  // Where mount(8) does the work, `self` would be mount(8).
  const source = `/proc/${await readlink("/proc/self")}/fd/${part.fd}`;
  await syscalls.mount({ source, target, fstype: "", options: ["bind"] });
}

async function makeTarget(target: string, kind: "directory" | "file"): Promise<void> {
  const found = await readEntry(target, false);
  if (found === kind) return;
  if (found === "directory") await rmdir(target);
  else if (found !== "absent") await unlink(target);
  await mkdir(dirname(target), { recursive: true, mode: 0o750 });
  if (kind === "directory") await mkdir(target, { mode: 0o750 });
  else await writeFile(target, "", { flag: "wx", mode: 0o640 });
}
