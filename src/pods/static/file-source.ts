/**
 * The static pods of a directory, or of one file: read when it changes (inotify) and every `fileCheckFrequency`. Names
 * that begin with a dot are not manifests; what is no regular file, too big, unreadable or invalid costs one log line
 * and nothing else. Made by agent-pods.ts.
 */

import { constants, type FSWatcher, watch } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Pod } from "../../api/types.ts";
import type { Clock } from "../../core/clock.ts";
import { LongshoreError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { WorkQueue } from "../../core/workqueue.ts";
import { MAX_MANIFEST_BYTES, parseManifest } from "./manifest.ts";

export interface FileSourceOptions {
  /** Absolute path of a directory or a file. */
  readonly path: string;
  readonly nodeName: string;
  readonly periodMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** All pods there are now; not called while the path cannot be read, so that nothing is taken for gone. */
  readonly onPods: (pods: readonly Pod[]) => void;
}

const SCAN = "scan";
/** A file is often written in several steps. */
const SETTLE_MS = 100;

export class FileSource {
  readonly #options: FileSourceOptions;
  readonly #queue: WorkQueue;
  /** What each file held when it was last good. */
  #pods: ReadonlyMap<string, readonly Pod[]> = new Map();
  /** What is wrong, by path: told once. */
  #problems: ReadonlyMap<string, string> = new Map();
  #watcher: FSWatcher | undefined;
  #hasEvent = false;

  constructor(options: FileSourceOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      clock: options.clock,
      concurrency: 1,
      handle: () => this.#scan(),
      onError: (_key, error) => {
        options.log.error({ path: options.path, err: error }, "static pods could not be read");
        return options.periodMs;
      },
    });
  }

  start(): void {
    this.#queue.add(SCAN);
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
    this.#watcher?.close();
  }

  async #scan(): Promise<number> {
    const { path, periodMs, onPods } = this.#options;
    const mayBeHalfWritten = this.#hasEvent;
    this.#hasEvent = false;
    const problems = new Map<string, string>();
    const pods = new Map<string, readonly Pod[]>();
    try {
      const isDirectory = (await stat(path)).isDirectory();
      // Anew each time, because the directory may be another one by now; before it is read, so that nothing is missed.
      this.#watch(isDirectory ? path : dirname(path), isDirectory ? undefined : basename(path));
      for (const file of isDirectory ? await manifestsIn(path) : [path]) {
        const before = this.#pods.get(file);
        const read = await this.#read(file, problems);
        if (read !== undefined) pods.set(file, read);
        // Judged when it has been quiet for a while.
        else if (before !== undefined && mayBeHalfWritten) pods.set(file, before);
      }
      this.#pods = pods;
    } catch (error) {
      problems.set(path, messageOf(error));
      // A path that is gone has no pods; one that cannot be read has those it had.
      if (!isAbsent(error)) return periodMs;
      this.#pods = pods;
    } finally {
      this.#tell(problems);
    }
    onPods([...pods.values()].flat());
    return periodMs;
  }

  async #read(file: string, problems: Map<string, string>): Promise<readonly Pod[] | undefined> {
    const { nodeName, clock } = this.#options;
    try {
      const text = await readManifest(file);
      const origin = { kind: "file", path: file } as const;
      return parseManifest(text, { origin, nodeName, now: clock.now() });
    } catch (error) {
      // A file that went between two looks is no problem.
      if (!isAbsent(error)) problems.set(file, messageOf(error));
      return undefined;
    }
  }

  #tell(problems: ReadonlyMap<string, string>): void {
    for (const [path, problem] of problems) {
      if (this.#problems.get(path) === problem) continue;
      this.#options.log.warn({ path, problem }, "not a static pod that this node can run");
    }
    this.#problems = problems;
  }

  /** Without it, changes are seen at the next look. */
  #watch(dir: string, file: string | undefined): void {
    const onEvent = (_kind: string, name: string | null): void => {
      if (file !== undefined && name !== file) return;
      this.#hasEvent = true;
      this.#queue.add(SCAN, SETTLE_MS);
    };
    const onError = (error: unknown): void =>
      this.#options.log.warn({ path: dir, err: error }, "changes of static pods are seen late");
    const previous = this.#watcher;
    try {
      this.#watcher = watch(dir, { persistent: false }, onEvent);
      this.#watcher.on("error", onError);
      previous?.close();
    } catch (error) {
      onError(error);
    }
  }
}

function isAbsent(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

async function manifestsIn(dir: string): Promise<readonly string[]> {
  const entries = await readdir(dir, { withFileTypes: true });
  return entries
    .filter((entry) => !entry.name.startsWith(".") && !entry.isDirectory())
    .map(({ name }) => join(dir, name))
    .sort();
}

/** The text of a regular file of bearable size. */
async function readManifest(path: string): Promise<string> {
  // Not to hang on a FIFO.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new LongshoreError("ConfigInvalid", "it is no regular file");
    if (stats.size > MAX_MANIFEST_BYTES)
      throw new LongshoreError("ConfigInvalid", `it is bigger than ${MAX_MANIFEST_BYTES} bytes`);
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}
