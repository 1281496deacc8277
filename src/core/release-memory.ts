/**
 * Gives back to the kernel what only a burst of work needed, the start first of all: pages of the program that are not used, and,
 * when V8's heap has grown, garbage, the room between live objects and free pieces of the C library's heap. V8 itself sees no
 * reason to while nothing asks it for more. Compacting stops everything else for a moment (0.1 s, 0.4 s with 10,000
 * Services), so it is done ever more seldom. Made by agent.ts.
 */

import { Session } from "node:inspector";
import type { Clock, Timer } from "./clock.ts";
import { releaseProgramPages } from "./program-pages.ts";

export interface MemoryKeeperOptions {
  readonly clock: Clock;
  /** Bytes that V8 has from the kernel. */
  readonly heap: () => number;
  readonly compactHeap: () => void;
  readonly releasePages: () => void;
}

/** From the start until the first look: pods that ran before are adopted by then, and most often all rules are written. */
const FIRST_LOOK_MS = 30_000;
const LONGEST_WAIT_MS = 600_000;
/** Less is not worth the pause. */
const GROWTH = 1.15;

export class MemoryKeeper {
  readonly #options: MemoryKeeperOptions;
  /** Bytes of the heap after it was compacted. */
  #least = 0;
  #timer: Timer | undefined;

  constructor(options: MemoryKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#waitFor(FIRST_LOOK_MS);
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
  }

  #waitFor(ms: number): void {
    this.#timer = this.#options.clock.after(ms, () => {
      this.#look();
      this.#waitFor(Math.min(2 * ms, LONGEST_WAIT_MS));
    });
  }

  #look(): void {
    const { heap, compactHeap, releasePages } = this.#options;
    if (heap() > GROWTH * this.#least) {
      compactHeap();
      this.#least = heap();
    }
    releasePages();
  }
}

/** That of this process. What this Node or the C library does not offer is left out; the memory then stays. */
export const OWN_MEMORY = {
  heap: () => process.memoryUsage().heapTotal,
  compactHeap,
  releasePages: releaseProgramPages,
};

function compactHeap(): void {
  // The inspector's way needs no flag of V8 for the whole program, as `gc` does.
  const session = new Session();
  session.connect();
  session.post("HeapProfiler.collectGarbage");
  session.disconnect();
  const ffi = process.getBuiltinModule("node:ffi");
  if (ffi === undefined || process.platform !== "linux") return;
  try {
    const trim = { malloc_trim: { arguments: ["uint64"], return: "int32" } } as const;
    ffi.dlopen(null, trim).functions.malloc_trim(0n);
  } catch {
    // A C library without it, as musl is.
    return;
  }
}
