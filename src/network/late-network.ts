/**
 * The pod network before it exists: what is asked of it fails until the real one has been set. Lets pods of the host's
 * network run, static ones above all, while the node has no podCIDR yet. Made by agent-pods.ts.
 */

import { LongshoreError } from "../core/errors.ts";
import type { Sandbox } from "../runtime/runtime.ts";
import type { PodNetwork } from "./network.ts";

export class LateNetwork implements PodNetwork {
  #network: PodNetwork | undefined;

  get isReady(): boolean {
    return this.#network !== undefined;
  }

  set(network: PodNetwork): void {
    this.#network = network;
  }

  start(signal: AbortSignal): Promise<void> {
    return this.#get().start(signal);
  }

  async allocate(
    podUid: string,
    list: () => Promise<readonly Sandbox[]>,
  ): Promise<readonly string[]> {
    return this.#get().allocate(podUid, list);
  }

  release(podUid: string): void {
    this.#network?.release(podUid);
  }

  attach(sandbox: Sandbox, signal: AbortSignal): Promise<void> {
    return this.#get().attach(sandbox, signal);
  }

  detach(sandbox: Sandbox, signal: AbortSignal): Promise<void> {
    return this.#get().detach(sandbox, signal);
  }

  collect(live: readonly Sandbox[], signal: AbortSignal): Promise<void> {
    return this.#get().collect(live, signal);
  }

  #get(): PodNetwork {
    if (this.#network !== undefined) return this.#network;
    throw new LongshoreError("NetworkFailed", "the pod network is not ready");
  }
}
