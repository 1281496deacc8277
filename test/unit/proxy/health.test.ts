import { beforeEach, describe, expect, test } from "vitest";
import type { Node } from "../../../src/api/types.ts";
import type { Family } from "../../../src/core/ip.ts";
import { ProxyHealth } from "../../../src/proxy/health.ts";
import type { ProxierState } from "../../../src/proxy/proxier.ts";
import { FakeClock } from "../../fakes/clock.ts";

const node: Node = {
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "n", uid: "n", resourceVersion: "1" },
};
const START = "2026-01-01T00:00:00.000Z";
let clock: FakeClock;
let health: ProxyHealth;
let states: Map<Family, ProxierState>;

beforeEach(() => {
  clock = new FakeClock();
  states = new Map();
  health = new ProxyHealth({ clock, syncPeriodMs: 30_000, states: () => states });
  health.setNode(node);
});

const ask = (path: string) => {
  const { status, body } = health.answer(path);
  return { code: status, ...(JSON.parse(body) as object) };
};

describe("the health of the proxy", () => {
  test("is good from the start, without a status of any family", () => {
    const times = { lastUpdated: START, currentTime: START };
    expect(ask("/healthz")).toEqual({ code: 200, ...times, nodeEligible: true, healthy: true });
  });

  test("keeps kube-proxy's order of keys", () => {
    states.set("IPv4", { lastSyncAt: clock.now() });
    const body = JSON.parse(health.answer("/healthz").body) as object;
    const keys = ["lastUpdated", "currentTime", "nodeEligible", "healthy", "status"];
    expect(Object.keys(body)).toEqual(keys);
    expect(body).toMatchObject({ status: { IPv4: { lastUpdated: START, healthy: true } } });
  });

  test("goes when a change has waited for twice the sync period", async () => {
    states.set("IPv4", { lastSyncAt: clock.now(), pendingSince: clock.now() });
    await clock.advance(59_999);
    expect(ask("/healthz").code).toBe(200);
    await clock.advance(1);
    expect(ask("/healthz")).toMatchObject({ code: 503, healthy: false, lastUpdated: START });
    expect(ask("/livez").code).toBe(503);
    states.set("IPv4", { lastSyncAt: clock.now() });
    expect(ask("/healthz")).toMatchObject({ code: 200, healthy: true });
  });

  test("is not lost while the first lists are still to come, but is by a first sync that fails", async () => {
    const pendingSince = clock.now();
    states.set("IPv4", { pendingSince });
    await clock.advance(600_000);
    expect(health.isHealthy).toBe(true);
    states.set("IPv4", { pendingSince, lastError: "iptables-restore failed" });
    expect(health.isHealthy).toBe(false);
  });

  test("of one family alone spoils the whole", async () => {
    states.set("IPv6", { pendingSince: clock.now(), lastSyncAt: clock.now() });
    await clock.advance(60_000);
    states.set("IPv4", { lastSyncAt: clock.now() });
    expect(ask("/livez")).toMatchObject({
      code: 503,
      lastUpdated: new Date(clock.now()).toISOString(),
      status: { IPv4: { healthy: true }, IPv6: { healthy: false, lastUpdated: START } },
    });
  });

  test.each<[string, Node | undefined]>([
    ["is unknown", undefined],
    ["is being deleted", { ...node, metadata: { ...node.metadata, deletionTimestamp: START } }],
    [
      "is to go by the autoscaler",
      {
        ...node,
        spec: { taints: [{ key: "ToBeDeletedByClusterAutoscaler", effect: "NoSchedule" }] },
      },
    ],
  ])("a node that %s is healthy, alive and not eligible", (_what, given) => {
    health.setNode(given);
    expect(ask("/healthz")).toMatchObject({ code: 503, healthy: true, nodeEligible: false });
    expect(ask("/livez").code).toBe(200);
    expect(ask("/livez")).not.toHaveProperty("nodeEligible");
  });

  test("another taint changes nothing, and another path is not found", () => {
    health.setNode({ ...node, spec: { taints: [{ key: "x", effect: "NoSchedule" }] } });
    expect(ask("/healthz").code).toBe(200);
    expect(health.answer("/metrics").status).toBe(404);
  });
});
