/**
 * What neither the API server nor the runtime's labels hold: restart back-offs. One JSON file, replaced atomically,
 * mode 0600. A corrupt file costs a warning and the back-offs, nothing else. Used by manager.ts.
 */

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "../core/logger.ts";
import type { BackoffEntry } from "./snapshot.ts";

/** Pod UID → container name → entry. */
export type CheckpointData = Readonly<Record<string, Readonly<Record<string, BackoffEntry>>>>;

const VERSION = 1;

function isEntry(value: unknown): value is BackoffEntry {
  const { delayMs, since } = (value ?? {}) as Partial<BackoffEntry>;
  return typeof delayMs === "number" && typeof since === "number";
}

/** Throws on anything that is not a checkpoint of this version. */
function parse(text: string): CheckpointData {
  const { version, backoff } = JSON.parse(text) as { version: unknown; backoff: CheckpointData };
  if (version !== VERSION) throw new Error(`version ${String(version)} is not known`);
  const entries = Object.values(backoff).flatMap((pod) => Object.values(pod));
  if (!entries.every(isEntry)) throw new Error("an entry is not a back-off");
  return backoff;
}

export class Checkpoint {
  readonly #path: string;
  readonly #rootDir: string;
  readonly #log: Logger;
  #written = "";

  constructor(rootDir: string, log: Logger) {
    this.#rootDir = rootDir;
    this.#path = join(rootDir, "checkpoint.json");
    this.#log = log;
  }

  async load(): Promise<CheckpointData> {
    let text: string;
    try {
      text = await readFile(this.#path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
      throw error;
    }
    try {
      return parse(text);
    } catch (error) {
      const fields = { path: this.#path, err: error };
      this.#log.warn(fields, "the checkpoint is corrupt; restart back-offs begin anew");
      return {};
    }
  }

  /** Callers do not overlap: the manager's queue runs one save at a time. */
  async save(backoff: CheckpointData): Promise<void> {
    const text = JSON.stringify({ version: VERSION, backoff });
    if (text === this.#written) return;
    await mkdir(this.#rootDir, { recursive: true });
    const draft = `${this.#path}.tmp`;
    await writeFile(draft, text, { mode: 0o600, flush: true });
    await rename(draft, this.#path);
    this.#written = text;
  }
}

/** Checkpoint as the manager sees it; tests keep it in memory. */
export type CheckpointPort = Pick<Checkpoint, keyof Checkpoint>;
