/** At most so many things a second, with a burst before that counts. Pure bookkeeping over the times given. */

export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #at: number | undefined;

  /** @param perSecond 0 = without limit */
  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = Math.max(1, burst);
    this.#tokens = this.#burst;
  }

  /** Takes a token, also one of the future. Returns the milliseconds until it is there. */
  take(now: number): number {
    if (this.#perSecond === 0) return 0;
    const gained = ((now - (this.#at ?? now)) / 1000) * this.#perSecond;
    this.#tokens = Math.min(this.#burst, this.#tokens + gained) - 1;
    this.#at = now;
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens / this.#perSecond) * 1000);
  }
}
