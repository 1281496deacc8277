/**
 * A file that somebody else replaces now and then: a token, a client certificate. Read when first asked for, looked at
 * again at most once a minute; while it cannot be read its last content serves on, since a rotation may be half-way.
 * Owned by the credentials of kubeconfig.ts.
 */

import { readFile } from "node:fs/promises";
import type { Clock } from "../core/clock.ts";

const MAX_AGE_MS = 60_000;

export class RotatingFile {
  readonly path: string;
  readonly #clock: Clock;
  #text: string | undefined;
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(path: string, clock: Clock) {
    this.path = path;
    this.#clock = clock;
  }

  /** Its content, at most a minute old. Throws what the file system says while it was never readable. */
  async text(): Promise<string> {
    const now = this.#clock.monotonic();
    if (this.#text !== undefined && now - this.#readAt < MAX_AGE_MS) return this.#text;
    this.#readAt = now;
    try {
      this.#text = await readFile(this.path, "utf8");
    } catch (error) {
      if (this.#text === undefined) throw error;
    }
    return this.#text;
  }

  /** Makes the next call read it anew: the server refused what it held. */
  expire(): void {
    this.#readAt = Number.NEGATIVE_INFINITY;
  }
}
