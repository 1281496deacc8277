/**
 * That the Engine sees what the agent mounts. Called by volume-manager.ts, once.
 */

import { readlink } from "node:fs/promises";
import type { Logger } from "../core/logger.ts";
import type { Syscalls } from "../core/syscalls.ts";
import { containingMount } from "./mountinfo.ts";
import { readMounts } from "./observe.ts";

/**
 * An agent in a mount namespace of its own (a unit with PrivateMounts, a container) must pass its mounts on. Where
 * it shares the namespace of PID 1, as does an Engine started by it, nothing is needed.
 */
export async function ensureShared(
  podsDir: string,
  { syscalls, log }: { readonly syscalls: Syscalls; readonly log: Logger },
): Promise<void> {
  if (await isInNamespaceOfInit()) return;
  if (containingMount(await readMounts(), podsDir)?.isShared === true) return;
  const bind = { source: podsDir, target: podsDir, fstype: "", options: ["bind", "rshared"] };
  await syscalls.mount(bind);
  log.warn(
    { path: podsDir },
    "the pods directory was not on a shared mount: an Engine in another mount namespace sees tmpfs volumes only if it started from this one",
  );
}

/** True also where the host does not let us look: then nothing is known that would need mending. */
async function isInNamespaceOfInit(): Promise<boolean> {
  try {
    return (await readlink("/proc/self/ns/mnt")) === (await readlink("/proc/1/ns/mnt"));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") return true;
    throw error;
  }
}
