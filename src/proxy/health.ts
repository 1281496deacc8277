/**
 * Whether the proxy does its work: a family is unhealthy when a change has waited for the kernel longer than twice the
 * sync period. Also says whether load balancers should send here at all (node eligible). Answers /healthz and /livez
 * of port 10256 with kube-proxy's JSON. Reads the proxiers' states when asked.
 */

import type { Node } from "../api/types.ts";
import type { Clock } from "../core/clock.ts";
import type { Family } from "../core/ip.ts";
import { jsonReply, NOT_FOUND, type Reply } from "./http.ts";
import type { ProxierState } from "./proxier.ts";

/** Set by the cluster autoscaler on a node it is about to remove. */
const TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler";

export interface ProxyHealthOptions {
  readonly clock: Clock;
  readonly syncPeriodMs: number;
  /** The proxiers as they are now. */
  readonly states: () => ReadonlyMap<Family, ProxierState>;
}

export class ProxyHealth {
  readonly #options: ProxyHealthOptions;
  readonly #startedAt: number;
  #isEligible = false;

  constructor(options: ProxyHealthOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
  }

  setNode(node: Node | undefined): void {
    this.#isEligible =
      node !== undefined &&
      node.metadata.deletionTimestamp === undefined &&
      !(node.spec?.taints ?? []).some((taint) => taint.key === TO_BE_DELETED);
  }

  get isHealthy(): boolean {
    return [...this.#options.states().values()].every((state) => this.#isInStep(state));
  }

  answer(path: string): Reply {
    if (path !== "/healthz" && path !== "/livez") return NOT_FOUND;
    const nodeEligible = path === "/healthz" ? this.#isEligible : undefined;
    const healthy = this.isHealthy;
    const isOk = healthy && nodeEligible !== false;
    const now = this.#options.clock.now();
    const synced = [...this.#options.states()].flatMap(([family, state]) =>
      state.lastSyncAt === undefined ? [] : { family, at: state.lastSyncAt, state },
    );
    const status = synced.map(({ family, at, state }) => [
      family,
      { lastUpdated: formatNow(at), healthy: this.#isInStep(state) },
    ]);
    const latest = Math.max(this.#startedAt, ...synced.map(({ at }) => at));
    const body = {
      lastUpdated: formatNow(isOk ? now : latest),
      currentTime: formatNow(now),
      nodeEligible,
      healthy,
      status: synced.length === 0 ? undefined : Object.fromEntries(status),
    };
    return jsonReply(isOk ? 200 : 503, JSON.stringify(body), { Server: SERVER });
  }

  /** While the first lists are still to come there is nothing to be late with. */
  #isInStep({ pendingSince, lastSyncAt, lastError }: ProxierState): boolean {
    const isStarting = lastSyncAt === undefined && lastError === undefined;
    if (pendingSince === undefined || isStarting) return true;
    return this.#options.clock.now() - pendingSince < 2 * this.#options.syncPeriodMs;
  }
}

/** By it the search for another proxy knows our own port. */
export const SERVER = "longshore";

/** RFC 3339 with the milliseconds that the clock has. */
function formatNow(ms: number): string {
  return new Date(ms).toISOString();
}
