/**
 * A bucket of tokens per object, so that one failing pod cannot flood the API server with events: 25 at once, then one
 * each 5 minutes (client-go's EventSourceObjectSpamFilter). Pure bookkeeping over the times given. Used by event-recorder.ts.
 */

import { LruMap } from "./lru-map.ts";

const BURST = 25;
const REFILL_MS = 300_000;

interface Bucket {
  readonly tokens: number;
  readonly at: number;
}

export class EventLimiter {
  readonly #buckets: LruMap<string, Bucket>;

  /** @param capacity objects remembered; the ones not heard of for longest are forgotten. */
  constructor(capacity: number) {
    this.#buckets = new LruMap(capacity);
  }

  /** True when the object `key` may report at `now`. */
  take(key: string, now: number): boolean {
    const bucket = this.#buckets.get(key) ?? { tokens: BURST, at: now };
    const tokens = Math.min(BURST, bucket.tokens + (now - bucket.at) / REFILL_MS);
    const isAllowed = tokens >= 1;
    this.#buckets.set(key, { tokens: isAllowed ? tokens - 1 : tokens, at: now });
    return isAllowed;
  }
}
