/**
 * Whether the proxy does its work: a family is unhealthy when a change has waited for the kernel longer than twice the
 * sync period. Also says whether load balancers should send here at all (node eligible). Answers /healthz and /livez
 * of port 10256 with kube-proxy's JSON. Told by the monitor; asked by the health servers.
 */

import type { Node } from "../api/types.ts";
import type { Clock } from "../core/clock.ts";
import type { Family } from "../core/ip.ts";
import { jsonReply, NOT_FOUND, type Reply } from "./http.ts";

/** Set by the cluster autoscaler on a node it is about to remove. */
const TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler";

interface FamilyHealth {
  readonly lastUpdatedAt: number;
  readonly isHealthy: boolean;
}

interface Pending {
  waitingSince?: number | undefined;
  writingSince?: number | undefined;
  updatedAt?: number;
}

export class ProxyHealth {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #startedAt: number;
  readonly #families = new Map<Family, Pending>();
  #isEligible = false;

  constructor(options: { readonly clock: Clock; readonly syncPeriodMs: number }) {
    this.#clock = options.clock;
    this.#timeoutMs = 2 * options.syncPeriodMs;
    this.#startedAt = options.clock.now();
  }

  queued(family: Family): void {
    this.#of(family).waitingSince ??= this.#clock.now();
  }

  started(family: Family): void {
    const pending = this.#of(family);
    pending.writingSince ??= pending.waitingSince;
    pending.waitingSince = undefined;
  }

  updated(family: Family): void {
    const pending = this.#of(family);
    pending.writingSince = undefined;
    pending.updatedAt = this.#clock.now();
  }

  setNode(node: Node | undefined): void {
    this.#isEligible =
      node !== undefined &&
      node.metadata.deletionTimestamp === undefined &&
      !(node.spec?.taints ?? []).some((taint) => taint.key === TO_BE_DELETED);
  }

  get isHealthy(): boolean {
    return [...this.#families.values()].every((pending) => this.#healthOf(pending).isHealthy);
  }

  answer(path: string): Reply {
    if (path !== "/healthz" && path !== "/livez") return NOT_FOUND;
    const nodeEligible = path === "/healthz" ? this.#isEligible : undefined;
    const healthy = this.isHealthy;
    const isOk = healthy && nodeEligible !== false;
    const now = this.#clock.now();
    const synced = [...this.#families].filter(([, pending]) => pending.updatedAt !== undefined);
    const updates = synced.map(([, pending]) => pending.updatedAt ?? 0);
    const lastUpdated = isOk ? now : Math.max(this.#startedAt, ...updates);
    const status = Object.fromEntries(
      synced.map(([family, pending]) => {
        const { lastUpdatedAt, isHealthy } = this.#healthOf(pending);
        return [family, { lastUpdated: formatNow(lastUpdatedAt), healthy: isHealthy }];
      }),
    );
    const body = {
      lastUpdated: formatNow(lastUpdated),
      currentTime: formatNow(now),
      nodeEligible,
      healthy,
      status: synced.length === 0 ? undefined : status,
    };
    return jsonReply(isOk ? 200 : 503, JSON.stringify(body), { Server: SERVER });
  }

  #of(family: Family): Pending {
    const known = this.#families.get(family) ?? {};
    this.#families.set(family, known);
    return known;
  }

  #healthOf(pending: Pending): FamilyHealth {
    const since = pending.writingSince ?? pending.waitingSince;
    return {
      lastUpdatedAt: pending.updatedAt ?? this.#startedAt,
      isHealthy: since === undefined || this.#clock.now() - since < this.#timeoutMs,
    };
  }
}

/** By it the search for another proxy knows our own port. */
export const SERVER = "longshore";

/** RFC 3339 with the milliseconds that the clock has. */
function formatNow(ms: number): string {
  return new Date(ms).toISOString();
}
