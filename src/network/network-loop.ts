/**
 * Brings the pod network up as soon as the node has a podCIDR, and keeps it in repair: bridge, rules and sysctls that
 * others changed, the Engine's restarts. Says what keeps it from being ready, tries again by itself, and calls
 * `onReady` once, when pods may start. Made by agent.ts.
 */

import { sleep } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { PodNetwork } from "./network.ts";

type RepairableNetwork = PodNetwork & { repair(signal: AbortSignal): Promise<void> };

export interface NetworkLoopOptions<N extends RepairableNetwork> {
  /** This node's range; undefined until the Node object has one. */
  readonly podCidr: () => string | undefined;
  readonly create: (podCidr: string) => N;
  /** Starts what needs the network. When it throws, it is called again after a while. */
  readonly onReady: (network: N, signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

const RETRY_MS = 5_000;
const REPAIR_MS = 60_000;
const WAIT_MS = 100;
/** A repair may meet a busy lock; pods that run are no worse for it. */
const TOLERATED_REPAIRS = 3;
const NOT_READY = "container runtime network not ready";

export class NetworkLoop<N extends RepairableNetwork> {
  readonly #options: NetworkLoopOptions<N>;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #network: N | undefined;
  #isReady = false;
  #failures = 0;
  #problem: string | undefined = `${NOT_READY}: waiting for a podCIDR`;

  constructor(options: NetworkLoopOptions<N>) {
    this.#options = options;
  }

  /** What keeps pods from starting; undefined = nothing. */
  get problem(): string | undefined {
    return this.#problem;
  }

  start(): void {
    this.#running ??= this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const waitMs = await this.#turn(signal);
      try {
        await sleep(this.#options.clock, waitMs, signal);
      } catch (error) {
        if (!hasCode(error, "Aborted")) throw error;
      }
    }
  }

  /** Milliseconds until the next turn. */
  async #turn(signal: AbortSignal): Promise<number> {
    const { podCidr, create, onReady, log } = this.#options;
    const cidr = podCidr();
    if (cidr === undefined) return WAIT_MS;
    try {
      this.#network ??= create(cidr);
      await (this.#isReady ? this.#network.repair(signal) : this.#network.start(signal));
      if (!this.#isReady) await onReady(this.#network, signal);
      this.#isReady = true;
      this.#failures = 0;
      this.#problem = undefined;
      return REPAIR_MS;
    } catch (error) {
      if (signal.aborted) return 0;
      this.#failures += 1;
      if (this.#failures === 1)
        log.warn({ err: error }, "the pod network could not be set up; it will be tried again");
      if (!this.#isReady || this.#failures >= TOLERATED_REPAIRS)
        this.#problem = `${NOT_READY}: ${messageOf(error)}`;
      return RETRY_MS;
    }
  }
}
