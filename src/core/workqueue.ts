/**
 * Work by key. Three promises: a key waiting twice runs once, at the earlier of its times; a key that is being
 * worked on is held until that ends and then runs again; a held key blocks no other. At most `concurrency` keys run
 * at once. The handler may ask for its key again by returning milliseconds. Every loop of the program sits on one.
 */

import type { Clock, Timer } from "./clock.ts";

/** Told of each turn by who counts them. */
export interface QueueObserver {
  added(name: string): void;
  /** @param waitedSeconds beyond the time it was asked for */
  began(name: string, waitedSeconds: number): void;
  ended(name: string, workSeconds: number, isFailed: boolean): void;
}

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly concurrency: number;
  /** One turn for `key`. A returned number asks for the next turn after that many milliseconds. */
  readonly handle: (key: string, signal: AbortSignal) => Promise<number | undefined>;
  /** Called when `handle` throws; returns the delay before the key's next turn, or undefined for none. */
  readonly onError: (key: string, error: unknown) => number | undefined;
  /** Absent = nobody counts. */
  readonly observer?: QueueObserver | undefined;
  /** For the observer. */
  readonly name?: string;
}

export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #due = new Map<string, number>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #controller = new AbortController();
  readonly #name: string;
  #timer: Timer | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#name = options.name ?? "";
  }

  /** Asks for a turn of `key` in `delayMs` milliseconds, or earlier if it already waits for one. */
  add(key: string, delayMs = 0): void {
    if (this.#controller.signal.aborted) return;
    const at = this.#options.clock.monotonic() + delayMs;
    const waiting = this.#due.get(key);
    if (waiting !== undefined && waiting <= at) return;
    this.#due.set(key, at);
    this.#options.observer?.added(this.#name);
    this.#pump();
  }

  /** Forgets a waiting turn; one that runs goes on. */
  forget(key: string): void {
    this.#due.delete(key);
  }

  /** For people: whether a turn of `key` runs, and how many milliseconds the next one waits. */
  look(key: string): { readonly isRunning: boolean; readonly dueInMs: number | undefined } {
    const at = this.#due.get(key);
    const dueInMs =
      at === undefined ? undefined : Math.max(0, at - this.#options.clock.monotonic());
    return { isRunning: this.#running.has(key), dueInMs };
  }

  /** Gives the running turns an aborted signal and waits for them. Nothing runs after it resolves. */
  async stop(): Promise<void> {
    this.#controller.abort();
    this.#timer?.cancel();
    this.#due.clear();
    await Promise.all(this.#running.values());
  }

  #pump(): void {
    if (this.#controller.signal.aborted) return;
    const now = this.#options.clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const [key, at] of this.#due) {
      if (this.#running.has(key)) continue;
      if (at > now) {
        next = Math.min(next, at);
        continue;
      }
      if (this.#running.size >= this.#options.concurrency) continue;
      this.#due.delete(key);
      this.#options.observer?.began(this.#name, (now - at) / 1000);
      this.#running.set(key, this.#run(key));
    }
    this.#timer?.cancel();
    this.#timer = undefined;
    if (next === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#options.clock.after(next - now, () => this.#pump());
  }

  async #run(key: string): Promise<void> {
    // Yield first, so that `#running` holds the key before the handler can add it again.
    await Promise.resolve();
    const { clock, observer } = this.#options;
    const startedAt = clock.monotonic();
    let isFailed = false;
    let again: number | undefined;
    try {
      again = await this.#options.handle(key, this.#controller.signal);
    } catch (error) {
      isFailed = true;
      again = this.#options.onError(key, error);
    }
    observer?.ended(this.#name, (clock.monotonic() - startedAt) / 1000, isFailed);
    this.#running.delete(key);
    if (again !== undefined) this.add(key, again);
    this.#pump();
  }
}
