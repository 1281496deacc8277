/**
 * Watches the proxy: turns what the proxiers tell, and what changes in the stores, into metrics, health check ports and
 * events. Decides nothing about rules, and nothing here can hold up a sync. Made by agent-proxy.ts, one for
 * both families.
 */

import type { EventSink } from "../api/events.ts";
import type { Store } from "../api/store.ts";
import type { EndpointSlice, Service } from "../api/types.ts";
import type { Clock } from "../core/clock.ts";
import type { Family } from "../core/ip.ts";
import { involvedService } from "./events.ts";
import type { HealthCheckServers } from "./healthcheck-servers.ts";
import { computeLocalPolicy, hasLocalPolicy } from "./local-policy.ts";
import type { ChangeKind, ProxyMetrics } from "./metrics.ts";
import type { ProxyObserver, Skip, SyncReport } from "./observer.ts";

export interface ProxyMonitorOptions {
  readonly services: Store<Service>;
  readonly endpointSlices: Store<EndpointSlice>;
  readonly nodeName: string;
  readonly metrics: ProxyMetrics;
  readonly healthChecks: ReadonlyMap<Family, HealthCheckServers>;
  readonly events: EventSink;
  readonly clock: Clock;
}

const TRIGGER_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time";
const FAMILIES: readonly Family[] = ["IPv4", "IPv6"];
/** So many words are enough to mend the first of them. */
const MAX_SKIPS_NAMED = 10;

/** Times (milliseconds since the epoch) of the changes that a family has yet to write, and that it is writing. */
interface Triggers {
  waiting: number[];
  writing: number[];
}

export class ProxyMonitor implements ProxyObserver {
  readonly #options: ProxyMonitorOptions;
  readonly #startedAt: number;
  readonly #triggers = new Map<Family, Triggers>();
  readonly #pending = { service: new Set<string>(), endpoint: new Set<string>() };
  /** The Services that have a policy Local; most clusters have few. */
  readonly #local = new Map<string, Service>();
  /** By family and Service: what was said last. */
  readonly #said = new Map<string, string>();

  constructor(options: ProxyMonitorOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
  }

  /** Begins to follow the stores. To be called before the proxiers start, so that no change is missed. */
  start(): void {
    const { services, endpointSlices } = this.#options;
    services.onChange((change) => {
      this.#changed("service", change.key);
      if (change.kind === "applied" && hasLocalPolicy(change.object))
        this.#local.set(change.key, change.object);
      else this.#local.delete(change.key);
    });
    endpointSlices.onChange((change) => {
      this.#changed("endpoint", change.key);
      if (change.kind === "applied") this.#noteTrigger(change.object, change.previous);
    });
  }

  /** Closes the health check ports. */
  async stop(): Promise<void> {
    for (const servers of this.#options.healthChecks.values()) await servers.stop();
  }

  onSyncQueued(family: Family): void {
    const { metrics, clock } = this.#options;
    metrics.queued(family, clock.now());
  }

  onSyncStarted(family: Family): void {
    const triggers = this.#triggersOf(family);
    triggers.writing.push(...triggers.waiting.splice(0));
    for (const pending of Object.values(this.#pending)) pending.clear();
    this.#options.metrics.changesTaken();
  }

  onSynced(report: SyncReport): void {
    const { metrics, clock, healthChecks, endpointSlices, nodeName } = this.#options;
    const { family } = report;
    metrics.synced(report, clock.now());
    for (const at of this.#triggersOf(family).writing.splice(0))
      metrics.programmed(family, (clock.now() - at) / 1000);
    const objects = {
      services: [...this.#local.values()],
      endpointSlices: this.#local.size === 0 ? [] : endpointSlices.list(),
    };
    const facts = computeLocalPolicy({ ...objects, family, nodeName });
    metrics.noLocalEndpoints(family, "internal", facts.noLocal.internal);
    metrics.noLocalEndpoints(family, "external", facts.noLocal.external);
    void healthChecks.get(family)?.sync(facts.healthChecks);
  }

  onFailed(family: Family, isFull: boolean): void {
    this.#options.metrics.failed(family, isFull);
  }

  onConntrackCleaned(family: Family, seconds: number, deleted: number): void {
    this.#options.metrics.conntrackCleaned(family, seconds, deleted);
  }

  /** Once for each set of things left out: a repeat says nothing new. */
  onSkipped(family: Family, { namespace, name, skipped }: Skip): void {
    const key = `${namespace}/${name}`;
    const words = describe(skipped);
    const said = `${family} ${key}`;
    if (words === (this.#said.get(said) ?? "")) return;
    if (words === "") {
      this.#said.delete(said);
      return;
    }
    const service = this.#options.services.get(key);
    if (service === undefined) return;
    // What concerns both families is said once.
    const isNew = !FAMILIES.some((other) => this.#said.get(`${other} ${key}`) === words);
    this.#said.set(said, words);
    if (!isNew) return;
    this.#options.events.record(involvedService(service), "Warning", "ServiceNotProgrammed", words);
  }

  #changed(kind: ChangeKind, key: string): void {
    const pending = this.#pending[kind].add(key);
    this.#options.metrics.changed(kind, pending.size);
  }

  #noteTrigger(slice: EndpointSlice, previous: EndpointSlice | undefined): void {
    const text = slice.metadata.annotations?.[TRIGGER_ANNOTATION];
    if (text === undefined || text === previous?.metadata.annotations?.[TRIGGER_ANNOTATION]) return;
    const at = Date.parse(text);
    const family = slice.addressType;
    // What happened before we ran is not our latency; and a NaN is later than nothing.
    if (!(at > this.#startedAt) || (family !== "IPv4" && family !== "IPv6")) return;
    this.#triggersOf(family).waiting.push(at);
  }

  #triggersOf(family: Family): Triggers {
    const known = this.#triggers.get(family) ?? { waiting: [], writing: [] };
    this.#triggers.set(family, known);
    return known;
  }
}

function describe(skipped: readonly string[]): string {
  if (skipped.length === 0) return "";
  const named = skipped.slice(0, MAX_SKIPS_NAMED).join("; ");
  const more = skipped.length - MAX_SKIPS_NAMED;
  return `left out of the rules: ${named}${more > 0 ? `; and ${more} more` : ""}`;
}
