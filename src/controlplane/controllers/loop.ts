/**
 * What every controller is: a queue of keys fed by the store's changes, and one turn for a key. Turns are level
 * triggered: they read the store and write what is missing, so a key too many costs nothing and a restart begins with
 * all keys. A turn that fails is logged here, once, and tried again. Used by the other files of this folder.
 */

import { Backoff } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { hasCode } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { WorkQueue } from "../../core/workqueue.ts";
import type { KubeObject } from "../objects.ts";
import type { ResourceType } from "../registry.ts";
import type { Store, StoreEvent } from "../store.ts";

export interface ControllerContext {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface Controller {
  start(): void;
  /** Resolves when no turn runs any more. */
  stop(): Promise<void>;
}

export interface LoopOptions {
  readonly name: string;
  /** What to listen to; `undefined` is everything. */
  readonly types: readonly (ResourceType | undefined)[];
  readonly initialKeys: () => readonly string[];
  readonly keysOf: (event: StoreEvent) => readonly (string | { key: string; delayMs: number })[];
  /** One turn; the milliseconds until the key's next one, or undefined. */
  readonly sync: (key: string) => number | undefined | Promise<number | undefined>;
}

const RETRY = { initialMs: 50, maxMs: 10_000, resetMs: 60_000 };

export function createLoop(context: ControllerContext, options: LoopOptions): Controller {
  const log = context.log.child({ controller: options.name });
  const backoff = new Backoff(RETRY);
  const queue = new WorkQueue({
    clock: context.clock,
    concurrency: 1,
    handle: async (key) => options.sync(key),
    onError: (key, err) => {
      // The store is synchronous, so a conflict or a missing object only means that the key's next turn knows more.
      if (!hasCode(err, "ApiConflict", "ApiNotFound", "ApiAlreadyExists"))
        log.error({ err, key }, "controller turn failed");
      return backoff.fail(key, context.clock.monotonic());
    },
  });
  const stops: (() => void)[] = [];
  return {
    start() {
      for (const type of options.types) {
        const stop = context.store.subscribe(type, (event) => {
          for (const key of options.keysOf(event)) {
            if (typeof key === "string") queue.add(key);
            else queue.add(key.key, key.delayMs);
          }
        });
        stops.push(stop);
      }
      for (const key of options.initialKeys()) queue.add(key);
    },
    async stop() {
      for (const stop of stops.splice(0)) stop();
      await queue.stop();
    },
  };
}

/** "namespace/name", or "name". */
export function keyOf({ metadata }: KubeObject): string {
  return metadata.namespace === undefined
    ? metadata.name
    : `${metadata.namespace}/${metadata.name}`;
}

export function splitKey(key: string): { readonly namespace: string; readonly name: string } {
  const [namespace = "", name = ""] = key.split("/");
  return { namespace, name };
}
