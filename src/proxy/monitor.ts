/**
 * Watches the proxy: turns the reports of the proxiers, and what changes in the stores, into metrics, health check ports
 * and events. Decides nothing about rules, and nothing here can hold up a sync. Made by agent-proxy.ts, one for both
 * families.
 */

import type { EventSink } from "../api/events.ts";
import type { Store } from "../api/store.ts";
import type { EndpointSlice, Service } from "../api/types.ts";
import type { Clock } from "../core/clock.ts";
import type { Family } from "../core/ip.ts";
import { serviceKeyOf } from "./endpoints.ts";
import { involvedService } from "./events.ts";
import type { HealthCheckServers } from "./healthcheck-servers.ts";
import type { ChangeKind, ProxyMetrics } from "./metrics.ts";
import type { SyncReport } from "./proxier.ts";
import type { Skipped } from "./rule.ts";

export interface ProxyMonitorOptions {
  readonly services: Store<Service>;
  readonly endpointSlices: Store<EndpointSlice>;
  readonly metrics: ProxyMetrics;
  readonly healthChecks: ReadonlyMap<Family, HealthCheckServers>;
  readonly events: EventSink;
  readonly clock: Clock;
}

/** So many words are enough to mend the first of them. */
const MAX_SKIPS_NAMED = 10;

export class ProxyMonitor {
  readonly #options: ProxyMonitorOptions;
  readonly #pending = { service: new Set<string>(), endpoint: new Set<string>() };
  /** By family: what was last said of each Service. */
  readonly #said = new Map<Family, ReadonlyMap<string, string>>();

  constructor(options: ProxyMonitorOptions) {
    this.#options = options;
  }

  /** Begins to follow the stores. To be called before the proxiers start, so that no change is missed. */
  start(): void {
    const { services, endpointSlices } = this.#options;
    services.onChange(({ key }) => this.#changed("service", key));
    endpointSlices.onChange(({ key }) => this.#changed("endpoint", key));
  }

  /** Closes the health check ports. */
  async stop(): Promise<void> {
    for (const servers of this.#options.healthChecks.values()) await servers.stop();
  }

  onSync(report: SyncReport): void {
    const { metrics, clock, healthChecks } = this.#options;
    metrics.synced(report, clock.now());
    if (report.error !== undefined) return;
    for (const pending of Object.values(this.#pending)) pending.clear();
    metrics.changesTaken();
    void healthChecks.get(report.family)?.sync(report.healthChecks);
    this.#say(report.family, report.skipped);
  }

  /** An event on the Service, once for each set of things left out: a repeat says nothing new. */
  #say(family: Family, skipped: readonly Skipped[]): void {
    const { services, events } = this.#options;
    const before = this.#said.get(family);
    const now = new Map<string, string>();
    for (const [key, skips] of Map.groupBy(skipped, (skip) => this.#serviceOf(skip))) {
      const service = services.get(key);
      if (service === undefined) continue;
      const words = describe(skips);
      now.set(key, words);
      if (before?.get(key) !== words)
        events.record(involvedService(service), "Warning", "ServiceNotProgrammed", words);
    }
    this.#said.set(family, now);
  }

  #serviceOf({ kind, namespace, name }: Skipped): string {
    const key = `${namespace}/${name}`;
    const slice = kind === "Service" ? undefined : this.#options.endpointSlices.get(key);
    return slice === undefined ? key : (serviceKeyOf(slice) ?? key);
  }

  #changed(kind: ChangeKind, key: string): void {
    const { metrics, healthChecks, clock } = this.#options;
    metrics.changed(kind, this.#pending[kind].add(key).size);
    metrics.queued(healthChecks.keys(), clock.now());
  }
}

function describe(skips: readonly Skipped[]): string {
  const named = skips
    .slice(0, MAX_SKIPS_NAMED)
    .map(({ kind, name, reason }) => (kind === "Service" ? reason : `${kind} ${name}: ${reason}`));
  const more = skips.length - named.length;
  return `left out of the rules: ${named.join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}
