/**
 * Time that tests turn by hand. `advance` runs the timers that fall due in order and lets the promises that each of
 * them settles run on before the next, so that a loop of sleeps goes round as often as it would in real time.
 * A suite that must leave nothing behind asserts `pendingTimers === 0`.
 */

import type { Clock, Timer } from "../../src/core/clock.ts";

interface Pending {
  readonly at: number;
  readonly callback: () => void;
}

/** The default start, 2026-01-01T00:00:00Z. */
export const START_OF_TIME = Date.UTC(2026, 0, 1);

export class FakeClock implements Clock {
  readonly #pending = new Map<number, Pending>();
  readonly #start: number;
  #now: number;
  #nextId = 0;

  constructor(start: number = START_OF_TIME) {
    this.#start = start;
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now - this.#start;
  }

  after(ms: number, callback: () => void): Timer {
    const id = this.#nextId++;
    this.#pending.set(id, { at: this.#now + Math.max(0, ms), callback });
    return { cancel: () => void this.#pending.delete(id) };
  }

  /** Timers that are neither run nor cancelled. */
  get pendingTimers(): number {
    return this.#pending.size;
  }

  /** Milliseconds until the next timer; undefined when there is none. */
  get nextTimerInMs(): number | undefined {
    const next = this.#nextDue(Number.POSITIVE_INFINITY);
    return next === undefined ? undefined : next.at - this.#now;
  }

  /** Moves time on by `ms`, running what falls due in order; timers set on the way count too. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (let due = this.#nextDue(end); due !== undefined; due = this.#nextDue(end)) {
      this.#pending.delete(due.id);
      this.#now = Math.max(this.#now, due.at);
      due.callback();
      await settle();
    }
    this.#now = end;
  }

  #nextDue(end: number): (Pending & { readonly id: number }) | undefined {
    let first: (Pending & { readonly id: number }) | undefined;
    for (const [id, pending] of this.#pending) {
      if (pending.at > end) continue;
      if (first === undefined || pending.at < first.at) first = { ...pending, id };
    }
    return first;
  }
}

/** Lets everything run that waits only for settled promises. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
