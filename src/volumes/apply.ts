/**
 * Does the steps of plan.ts: one executor per kind of step, no decisions. Each is safe to repeat and leaves, when
 * interrupted, something the next observation sees. Failures are thrown for the pod's loop. Called by the manager.
 */

import { chmod, chown, mkdir, mkdtemp, open, rename, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { Syscalls } from "../core/syscalls.ts";
import { writeAtomically } from "./atomic-writer.ts";
import { ownTree } from "./own-tree.ts";
import type { TeardownStep, VolumeStep } from "./plan.ts";
import type { RemoteMounts } from "./remote-mounts.ts";
import { checkNotAborted, removeTree } from "./remove-tree.ts";

export interface ApplyContext {
  readonly syscalls: Syscalls;
  readonly remote: Pick<RemoteMounts, "mount" | "unmount">;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

type Step = VolumeStep | TeardownStep;
type Executors = {
  readonly [K in Step["kind"]]: (
    step: Extract<Step, { readonly kind: K }>,
    context: ApplyContext,
  ) => Promise<void>;
};

/** The pod's own directories are for the agent; containers see only the volumes, mounted. */
const PARENT_MODE = 0o750;
const HOST_DIRECTORY_MODE = 0o755;
/** For chown(2). */
const UNCHANGED = -1;
const HOST_FILE_MODE = 0o644;

const EXECUTORS: Executors = {
  /** Appears with its final mode by rename, so that a directory that exists is a finished one. */
  async "make-directory"(step) {
    const podDir = dirname(dirname(dirname(step.path)));
    await mkdir(dirname(step.path), { recursive: true, mode: PARENT_MODE });
    const staged = await mkdtemp(join(podDir, "staged-"));
    if (step.group !== undefined) await chown(staged, UNCHANGED, step.group);
    await chmod(staged, step.mode);
    try {
      await rename(staged, step.path);
    } catch (error) {
      if (!isCode(error, "ENOTEMPTY", "EEXIST")) throw error;
      await rmdir(staged);
    }
  },
  async "mount-tmpfs"(step, { syscalls }) {
    const options = ["nosuid", "nodev", ...(step.isResize ? ["remount"] : [])];
    const group = step.group === undefined ? "" : `,gid=${step.group}`;
    const size = step.sizeBytes === undefined ? "" : `,size=${step.sizeBytes}`;
    const request = {
      source: "tmpfs",
      target: step.path,
      fstype: "tmpfs",
      options: step.isSecret ? options : options.filter((option) => option === "remount"),
      data: `mode=0${step.mode.toString(8)}${group}${size}`,
    };
    if (!step.isSecret || step.isResize) return syscalls.mount(request);
    try {
      await syscalls.mount({ ...request, data: `${request.data},noswap` });
    } catch (error) {
      // Kernels before 6.4 do not know noswap.
      if (!hasCode(error, "CommandFailed")) throw error;
      await syscalls.mount(request);
    }
  },
  async "mount-nfs"({ path, source, options }, { remote, signal }) {
    await remote.mount({ path, source, options }, signal);
  },
  async "write-files"(step, { clock }) {
    await writeAtomically(step.path, step.payload, { now: clock.now(), group: step.group });
  },
  async "make-host-directory"(step) {
    if (await makeDirectory(step.path)) await chmod(step.path, HOST_DIRECTORY_MODE);
  },
  async "make-host-file"(step) {
    try {
      const file = await open(step.path, "wx", HOST_FILE_MODE);
      await file.chmod(HOST_FILE_MODE);
      await file.close();
    } catch (error) {
      if (!isCode(error, "EEXIST")) throw error;
    }
  },
  async "give-tree"(step, { signal }) {
    await ownTree(step.path, step.group, signal);
  },
  async refuse(step) {
    throw new LongshoreError("VolumeNotReady", step.message);
  },
  async unmount({ path, isRemote }, { syscalls, remote, signal }) {
    await (isRemote ? remote.unmount(path, signal) : syscalls.unmount(path));
  },
  async "remove-tree"(step, { signal }) {
    await removeTree(step.path, signal);
  },
};

/**
 * With its parents; false if it was there. Node's recursive mkdir tries for ever, in a thread that cannot be stopped,
 * where the kernel answers ENOENT below a directory that exists, as /proc does.
 */
async function makeDirectory(path: string): Promise<boolean> {
  try {
    return await makeOneDirectory(path);
  } catch (error) {
    if (!isCode(error, "ENOENT") || dirname(path) === path) throw error;
  }
  await makeDirectory(dirname(path));
  return makeOneDirectory(path);
}

async function makeOneDirectory(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: HOST_DIRECTORY_MODE });
    return true;
  } catch (error) {
    if (!isCode(error, "EEXIST")) throw error;
    return false;
  }
}

function isCode(error: unknown, ...codes: readonly string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? "");
}

export async function applyStep<K extends Step["kind"]>(
  step: Extract<Step, { readonly kind: K }>,
  context: ApplyContext,
): Promise<void> {
  checkNotAborted(context.signal);
  const execute: Executors[K] = EXECUTORS[step.kind as K];
  await execute(step, context);
}
