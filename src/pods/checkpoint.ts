/**
 * What neither the API server nor the runtime's labels hold: restart back-offs, which containers were killed to be
 * replaced, and what was allocated to pods that were resized. One JSON file, replaced atomically, mode 0600. A corrupt
 * file costs a warning and its content, nothing else. Used by manager.ts.
 */

import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { toAmounts } from "../api/pod-resources.ts";
import type { Logger } from "../core/logger.ts";
import { replaceFile } from "../core/replace-file.ts";
import type { PodRecord } from "./record.ts";
import type { Allocation, BackoffEntry } from "./snapshot.ts";

export interface CheckpointData {
  /** Pod UID → container name → entry. */
  readonly backoff: Readonly<Record<string, Readonly<Record<string, BackoffEntry>>>>;
  /** Pod UID → IDs of the containers killed because their definition changed. */
  readonly replaced: Readonly<Record<string, readonly string[]>>;
  /** By pod UID, of those that were resized. */
  readonly allocated: Readonly<Record<string, Allocation>>;
}

export const EMPTY_CHECKPOINT: CheckpointData = { backoff: {}, replaced: {}, allocated: {} };

const VERSION = 1;

/** What of these pods is to be kept, on top of what was kept before. */
export function computeCheckpoint(
  records: Iterable<Pick<PodRecord, "uid" | "backoff" | "replaced" | "allocation">>,
  before: CheckpointData,
): CheckpointData {
  const backoff = { ...before.backoff };
  const replaced = { ...before.replaced };
  const allocated = { ...before.allocated };
  for (const record of records) {
    if (record.backoff.size > 0) backoff[record.uid] = Object.fromEntries(record.backoff);
    if (record.replaced.size > 0) replaced[record.uid] = [...record.replaced];
    if (record.allocation?.generation !== undefined) allocated[record.uid] = record.allocation;
  }
  return { backoff, replaced, allocated };
}

function isEntry(value: unknown): value is BackoffEntry {
  const { delayMs, since } = (value ?? {}) as Partial<BackoffEntry>;
  return typeof delayMs === "number" && typeof since === "number";
}

/** Throws on what are no quantities. */
function isAllocation(value: unknown): value is Allocation {
  const { containers, pod = {}, generation, isDone } = (value ?? {}) as Partial<Allocation>;
  if (typeof generation !== "number" || typeof isDone !== "boolean") return false;
  if (typeof containers !== "object" || containers === null) return false;
  for (const { requests, limits } of [pod, ...Object.values(containers)])
    toAmounts({ ...requests, ...limits });
  return true;
}

/** Throws on anything that is not a checkpoint of this version. */
function parse(text: string): CheckpointData {
  // A file of before they were kept has none.
  const {
    version,
    backoff,
    replaced = {},
    allocated = {},
  } = JSON.parse(text) as CheckpointData & {
    readonly version: unknown;
  };
  if (version !== VERSION) throw new Error(`version ${String(version)} is not known`);
  const entries = Object.values(backoff).flatMap((pod) => Object.values(pod));
  if (!entries.every(isEntry)) throw new Error("an entry is not a back-off");
  if (!Object.values(replaced).every((ids) => Array.isArray(ids)))
    throw new Error("replaced is not lists of container IDs");
  if (!Object.values(allocated).every(isAllocation)) throw new Error("an allocation is none");
  return { backoff, replaced, allocated };
}

export class Checkpoint {
  readonly #path: string;
  readonly #rootDir: string;
  readonly #log: Logger;
  #written = "";
  #saving: Promise<void> = Promise.resolve();

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
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return EMPTY_CHECKPOINT;
      throw error;
    }
    try {
      return parse(text);
    } catch (error) {
      const fields = { path: this.#path, err: error };
      this.#log.warn(fields, "the checkpoint is corrupt; restart back-offs begin anew");
      return EMPTY_CHECKPOINT;
    }
  }

  /** Resolves when the data are on disk. Saves that overlap run one after the other, in the order of the calls. */
  save(data: CheckpointData): Promise<void> {
    const write = (): Promise<void> => this.#write(JSON.stringify({ version: VERSION, ...data }));
    this.#saving = this.#saving.then(write, write);
    return this.#saving;
  }

  async #write(text: string): Promise<void> {
    if (text === this.#written) return;
    await mkdir(this.#rootDir, { recursive: true });
    await replaceFile(this.#path, text);
    this.#written = text;
  }
}

/** Checkpoint as the manager sees it; tests keep it in memory. */
export type CheckpointPort = Pick<Checkpoint, keyof Checkpoint>;
