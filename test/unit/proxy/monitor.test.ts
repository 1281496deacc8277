import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { EventSink } from "../../../src/api/events.ts";
import { MutableStore } from "../../../src/api/store.ts";
import type { EndpointSlice, Service } from "../../../src/api/types.ts";
import { HealthCheckServers } from "../../../src/proxy/healthcheck-servers.ts";
import { ProxyMetrics } from "../../../src/proxy/metrics.ts";
import { ProxyMonitor } from "../../../src/proxy/monitor.ts";
import type { SyncReport } from "../../../src/proxy/proxier.ts";
import { makeService, makeSlice } from "../../builders/services.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { recordingLog } from "../../support/netns.ts";

const web = makeService({ name: "web", clusterIp: "10.0.0.1" });
const slice = makeSlice({ service: "web", ips: ["10.1.0.1"], port: 80 });
const report: SyncReport = {
  family: "IPv4",
  kind: "full",
  durationMs: 250,
  rules: { filter: 4, nat: 9 },
  sent: { filter: 4, nat: 5 },
  triggers: [],
  skipped: [],
  healthChecks: [],
  noLocalEndpoints: { internal: 1, external: 2 },
};

let clock: FakeClock;
let services: MutableStore<Service>;
let slices: MutableStore<EndpointSlice>;
let metrics: ProxyMetrics;
let monitor: ProxyMonitor;
let events: string[];

beforeEach(() => {
  clock = new FakeClock();
  services = new MutableStore();
  slices = new MutableStore();
  metrics = new ProxyMetrics();
  events = [];
  const record: EventSink["record"] = (about, type, reason, words) =>
    events.push(`${about.name} ${type} ${reason}: ${words}`);
  const servers = new HealthCheckServers({
    family: "IPv4",
    addresses: [],
    isProxyHealthy: () => true,
    findService: () => undefined,
    events: { record },
    log: recordingLog().log,
  });
  monitor = new ProxyMonitor({
    ...{ services, endpointSlices: slices, metrics, clock },
    healthChecks: new Map([["IPv4", servers]]),
    events: { record },
  });
  monitor.start();
  services.replace([web]);
});

afterEach(() => monitor.stop());

/** The value of one sample; its name with labels as Prometheus prints them. */
async function sample(name: string): Promise<number | undefined> {
  const lines = (await metrics.text()).split("\n");
  const line = lines.find((each) => each.startsWith(`kubeproxy_${name} `));
  return line === undefined ? undefined : Number(line.split(" ").at(-1));
}

describe("the metrics", () => {
  test("have the time and the rules of a sync by family and table", async () => {
    await clock.advance(1000);
    monitor.onSync(report);
    monitor.onSync({ ...report, kind: "partial" });
    const of = '{ip_family="IPv4"}';
    expect(await sample(`sync_proxy_rules_duration_seconds_count${of}`)).toBe(2);
    expect(await sample(`sync_full_proxy_rules_duration_seconds_count${of}`)).toBe(1);
    expect(await sample(`sync_partial_proxy_rules_duration_seconds_sum${of}`)).toBe(0.25);
    const queued = await sample(`sync_proxy_rules_last_queued_timestamp_seconds${of}`);
    expect(queued).toBe(clock.now() / 1000 - 1);
    const last = await sample(`sync_proxy_rules_last_timestamp_seconds${of}`);
    expect(last).toBe(clock.now() / 1000);
    const table = '{ip_family="IPv4",table="nat"}';
    expect(await sample(`sync_proxy_rules_iptables_total${table}`)).toBe(9);
    expect(await sample(`sync_proxy_rules_iptables_last${table}`)).toBe(5);
    const policy = '{ip_family="IPv4",traffic_policy="external"}';
    expect(await sample(`sync_proxy_rules_no_local_endpoints_total${policy}`)).toBe(2);
  });

  test("count a change as pending until a sync that worked, each object once", async () => {
    slices.apply(slice);
    slices.apply(slice);
    monitor.onSync({ ...report, error: new Error("no") });
    expect(await sample("sync_proxy_rules_endpoint_changes_pending")).toBe(1);
    expect(await sample("sync_proxy_rules_endpoint_changes_total")).toBe(2);
    expect(await sample("sync_proxy_rules_service_changes_pending")).toBe(1);
    monitor.onSync(report);
    expect(await sample("sync_proxy_rules_endpoint_changes_pending")).toBe(0);
    expect(await sample("sync_proxy_rules_service_changes_pending")).toBe(0);
  });

  test("count failures, partial ones also apart, and no time of them", async () => {
    monitor.onSync({ ...report, error: new Error("no") });
    monitor.onSync({ ...report, kind: "partial", error: new Error("no") });
    const of = '{ip_family="IPv4"}';
    expect(await sample(`sync_proxy_rules_iptables_restore_failures_total${of}`)).toBe(2);
    expect(await sample(`sync_proxy_rules_iptables_partial_restore_failures_total${of}`)).toBe(1);
    expect(await sample(`sync_proxy_rules_duration_seconds_count${of}`)).toBeUndefined();
  });

  test("network programming latency runs from what triggered a change to the end of its sync", async () => {
    const triggers = [clock.now(), clock.now() + 500];
    await clock.advance(2000);
    monitor.onSync({ ...report, triggers });
    const of = '{ip_family="IPv4"}';
    expect(await sample(`network_programming_duration_seconds_count${of}`)).toBe(2);
    expect(await sample(`network_programming_duration_seconds_sum${of}`)).toBe(3.5);
  });

  test("are all under names that kube-proxy has", async () => {
    monitor.onSync(report);
    metrics.asked("/healthz", 200);
    metrics.asked("/livez", 503);
    const names = [...(await metrics.text()).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(names.sort()).toEqual(
      [
        "network_programming_duration_seconds",
        "proxy_healthz_total",
        "proxy_livez_total",
        "sync_full_proxy_rules_duration_seconds",
        "sync_partial_proxy_rules_duration_seconds",
        "sync_proxy_rules_duration_seconds",
        "sync_proxy_rules_endpoint_changes_pending",
        "sync_proxy_rules_endpoint_changes_total",
        "sync_proxy_rules_iptables_last",
        "sync_proxy_rules_iptables_partial_restore_failures_total",
        "sync_proxy_rules_iptables_restore_failures_total",
        "sync_proxy_rules_iptables_total",
        "sync_proxy_rules_last_queued_timestamp_seconds",
        "sync_proxy_rules_last_timestamp_seconds",
        "sync_proxy_rules_no_local_endpoints_total",
        "sync_proxy_rules_service_changes_pending",
        "sync_proxy_rules_service_changes_total",
      ].map((name) => `kubeproxy_${name}`),
    );
  });
});

describe("what is left out of the rules", () => {
  const skip = (...reasons: string[]) =>
    monitor.onSync({
      ...report,
      skipped: reasons.map((reason) => ({
        ...{ kind: "Service", namespace: "default", name: "web", reason },
      })),
    });

  test("is an event on the Service, once for each change of it", () => {
    skip();
    skip("a");
    skip("a");
    skip("a", "b");
    skip();
    skip("a");
    const head = "web Warning ServiceNotProgrammed: left out of the rules: ";
    expect(events).toEqual([`${head}a`, `${head}a; b`, `${head}a`]);
  });

  test("of a slice is an event on its Service", () => {
    slices.apply(slice);
    const skipped = [
      { kind: "EndpointSlice", namespace: "default", name: "web-1", reason: "a" } as const,
    ];
    monitor.onSync({ ...report, skipped });
    expect(events).toEqual([
      "web Warning ServiceNotProgrammed: left out of the rules: EndpointSlice web-1: a",
    ]);
  });

  test("of a thousand things names ten", () => {
    skip(...Array.from({ length: 1000 }, (_, i) => `x${i}`));
    expect(events).toHaveLength(1);
    expect(events[0]).toMatch(/x9; and 990 more$/);
  });

  test("of a Service that is gone is said to nobody", () => {
    services.replace([]);
    skip("a");
    expect(events).toEqual([]);
  });
});
