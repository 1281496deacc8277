/**
 * What the proxier tells those who watch it: health, metrics, health check ports and events. A port, so that the loop
 * knows nothing of servers and gauges. Implemented by monitor.ts; called by the proxier, one for each family, from its
 * loop. No method waits or throws.
 */

import type { Family } from "../core/ip.ts";

/** Rules by table. */
export interface RuleCounts {
  readonly filter: number;
  readonly nat: number;
}

export interface SyncReport {
  readonly family: Family;
  readonly isFull: boolean;
  /** From the start of the turn until the kernel had the rules. */
  readonly seconds: number;
  /** Rules that the kernel holds of ours now. */
  readonly owned: RuleCounts;
  /** Rules that were sent in this turn. */
  readonly written: RuleCounts;
}

/** Fields of one Service, and of its EndpointSlices, that could not be programmed. */
export interface Skip {
  readonly namespace: string;
  readonly name: string;
  /** One sentence for each thing left out, naming field and value; empty = nothing is left out any more. */
  readonly skipped: readonly string[];
}

export interface ProxyObserver {
  /** A change, or a lost canary, waits for a sync. Repeats before the next `onSyncStarted` are allowed. */
  onSyncQueued(family: Family): void;
  /** The changes told so far are taken; what is told from now on belongs to the next sync. */
  onSyncStarted(family: Family): void;
  onSynced(report: SyncReport): void;
  /** The changes taken by `onSyncStarted` are not in the kernel; the next sync is full. */
  onFailed(family: Family, isFull: boolean): void;
  /** Told when the ports of a Service are computed anew and something is, or was, left out. */
  onSkipped(family: Family, skip: Skip): void;
  /** After a look at the connection table. */
  onConntrackCleaned(family: Family, seconds: number, deleted: number): void;
}
