import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MutableStore } from "../../../src/api/store.ts";
import type { EndpointSlice, Service } from "../../../src/api/types.ts";
import { computeLocalPolicy } from "../../../src/proxy/local-policy.ts";
import { ProxyMetrics } from "../../../src/proxy/metrics.ts";
import { ProxyMonitor } from "../../../src/proxy/monitor.ts";
import { Proxier } from "../../../src/proxy/proxier.ts";
import { makeService, makeSlice, PROXIER_RULES } from "../../builders/services.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { FakeIptables } from "../../fakes/iptables.ts";
import { recordingLog } from "../../support/netns.ts";

const web = makeService({ name: "web", clusterIp: "10.0.0.1" });
const slice = (trigger?: string): EndpointSlice => {
  const made = makeSlice({ service: "web", ips: ["10.1.0.1"], port: 80 });
  const annotations = { "endpoints.kubernetes.io/last-change-trigger-time": trigger ?? "" };
  return { ...made, metadata: { ...made.metadata, annotations } };
};
const report = {
  family: "IPv4",
  isFull: true,
  seconds: 0.25,
  owned: { filter: 4, nat: 9 },
  written: { filter: 4, nat: 5 },
} as const;

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
  monitor = new ProxyMonitor({
    services,
    endpointSlices: slices,
    nodeName: "this-node",
    metrics,
    healthChecks: new Map(),
    events: {
      record: (about, type, reason, words) =>
        events.push(`${about.name} ${type} ${reason}: ${words}`),
    },
    clock,
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
    monitor.onSyncQueued("IPv4");
    await clock.advance(1000);
    monitor.onSyncStarted("IPv4");
    monitor.onSynced(report);
    monitor.onSynced({ ...report, isFull: false });
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
  });

  test("count a change as pending until a sync takes it, each object once", async () => {
    slices.apply(slice());
    slices.apply(slice());
    expect(await sample("sync_proxy_rules_endpoint_changes_pending")).toBe(1);
    expect(await sample("sync_proxy_rules_endpoint_changes_total")).toBe(2);
    expect(await sample("sync_proxy_rules_service_changes_pending")).toBe(1);
    monitor.onSyncStarted("IPv4");
    expect(await sample("sync_proxy_rules_endpoint_changes_pending")).toBe(0);
    expect(await sample("sync_proxy_rules_service_changes_pending")).toBe(0);
  });

  test("count failures, partial ones also apart", async () => {
    monitor.onFailed("IPv4", true);
    monitor.onFailed("IPv4", false);
    const of = '{ip_family="IPv4"}';
    expect(await sample(`sync_proxy_rules_iptables_restore_failures_total${of}`)).toBe(2);
    expect(await sample(`sync_proxy_rules_iptables_partial_restore_failures_total${of}`)).toBe(1);
  });

  test("network programming latency runs from the trigger to the sync that worked, over failed ones", async () => {
    const of = '{ip_family="IPv4"}';
    await clock.advance(1000);
    slices.apply(slice("2026-01-01T00:00:00.500Z"));
    monitor.onSyncStarted("IPv4");
    monitor.onFailed("IPv4", false);
    await clock.advance(1000);
    monitor.onSyncStarted("IPv4");
    monitor.onSynced(report);
    expect(await sample(`network_programming_duration_seconds_count${of}`)).toBe(1);
    expect(await sample(`network_programming_duration_seconds_sum${of}`)).toBe(1.5);
  });

  test.each([
    ["before the start of the proxy", "2025-12-31T23:59:59Z"],
    ["that is no time", "yesterday"],
  ])("a trigger %s is no latency of ours", async (_what, trigger) => {
    slices.apply(slice(trigger));
    monitor.onSyncStarted("IPv4");
    monitor.onSynced(report);
    const name = 'network_programming_duration_seconds_count{ip_family="IPv4"}';
    expect((await sample(name)) ?? 0).toBe(0);
  });

  test("are all under names that kube-proxy has", async () => {
    monitor.onSyncQueued("IPv4");
    monitor.onSyncStarted("IPv4");
    monitor.onSynced(report);
    monitor.onConntrackCleaned("IPv4", 0.1, 3);
    metrics.asked("/healthz", 200);
    metrics.asked("/livez", 503);
    const names = [...(await metrics.text()).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(names.sort()).toEqual(
      [
        "conntrack_reconciler_deleted_entries_total",
        "conntrack_reconciler_sync_duration_seconds",
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
  const skip = (...skipped: string[]) =>
    monitor.onSkipped("IPv4", { namespace: "default", name: "web", skipped });

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

  test("in both families alike is one event", () => {
    skip("a");
    monitor.onSkipped("IPv6", { namespace: "default", name: "web", skipped: ["a"] });
    expect(events).toHaveLength(1);
    monitor.onSkipped("IPv6", { namespace: "default", name: "web", skipped: ["b"] });
    expect(events).toHaveLength(2);
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

test("a proxier that leaves out rubbish has it said as an event, and the rest is in the kernel", async () => {
  const iptables = new FakeIptables();
  const proxier = new Proxier({
    ...{ services, endpointSlices: slices, iptables, clock, observer: monitor },
    rules: () => PROXIER_RULES,
    conntrack: { cleanStale: async () => 0 },
    log: recordingLog().log,
    ...{ syncPeriodMs: 30_000, minSyncPeriodMs: 1000 },
  });
  proxier.start();
  const odd = makeService({
    name: "odd",
    clusterIp: "10.0.0.9",
    spec: { externalIPs: ["300.1.1.1; reboot"] },
  });
  services.replace([web, odd]);
  slices.replace([makeSlice({ service: "web", ips: ["10.1.0.1", "10.1.0.300"], port: 80 })]);
  await clock.advance(5000);
  expect(events.sort()).toEqual([
    expect.stringMatching(/^odd Warning ServiceNotProgrammed: .*300\.1\.1\.1; reboot/),
    expect.stringMatching(/^web Warning ServiceNotProgrammed: .*web-1.*10\.1\.0\.300/),
  ]);
  expect(await iptables.save("nat")).toContain("--to-destination 10.1.0.1:80");
  expect(await sample('sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"}')).toBe(1);
  await proxier.stop();
});

describe("policy Local", () => {
  const spec = {
    type: "LoadBalancer",
    externalTrafficPolicy: "Local",
    healthCheckNodePort: 30_999,
    ports: [
      { name: "", protocol: "TCP", port: 80, nodePort: 30_080 },
      { name: "tls", protocol: "TCP", port: 443, nodePort: 30_443 },
    ],
  } satisfies Partial<NonNullable<Service["spec"]>>;
  const balanced = makeService({ name: "lb", clusterIp: "10.0.0.2", spec });
  const here = makeSlice({ service: "lb", ips: ["10.1.0.1", "10.1.0.2"], port: 80 });
  const compute = (service: Service, ...endpointSlices: EndpointSlice[]) =>
    computeLocalPolicy({
      services: [web, service],
      endpointSlices,
      family: "IPv4",
      nodeName: "this-node",
    });
  const elsewhere = (made: EndpointSlice): EndpointSlice => ({
    ...made,
    endpoints: (made.endpoints ?? []).map((endpoint) => ({ ...endpoint, nodeName: "other" })),
  });

  test("counts addresses of ready local endpoints once over all ports", () => {
    const ports: EndpointSlice["ports"] = [
      { name: "", protocol: "TCP", port: 80 },
      { name: "tls", protocol: "TCP", port: 443 },
    ];
    const { healthChecks } = compute(balanced, { ...here, ports });
    expect(healthChecks).toEqual([
      { namespace: "default", name: "lb", port: 30_999, localEndpoints: 2 },
    ]);
  });

  test("does not count endpoints that end, though they still serve", () => {
    const conditions = { ready: false, serving: true, terminating: true };
    const ending = makeSlice({ service: "lb", ips: ["10.1.0.3"], port: 80, conditions });
    const { healthChecks, noLocal } = compute(balanced, ending);
    expect(healthChecks[0]?.localEndpoints).toBe(0);
    expect(noLocal).toEqual({ internal: 0, external: 0 });
  });

  test("counts the ports that have endpoints elsewhere and none here, not those that have none at all", () => {
    expect(compute(balanced, elsewhere(here)).noLocal).toEqual({ internal: 0, external: 1 });
    const internal = makeService({
      name: "in",
      clusterIp: "10.0.0.3",
      spec: { internalTrafficPolicy: "Local" },
    });
    const remote = elsewhere(makeSlice({ service: "in", ips: ["10.1.0.9"], port: 80 }));
    expect(compute(internal, remote).noLocal).toEqual({ internal: 1, external: 0 });
    expect(compute(internal).noLocal).toEqual({ internal: 0, external: 0 });
  });

  test("of an object that no API server would hand out costs no other its health check", () => {
    const odd = { ...balanced, metadata: { ...balanced.metadata, name: "odd" } };
    const shapeless = { ...odd, spec: { ...odd.spec, ports: {} as never } };
    const services = [shapeless, balanced];
    const slices = [
      {
        ...here,
        metadata: { ...here.metadata, labels: { "kubernetes.io/service-name": "odd" } },
        endpoints: [{} as never],
      },
      here,
    ];
    const input = {
      services,
      endpointSlices: slices,
      family: "IPv4",
      nodeName: "this-node",
    } as const;
    expect(computeLocalPolicy(input).healthChecks.map((check) => check.name)).toEqual(["lb"]);
    expect(computeLocalPolicy({ ...input, services: [odd] }).healthChecks).toEqual([]);
  });

  test.each<[string, Partial<NonNullable<Service["spec"]>>]>([
    ["is no LoadBalancer", { type: "NodePort" }],
    ["has policy Cluster", { externalTrafficPolicy: "Cluster" }],
    ["has no such port", { healthCheckNodePort: 0 }],
  ])("a Service that %s has no health check port", (_what, change) => {
    const service = { ...balanced, spec: { ...balanced.spec, ...change } };
    expect(compute(service, here).healthChecks).toEqual([]);
  });
});
