/**
 * Pulls: at most so many at once, one at a time for each image, and one for all who wait for the same image with the
 * same credentials. Credentials are tried in turn until one is accepted. A pull that nobody waits for any more is
 * given up. Used by pods/images.ts, which decides whether and when to pull.
 */

import { orAborted, sleep } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, LongshoreError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { TokenBucket } from "../core/token-bucket.ts";
import type { Image, Runtime } from "../runtime/runtime.ts";
import type { ImageAccess } from "./access.ts";
import type { Credential } from "./keyring.ts";

export interface PullerOptions {
  readonly runtime: Pick<Runtime, "pullImage">;
  readonly access: Pick<ImageAccess, "pullBegins" | "pulled" | "pullFailed">;
  readonly clock: Clock;
  readonly log: Logger;
  /** Holds work back while too much is under way. */
  readonly limit: (work: () => Promise<PullResult>) => Promise<PullResult>;
  /** How soon registries are asked again. */
  readonly pace: TokenBucket;
}

export interface PullResult {
  readonly image: Image;
  /** Milliseconds of the pull alone, without its wait for others. */
  readonly tookMs: number;
}

interface Job {
  readonly result: Promise<PullResult>;
  readonly giveUp: AbortController;
  waiting: number;
}

export class Puller {
  readonly #options: PullerOptions;
  readonly #jobs = new Map<string, Job>();
  readonly #lastOfImage = new Map<string, Promise<unknown>>();

  constructor(options: PullerOptions) {
    this.#options = options;
  }

  /** Throws ImagePullFailed or ImageRegistryUnavailable with the registry's words, Aborted, Engine*. */
  async pull(
    image: string,
    credentials: readonly Credential[],
    signal: AbortSignal,
  ): Promise<PullResult> {
    const key = JSON.stringify([image, ...credentials.map(({ hash }) => hash)]);
    const job = this.#jobs.get(key) ?? this.#start(key, image, credentials);
    job.waiting += 1;
    try {
      return await orAborted(job.result, signal);
    } finally {
      job.waiting -= 1;
      if (job.waiting === 0) {
        job.giveUp.abort();
        if (this.#jobs.get(key) === job) this.#jobs.delete(key);
      }
    }
  }

  /** Waits until nothing is pulled any more; callers have given up before. */
  async stop(): Promise<void> {
    for (const { giveUp } of this.#jobs.values()) giveUp.abort();
    await Promise.allSettled(this.#lastOfImage.values());
  }

  #start(key: string, image: string, credentials: readonly Credential[]): Job {
    const giveUp = new AbortController();
    const before = this.#lastOfImage.get(image) ?? Promise.resolve();
    const run = (): Promise<PullResult> =>
      this.#options.limit(() => this.#run(image, credentials, giveUp.signal));
    const result = before.then(run, run);
    this.#lastOfImage.set(image, result);
    const done = (): void => {
      if (this.#lastOfImage.get(image) === result) this.#lastOfImage.delete(image);
      if (this.#jobs.get(key) === job) this.#jobs.delete(key);
    };
    result.then(done, done);
    const job: Job = { result, giveUp, waiting: 0 };
    this.#jobs.set(key, job);
    return job;
  }

  async #run(
    image: string,
    credentials: readonly Credential[],
    signal: AbortSignal,
  ): Promise<PullResult> {
    if (signal.aborted) throw new LongshoreError("Aborted", `nobody waits for ${image} any more`);
    const { access, clock, log } = this.#options;
    const startedAt = clock.monotonic();
    await access.pullBegins(image);
    let pulled: { readonly image: Image; readonly credential: Credential | undefined };
    try {
      pulled = await this.#tryEach(image, credentials, signal);
    } catch (error) {
      await access.pullFailed(image);
      throw error;
    }
    try {
      await access.pulled(image, pulled.image.id, pulled.credential);
    } catch (error) {
      log.warn(
        { image, err: error },
        "who pulled an image could not be recorded; its pods must show their credentials again",
      );
    }
    return { image: pulled.image, tookMs: clock.monotonic() - startedAt };
  }

  async #tryEach(
    image: string,
    credentials: readonly Credential[],
    signal: AbortSignal,
  ): Promise<{ readonly image: Image; readonly credential: Credential | undefined }> {
    const { runtime, pace, clock } = this.#options;
    const failures: unknown[] = [];
    for (const credential of credentials.length === 0 ? [undefined] : credentials) {
      const waitMs = pace.take(clock.monotonic());
      if (waitMs > 0) await sleep(clock, waitMs, signal);
      try {
        const pulled = await runtime.pullImage(image, credential?.auth, signal);
        return { image: pulled, credential };
      } catch (error) {
        if (!hasCode(error, "ImagePullFailed", "ImageRegistryUnavailable")) throw error;
        failures.push(error);
      }
    }
    throw together(failures);
  }
}

/** As upstream joins them: the one message, or all different ones in brackets. */
function together(failures: readonly unknown[]): unknown {
  const messages = [...new Set(failures.map(messageOf))];
  if (messages.length === 1) return failures[0];
  return new LongshoreError("ImagePullFailed", `[${messages.join(", ")}]`);
}
