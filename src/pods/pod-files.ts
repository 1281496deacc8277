/**
 * The files of a pod that the agent writes itself: etc-hosts, resolv.conf and one termination message file per
 * container instance, below <rootDir>/pods/<uid>. Written by starter.ts before a start, read by worker.ts after an
 * end, removed when the pod's volumes are.
 */

import { chmod, mkdir, open, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Kubernetes' limit of a container's termination message. */
const MAX_MESSAGE_BYTES = 4096;

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

export class PodFiles {
  readonly #rootDir: string;

  constructor(rootDir: string) {
    this.#rootDir = rootDir;
  }

  /** Writes a file of the pod and returns its path. */
  async write(podUid: string, name: "etc-hosts" | "resolv.conf", text: string): Promise<string> {
    const path = join(this.#podDir(podUid), name);
    await mkdir(dirname(path), { recursive: true, mode: 0o750 });
    // In place, not by rename: running containers have this very inode mounted.
    await writeFile(path, text, { mode: 0o644 });
    return path;
  }

  /** An empty file that any user in the container may write; returns its path. */
  async createMessageFile(podUid: string, container: string, attempt: number): Promise<string> {
    const path = this.#messagePath(podUid, container, attempt);
    await mkdir(dirname(path), { recursive: true, mode: 0o750 });
    await writeFile(path, "");
    // Not in writeFile's mode, which the umask narrows.
    await chmod(path, 0o666);
    return path;
  }

  /** What the container left there, cut at 4 KiB; empty when there is nothing. */
  async readMessage(podUid: string, container: string, attempt: number): Promise<string> {
    try {
      const file = await open(this.#messagePath(podUid, container, attempt), "r");
      try {
        const buffer = Buffer.alloc(MAX_MESSAGE_BYTES);
        const { bytesRead } = await file.read(buffer, 0, MAX_MESSAGE_BYTES, 0);
        return buffer.toString("utf8", 0, bytesRead);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (codeOf(error) === "ENOENT") return "";
      throw error;
    }
  }

  /** Removes these files, and the pod's directory unless others still keep something there. */
  async remove(podUid: string): Promise<void> {
    const dir = this.#podDir(podUid);
    for (const name of ["etc-hosts", "resolv.conf", "containers"])
      await rm(join(dir, name), { recursive: true, force: true });
    try {
      await rmdir(dir);
    } catch (error) {
      if (!["ENOENT", "ENOTEMPTY", "EEXIST"].includes(codeOf(error) ?? "")) throw error;
    }
  }

  #podDir(podUid: string): string {
    return join(this.#rootDir, "pods", podUid);
  }

  #messagePath(podUid: string, container: string, attempt: number): string {
    return join(this.#podDir(podUid), "containers", container, String(attempt));
  }
}

/** PodFiles as its users see it; tests keep the files in memory. */
export type PodFilePort = Pick<PodFiles, keyof PodFiles>;
