/**
 * Keeps the mirror pods on the API server as the static pods are: made, made anew when somebody deleted or changed
 * them, deleted with the static pod or when there never was one. Never gives up and never holds up a static pod.
 * Made by agent-pods.ts.
 */

import type { ApiClient } from "../../api/client.ts";
import { PODS } from "../../api/resources.ts";
import type { Store } from "../../api/store.ts";
import type { Node, Pod } from "../../api/types.ts";
import { jitteredDelay } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { hasCode } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { WorkQueue } from "../../core/workqueue.ts";
import { planMirror } from "./mirror.ts";
import type { PodSources } from "./pod-sources.ts";

export interface MirrorLoopOptions {
  readonly client: Pick<ApiClient, "create" | "delete">;
  readonly api: Store<Pod>;
  readonly sources: Pick<PodSources, "staticPod" | "isHeld" | "onMirrorDue">;
  /** undefined until it is registered; `PodSources.open` asks for every mirror when it is. */
  readonly node: () => Node | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

const API_POLL_MS = 1_000;
const CONCURRENCY = 4;
const RETRY = { initialMs: 500, maxMs: 20_000 };

export class MirrorLoop {
  readonly #options: MirrorLoopOptions;
  readonly #queue: WorkQueue;
  readonly #failures = new Map<string, number>();

  constructor(options: MirrorLoopOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      clock: options.clock,
      concurrency: CONCURRENCY,
      handle: (key, signal) => this.#sync(key, signal),
      onError: (key, error) => this.#onError(key, error),
    });
    options.sources.onMirrorDue((key) => this.#queue.add(key));
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  async #sync(key: string, signal: AbortSignal): Promise<number | undefined> {
    const { client, api, sources, node: findNode, log } = this.#options;
    const node = findNode();
    if (node === undefined) return undefined;
    if (!api.isSynced) return API_POLL_MS;
    const pod = sources.staticPod(key);
    const stored = api.get(key);
    const step = planMirror({ pod, stored, isHeld: sources.isHeld(key), node });
    switch (step.kind) {
      case "none":
        break;
      case "create":
        await client.create(PODS, pod?.metadata.namespace, step.body, signal);
        log.info({ pod: key }, "mirror pod created");
        break;
      case "delete":
        await this.#delete(key, step.uid, signal);
        break;
    }
    this.#failures.delete(key);
    return undefined;
  }

  async #delete(key: string, uid: string, signal: AbortSignal): Promise<void> {
    const [namespace = "", name = ""] = key.split("/");
    try {
      const ref = { namespace, name, uid, gracePeriodSeconds: 0 };
      await this.#options.client.delete(PODS, ref, signal);
      this.#options.log.info({ pod: key }, "mirror pod deleted");
    } catch (error) {
      // Gone, or another one by now: the store will tell.
      if (!hasCode(error, "ApiNotFound", "ApiConflict")) throw error;
    }
  }

  #onError(key: string, error: unknown): number {
    const attempt = this.#failures.get(key) ?? 0;
    this.#failures.set(key, attempt + 1);
    const fields = { pod: key, err: error };
    // The first time the store may only be behind: the mirror made a moment ago is not in it yet.
    const isNews = attempt === (hasCode(error, "ApiAlreadyExists") ? 1 : 0);
    if (isNews) this.#options.log.warn(fields, "the mirror pod is not as it should be yet");
    else this.#options.log.debug(fields, "the mirror pod is not as it should be yet");
    return jitteredDelay(attempt, RETRY, this.#options.random);
  }
}
