/**
 * The proxy's metrics under kube-proxy's names (prefix kubeproxy_), in a registry of their own. Told by the monitor;
 * printed by the metrics server. What iptables mode has upstream and cannot be had here (nfacct counters) is absent.
 */

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Family } from "../core/ip.ts";
import type { SyncReport } from "./proxier.ts";
import { RULE_TABLES } from "./rule.ts";

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

  queued(families: Iterable<Family>, nowMs: number): void {
    for (const family of families) this.#lastQueued.set({ ip_family: family }, nowMs / 1000);
  }

  synced(report: SyncReport, nowMs: number): void {
    const { family, kind, durationMs, rules, sent, triggers, noLocalEndpoints } = report;
    const labels = { ip_family: family };
    if (report.error !== undefined) {
      this.#failures.inc(labels);
      if (kind === "partial") this.#partialFailures.inc(labels);
      return;
    }
    this.#sync.observe(labels, durationMs / 1000);
    (kind === "full" ? this.#syncFull : this.#syncPartial).observe(labels, durationMs / 1000);
    this.#lastSync.set(labels, nowMs / 1000);
    for (const table of RULE_TABLES) {
      this.#owned.set({ ...labels, table }, rules[table]);
      this.#written.set({ ...labels, table }, sent[table]);
    }
    for (const at of triggers) this.#programming.observe(labels, (nowMs - at) / 1000);
    for (const policy of ["internal", "external"] as const)
      this.#noLocal.set({ ...labels, traffic_policy: policy }, noLocalEndpoints[policy]);
  }

  changed(kind: ChangeKind, pending: number): void {
    this.#changes[kind].total.inc();
    this.#changes[kind].pending.set(pending);
  }

  changesTaken(): void {
    for (const { pending } of Object.values(this.#changes)) pending.set(0);
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
