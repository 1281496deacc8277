/**
 * The proxy's metrics under kube-proxy's names (prefix kubeproxy_), in a registry of their own. Told by the monitor;
 * printed by the metrics server. What iptables mode has upstream and cannot be had here (nfacct counters) is absent.
 */

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Family } from "../core/ip.ts";
import type { RuleCounts, SyncReport } from "./observer.ts";

const FAMILY = ["ip_family"] as const;
const SYNC_BUCKETS = Array.from({ length: 15 }, (_, k) => 0.001 * 2 ** k);
const PROGRAMMING_BUCKETS = [
  0.25,
  0.5,
  ...Array.from({ length: 59 }, (_, i) => i + 1),
  ...Array.from({ length: 12 }, (_, i) => 60 + 5 * i),
  ...Array.from({ length: 7 }, (_, i) => 120 + 30 * i),
];

export type ChangeKind = "endpoint" | "service";

export class ProxyMetrics {
  readonly #registry = new Registry();
  readonly #sync = this.#duration("sync_proxy_rules_duration_seconds", "SyncProxyRules latency");
  readonly #syncFull = this.#duration(
    "sync_full_proxy_rules_duration_seconds",
    "SyncProxyRules latency for full resyncs",
  );
  readonly #syncPartial = this.#duration(
    "sync_partial_proxy_rules_duration_seconds",
    "SyncProxyRules latency for partial resyncs",
  );
  readonly #conntrack = this.#duration(
    "conntrack_reconciler_sync_duration_seconds",
    "Latency of a look at the connection table",
  );
  readonly #programming = new Histogram({
    name: "kubeproxy_network_programming_duration_seconds",
    help: "Time from the change of a pod or Service until the rules are in the kernel",
    labelNames: FAMILY,
    buckets: PROGRAMMING_BUCKETS,
    registers: [this.#registry],
  });
  readonly #lastSync = this.#gauge(
    "sync_proxy_rules_last_timestamp_seconds",
    "When the rules were last written",
    FAMILY,
  );
  readonly #lastQueued = this.#gauge(
    "sync_proxy_rules_last_queued_timestamp_seconds",
    "When a sync of the rules was last asked for",
    FAMILY,
  );
  readonly #owned = this.#gauge("sync_proxy_rules_iptables_total", "Rules owned by the proxy", [
    "table",
    "ip_family",
  ]);
  readonly #written = this.#gauge(
    "sync_proxy_rules_iptables_last",
    "Rules written in the last sync",
    ["table", "ip_family"],
  );
  readonly #noLocal = this.#gauge(
    "sync_proxy_rules_no_local_endpoints_total",
    "Service ports of policy Local with endpoints elsewhere and none here",
    ["traffic_policy", "ip_family"],
  );
  readonly #failures = this.#counter(
    "sync_proxy_rules_iptables_restore_failures_total",
    "Failed runs of iptables-restore",
    FAMILY,
  );
  readonly #partialFailures = this.#counter(
    "sync_proxy_rules_iptables_partial_restore_failures_total",
    "Failed runs of iptables-restore in partial syncs",
    FAMILY,
  );
  readonly #deletedFlows = this.#counter(
    "conntrack_reconciler_deleted_entries_total",
    "Deleted connection table entries",
    FAMILY,
  );
  readonly #healthz = this.#counter("proxy_healthz_total", "Answers of /healthz", ["code"]);
  readonly #livez = this.#counter("proxy_livez_total", "Answers of /livez", ["code"]);
  readonly #changes = {
    endpoint: this.#changesOf("endpoint"),
    service: this.#changesOf("service"),
  } as const;

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  queued(family: Family, nowMs: number): void {
    this.#lastQueued.set({ ip_family: family }, nowMs / 1000);
  }

  synced(report: SyncReport, nowMs: number): void {
    const labels = { ip_family: report.family };
    this.#sync.observe(labels, report.seconds);
    (report.isFull ? this.#syncFull : this.#syncPartial).observe(labels, report.seconds);
    this.#lastSync.set(labels, nowMs / 1000);
    for (const table of ["filter", "nat"] as const satisfies (keyof RuleCounts)[]) {
      this.#owned.set({ ...labels, table }, report.owned[table]);
      this.#written.set({ ...labels, table }, report.written[table]);
    }
  }

  failed(family: Family, isFull: boolean): void {
    this.#failures.inc({ ip_family: family });
    if (!isFull) this.#partialFailures.inc({ ip_family: family });
  }

  programmed(family: Family, seconds: number): void {
    this.#programming.observe({ ip_family: family }, seconds);
  }

  changed(kind: ChangeKind, pending: number): void {
    this.#changes[kind].total.inc();
    this.#changes[kind].pending.set(pending);
  }

  changesTaken(): void {
    for (const { pending } of Object.values(this.#changes)) pending.set(0);
  }

  noLocalEndpoints(family: Family, policy: "internal" | "external", count: number): void {
    this.#noLocal.set({ ip_family: family, traffic_policy: policy }, count);
  }

  conntrackCleaned(family: Family, seconds: number, deleted: number): void {
    this.#conntrack.observe({ ip_family: family }, seconds);
    this.#deletedFlows.inc({ ip_family: family }, deleted);
  }

  asked(path: string, code: number): void {
    if (path === "/healthz") this.#healthz.inc({ code });
    if (path === "/livez") this.#livez.inc({ code });
  }

  #duration(name: string, help: string): Histogram<"ip_family"> {
    return new Histogram({
      name: `kubeproxy_${name}`,
      help,
      labelNames: FAMILY,
      buckets: SYNC_BUCKETS,
      registers: [this.#registry],
    });
  }

  #gauge<T extends string>(name: string, help: string, labelNames: readonly T[]): Gauge<T> {
    return new Gauge({ name: `kubeproxy_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #counter<T extends string>(name: string, help: string, labelNames: readonly T[]): Counter<T> {
    return new Counter({
      name: `kubeproxy_${name}`,
      help,
      labelNames,
      registers: [this.#registry],
    });
  }

  #changesOf(kind: ChangeKind) {
    const name = `sync_proxy_rules_${kind}_changes`;
    return {
      pending: this.#gauge<never>(
        `${name}_pending`,
        `Changes of ${kind}s that wait for a sync`,
        [],
      ),
      total: this.#counter<never>(`${name}_total`, `Changes of ${kind}s`, []),
    };
  }
}
