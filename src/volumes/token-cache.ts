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

export interface TokenCacheOptions {
  readonly objects: Pick<ObjectSource, "requestToken">;
  readonly clock: Clock;
  readonly log: Logger;
}

export class TokenCache {
  readonly #options: TokenCacheOptions;
  readonly #tokens = new Map<string, Map<string, Held>>();

  constructor(options: TokenCacheOptions) {
    this.#options = options;
  }

  async get(pod: Pod, request: TokenRequest, signal: AbortSignal): Promise<string> {
    const { objects, clock, log } = this.#options;
    const ofPod = this.#tokens.get(pod.metadata.uid) ?? new Map<string, Held>();
    this.#tokens.set(pod.metadata.uid, ofPod);
    const key = JSON.stringify([pod.spec.serviceAccountName, request]);
    const held = ofPod.get(key);
    const now = clock.now();
    if (held !== undefined && now < held.refreshAt) return held.token;
    try {
      const issued = await objects.requestToken(pod, request, signal);
      const age = Math.min((issued.expiresAt - now) * REFRESH_AT, MAX_AGE_MS);
      ofPod.set(key, { ...issued, refreshAt: now + age });
      return issued.token;
    } catch (error) {
      if (held === undefined || clock.now() >= held.expiresAt) throw error;
      log.warn({ pod: pod.metadata.name, err: error }, "token not refreshed, keeping the old one");
      return held.token;
    }
  }

  forget(podUid: string): void {
    this.#tokens.delete(podUid);
  }
}
