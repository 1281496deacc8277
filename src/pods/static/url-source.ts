/**
 * The static pods of an HTTP URL (a Pod or a PodList), fetched every `httpCheckFrequency`. While the URL does not
 * answer, or answers rubbish, the pods of the last good answer stay; one warning says so. Made by agent-pods.ts.
 */

import type { Pod } from "../../api/types.ts";
import { withDeadline } from "../../core/abort.ts";
import type { Clock } from "../../core/clock.ts";
import { LongshoreError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { WorkQueue } from "../../core/workqueue.ts";
import { MAX_MANIFEST_BYTES, parseManifest } from "./manifest.ts";

export interface UrlSourceOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly nodeName: string;
  readonly periodMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** All pods there are now; first called with the first good answer, so that until then nothing is taken for gone. */
  readonly onPods: (pods: readonly Pod[]) => void;
}

const DEADLINE_MS = 10_000;

export class UrlSource {
  readonly #options: UrlSourceOptions;
  readonly #queue: WorkQueue;
  #pods: readonly Pod[] = [];
  #text: string | undefined;
  #isFailing = false;

  constructor(options: UrlSourceOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      clock: options.clock,
      concurrency: 1,
      handle: (_key, signal) => this.#look(signal),
      onError: (_key, error) => this.#onError(error),
    });
  }

  start(): void {
    this.#queue.add("fetch");
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  async #look(signal: AbortSignal): Promise<number> {
    const { url, nodeName, periodMs, clock, onPods } = this.#options;
    const text = await this.#fetch(signal);
    if (text !== this.#text) {
      const origin = { kind: "http", url } as const;
      this.#pods = parseManifest(text, { origin, nodeName, now: clock.now() });
      this.#text = text;
    }
    this.#isFailing = false;
    onPods(this.#pods);
    return periodMs;
  }

  #onError(error: unknown): number {
    const { url, log, periodMs } = this.#options;
    if (!this.#isFailing)
      log.warn({ url, err: error }, "static pods could not be fetched; those known go on");
    this.#isFailing = true;
    return periodMs;
  }

  #fetch(outer: AbortSignal): Promise<string> {
    const { url, headers, clock } = this.#options;
    const message = `${url} did not answer within ${DEADLINE_MS / 1000} s`;
    const deadline = {
      clock,
      ms: DEADLINE_MS,
      signal: outer,
      code: "ApiTimeout",
      message,
    } as const;
    return withDeadline(deadline, async (signal) => {
      const pairs = Object.entries(headers).flatMap(([name, values]) =>
        values.map((value): [string, string] => [name, value]),
      );
      const response = await fetch(url, { headers: pairs, signal });
      const text = await readLimited(response);
      if (!response.ok)
        throw new LongshoreError("ConfigInvalid", `${url} answered ${response.status}`);
      if (text === "") throw new LongshoreError("ConfigInvalid", `${url} answered nothing`);
      return text;
    });
  }
}

async function readLimited(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MAX_MANIFEST_BYTES)
      throw new LongshoreError("ConfigInvalid", `more than ${MAX_MANIFEST_BYTES} bytes came`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
