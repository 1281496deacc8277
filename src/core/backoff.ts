/**
 * Back-off per key: doubles from `initialMs` to `maxMs`, and is forgotten when a key has been quiet for `resetMs`.
 * Pure bookkeeping over times that the caller passes in. Used for container restarts (10 s to 5 min, reset after
 * 10 min: kubelet's values), image pulls and retries of loops.
 */

export interface BackoffPolicy {
  readonly initialMs: number;
  readonly maxMs: number;
  /** Quiet time after which the next failure starts at `initialMs` again. */
  readonly resetMs: number;
}

interface Entry {
  readonly delayMs: number;
  readonly since: number;
}

export class Backoff {
  readonly #policy: BackoffPolicy;
  readonly #entries = new Map<string, Entry>();

  constructor(policy: BackoffPolicy) {
    this.#policy = policy;
  }

  /** Records a failure at `now` and returns the milliseconds to wait from then. */
  fail(key: string, now: number): number {
    const previous = this.#entries.get(key);
    const isFresh = previous === undefined || now - previous.since > this.#policy.resetMs;
    const delayMs = isFresh
      ? this.#policy.initialMs
      : Math.min(previous.delayMs * 2, this.#policy.maxMs);
    this.#entries.set(key, { delayMs, since: now });
    return delayMs;
  }

  /** Milliseconds still to wait at `now`; 0 when free to go. */
  remaining(key: string, now: number): number {
    const entry = this.#entries.get(key);
    return entry === undefined ? 0 : Math.max(0, entry.since + entry.delayMs - now);
  }

  /** The delay last recorded, or 0. */
  delay(key: string): number {
    return this.#entries.get(key)?.delayMs ?? 0;
  }

  reset(key: string): void {
    this.#entries.delete(key);
  }

  /** What a checkpoint stores; `restore` takes it back. */
  snapshot(): Readonly<Record<string, Entry>> {
    return Object.fromEntries(this.#entries);
  }

  restore(entries: Readonly<Record<string, Entry>>): void {
    for (const [key, entry] of Object.entries(entries)) this.#entries.set(key, entry);
  }
}

/** Exponential delay with full jitter in the upper half, for reconnecting loops. `random` gives [0, 1). */
export function jitteredDelay(
  attempt: number,
  policy: { readonly initialMs: number; readonly maxMs: number },
  random: () => number,
): number {
  const ceiling = Math.min(policy.maxMs, policy.initialMs * 2 ** Math.min(attempt, 30));
  return ceiling / 2 + (random() * ceiling) / 2;
}
