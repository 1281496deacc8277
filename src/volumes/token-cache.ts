/**
 * Service account tokens of projected volumes: one per pod, audience and life, asked for again after 80 % of its
 * life or 24 h, whichever is first (the kubelet's rule). A refresh that fails keeps the old token while it is valid.
 * Tokens are held in memory only and forgotten with the pod.
 */

import type { Pod } from "../api/types.ts";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import type { IssuedToken, ObjectSource, TokenRequest } from "./volumes.ts";

const MAX_AGE_MS = 24 * 3600 * 1000;
const REFRESH_AT = 0.8;

interface Held extends IssuedToken {
  readonly refreshAt: number;
}

interface OfPod {
  readonly held: Map<string, Held>;
  /** What is being asked for; several sources of a pod may want the same. */
  readonly asked: Map<string, Promise<string>>;
}

export interface TokenCacheOptions {
  readonly objects: Pick<ObjectSource, "requestToken">;
  readonly clock: Clock;
  readonly log: Logger;
}

export class TokenCache {
  readonly #options: TokenCacheOptions;
  readonly #tokens = new Map<string, OfPod>();

  constructor(options: TokenCacheOptions) {
    this.#options = options;
  }

  /** Asked with the signal of the pod's turn; one pod has one turn at a time. */
  get(pod: Pod, request: TokenRequest, signal: AbortSignal): Promise<string> {
    const { uid } = pod.metadata;
    const ofPod = this.#tokens.get(uid) ?? { held: new Map(), asked: new Map() };
    this.#tokens.set(uid, ofPod);
    const key = JSON.stringify([pod.spec.serviceAccountName, request]);
    const held = ofPod.held.get(key);
    if (held !== undefined && this.#options.clock.now() < held.refreshAt)
      return Promise.resolve(held.token);
    const asked =
      ofPod.asked.get(key) ??
      this.#renew(pod, request, held, signal)
        .then((renewed) => {
          ofPod.held.set(key, renewed);
          return renewed.token;
        })
        .finally(() => ofPod.asked.delete(key));
    ofPod.asked.set(key, asked);
    return asked;
  }

  async #renew(
    pod: Pod,
    request: TokenRequest,
    held: Held | undefined,
    signal: AbortSignal,
  ): Promise<Held> {
    const { objects, clock, log } = this.#options;
    const now = clock.now();
    try {
      const issued = await objects.requestToken(pod, request, signal);
      const age = Math.min((issued.expiresAt - now) * REFRESH_AT, MAX_AGE_MS);
      return { ...issued, refreshAt: now + age };
    } catch (error) {
      if (held === undefined || clock.now() >= held.expiresAt) throw error;
      log.warn({ pod: pod.metadata.name, err: error }, "token not refreshed, keeping the old one");
      return held;
    }
  }

  forget(podUid: string): void {
    this.#tokens.delete(podUid);
  }
}
