/**
 * What containers use of the disk: their writable layers and their logs. Asking never measures: the last measurement is
 * told, and one that is older than a minute is made anew behind, one container at a time, because the Engine walks the
 * layer. Nobody asks, nothing is measured. Read by reads.ts.
 */

import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { ContainerDisk, NodeStats } from "./collector.ts";

interface Entry {
  readonly askedAt: number;
  readonly disk?: ContainerDisk;
}

const FRESH_MS = 60_000;

export class ContainerDisks {
  readonly #runtime: Pick<Runtime, "containerUsage">;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #entries = new Map<string, Entry>();
  readonly #stopping = new AbortController();
  #measuring: Promise<void> = Promise.resolve();

  constructor(options: {
    readonly runtime: Pick<Runtime, "containerUsage">;
    readonly clock: Clock;
    readonly log: Logger;
  }) {
    this.#runtime = options.runtime;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Nothing before the first measurement. */
  #of(id: string): { readonly disk?: ContainerDisk } {
    const known = this.#entries.get(id);
    const now = this.#clock.monotonic();
    if (known === undefined || now - known.askedAt >= FRESH_MS) {
      this.#entries.set(id, { ...known, askedAt: now });
      this.#measuring = this.#measuring.then(() => this.#measure(id));
    }
    return known?.disk === undefined ? {} : { disk: known.disk };
  }

  /** Forgets all others. */
  #retain(ids: ReadonlySet<string>): void {
    for (const id of this.#entries.keys()) if (!ids.has(id)) this.#entries.delete(id);
  }

  /** The same with what is known of the containers' disks. */
  addTo(stats: NodeStats): NodeStats {
    const pods = stats.pods.map((pod) => ({
      ...pod,
      containers: pod.containers.map((one) => ({ ...one, ...this.#of(one.container.id) })),
    }));
    const ids = pods.flatMap(({ containers }) => containers.map(({ container }) => container.id));
    this.#retain(new Set(ids));
    return { ...stats, pods };
  }

  /** Ends what is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#measuring;
  }

  /** Never rejects. */
  async #measure(id: string): Promise<void> {
    const { signal } = this.#stopping;
    if (signal.aborted || !this.#entries.has(id)) return;
    try {
      const usage = await this.#runtime.containerUsage(id, signal);
      const entry = this.#entries.get(id);
      if (entry !== undefined)
        this.#entries.set(id, { ...entry, disk: { ...usage, at: this.#clock.now() } });
    } catch (error) {
      // Of a container that ended meanwhile, mostly.
      if (!signal.aborted) this.#log.debug({ id, why: messageOf(error) }, "container not measured");
    }
  }
}
