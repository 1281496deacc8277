/**
 * Mounts of file servers, which may never answer: whatever could wait for one is done by a program of its own, with a
 * deadline, and never by a thread of ours. A mount that takes long goes on while its pod waits and asks again. Kept by
 * volume-manager.ts; what is mounted is read from the mount table only.
 */

import { withDeadline } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, LongshoreError, messageOf } from "../core/errors.ts";
import type { Exec } from "../core/exec.ts";
import { isBelow } from "./mountinfo.ts";

export interface RemoteMount {
  /** `server:/path` */
  readonly source: string;
  readonly path: string;
  readonly options: readonly string[];
}

/** Of a file system, in bytes and inodes. */
export interface FileSystemTotals {
  readonly bsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
}

/** mount.nfs itself tries for two minutes. */
const MOUNT_MS = 150_000;
/** How long a turn of the pod's waits for it. */
const PATIENCE_MS = 3_000;
const UNMOUNT_MS = 5_000;
const ANSWER_MS = 5_000;
/** Block size, blocks, free ones, those for all users, inodes, free ones. */
const TOTALS_FORMAT = "%S %b %f %a %c %d";
/** mount(8)'s words where there is no helper for a type. */
const NO_HELPER =
  "for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> helper program";

interface UnderWay {
  readonly done: Promise<void>;
  readonly controller: AbortController;
  isOver: boolean;
}

export class RemoteMounts {
  readonly #exec: Exec;
  readonly #clock: Clock;
  readonly #mounting = new Map<string, UnderWay>();

  constructor({ exec, clock }: { readonly exec: Exec; readonly clock: Clock }) {
    this.#exec = exec;
    this.#clock = clock;
  }

  /** Throws VolumeNotReady, with the words of mount.nfs, and while it has not ended. */
  async mount(request: RemoteMount, signal: AbortSignal): Promise<void> {
    const { path, source } = request;
    const underWay = this.#mounting.get(path) ?? this.#begin(request);
    const message = `mounting ${source}: the server has not answered yet`;
    const deadline = { clock: this.#clock, ms: PATIENCE_MS, signal, message };
    try {
      await withDeadline({ ...deadline, code: "VolumeNotReady" }, () => underWay.done);
    } finally {
      if (underWay.isOver) this.#mounting.delete(path);
    }
  }

  /** By force and at last lazily where the server does not answer. What came of it is seen in the mount table. */
  async unmount(path: string, signal: AbortSignal): Promise<void> {
    const run = (...flags: readonly string[]) =>
      this.#exec({ file: "umount", args: [...flags, "--", path], timeoutMs: UNMOUNT_MS }, signal);
    // The path is taken as it is: looking at it might wait for the server.
    const isDone = await run("-c").then(({ code }) => code === 0, failed);
    if (!isDone) await run("-c", "-i", "-f", "-l").catch(failed);
  }

  /** Gives up the mounts under way for a pod. */
  forget(podDir: string): void {
    for (const [path, { controller }] of this.#mounting) {
      if (!isBelow(path, podDir)) continue;
      controller.abort();
      this.#mounting.delete(path);
    }
  }

  /** Throws VolumeNotReady where the server does not answer. */
  async totals(path: string, signal: AbortSignal): Promise<FileSystemTotals> {
    const args = ["-f", "-c", TOTALS_FORMAT, "--", path];
    const result = await this.#exec({ file: "stat", args, timeoutMs: ANSWER_MS }, signal).catch(
      (error: unknown) => {
        if (!hasCode(error, "CommandTimeout")) throw error;
        throw new LongshoreError("VolumeNotReady", `${path}: the file server does not answer`);
      },
    );
    const numbers = result.stdout.trim().split(" ").map(Number);
    const [bsize = 0, blocks = 0, bfree = 0, bavail = 0, files = 0, ffree = 0] = numbers;
    if (result.code !== 0) throw new LongshoreError("VolumeNotReady", result.stderr.trim());
    return { bsize, blocks, bfree, bavail, files, ffree };
  }

  async stop(): Promise<void> {
    const all = [...this.#mounting.values()];
    for (const { controller } of all) controller.abort();
    await Promise.allSettled(all.map(({ done }) => done));
  }

  #begin(request: RemoteMount): UnderWay {
    const controller = new AbortController();
    const done = this.#mount(request, controller.signal);
    const underWay = { done, controller, isOver: false };
    const onEnd = (): void => {
      underWay.isOver = true;
    };
    // Of a failure learns who asks next.
    done.then(onEnd, onEnd);
    this.#mounting.set(request.path, underWay);
    return underWay;
  }

  async #mount({ source, path, options }: RemoteMount, signal: AbortSignal): Promise<void> {
    const args = [source, path, ...(options.length === 0 ? [] : ["-o", options.join(",")])];
    const said = await this.#exec({ file: "mount.nfs", args, timeoutMs: MOUNT_MS }, signal).then(
      ({ code, stdout, stderr }) =>
        code === 0 ? undefined : `exit status ${code}\nOutput: ${(stderr || stdout).trim()}`,
      (error: unknown) =>
        hasCode(error, "CommandMissing")
          ? `mount.nfs is not installed on this node: ${NO_HELPER}`
          : messageOf(error),
    );
    if (said === undefined) return;
    const command = `Mounting command: mount.nfs\nMounting arguments: ${args.join(" ")}`;
    throw new LongshoreError("VolumeNotReady", `mount failed: ${said}\n${command}`);
  }
}

/** It took too long or there is no umount(8): the mount table tells that it is still there. */
function failed(error: unknown): false {
  if (!hasCode(error, "CommandTimeout", "CommandMissing")) throw error;
  return false;
}
