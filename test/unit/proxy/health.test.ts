import { beforeEach, describe, expect, test } from "vitest";
import type { Node } from "../../../src/api/types.ts";
import { ProxyHealth } from "../../../src/proxy/health.ts";
import { FakeClock } from "../../fakes/clock.ts";

const node: Node = {
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "n", uid: "n", resourceVersion: "1" },
};
const START = "2026-01-01T00:00:00.000Z";
let clock: FakeClock;
let health: ProxyHealth;

beforeEach(() => {
  clock = new FakeClock();
  health = new ProxyHealth({ clock, syncPeriodMs: 30_000 });
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

  test("keeps kube-proxy's order of keys", async () => {
    health.queued("IPv4");
    health.started("IPv4");
    health.updated("IPv4");
    const { body } = health.answer("/healthz");
    expect(Object.keys(JSON.parse(body) as object)).toEqual([
      "lastUpdated",
      "currentTime",
      "nodeEligible",
      "healthy",
      "status",
    ]);
    expect(JSON.parse(body)).toMatchObject({
      status: { IPv4: { lastUpdated: START, healthy: true } },
    });
  });

  test("goes when a change has waited for twice the sync period, counted from the first request", async () => {
    health.queued("IPv4");
    await clock.advance(30_000);
    health.queued("IPv4");
    await clock.advance(29_999);
    expect(ask("/healthz").code).toBe(200);
    await clock.advance(1);
    expect(ask("/healthz")).toMatchObject({ code: 503, healthy: false, lastUpdated: START });
    expect(ask("/livez").code).toBe(503);
  });

  test("stays away while syncs begin and fail, and is back after one that worked", async () => {
    health.queued("IPv4");
    health.started("IPv4");
    await clock.advance(40_000);
    health.queued("IPv4");
    health.started("IPv4");
    await clock.advance(20_000);
    expect(health.isHealthy).toBe(false);
    health.updated("IPv4");
    expect(health.isHealthy).toBe(true);
  });

  test("counts a change that came while a sync ran from when it came", async () => {
    health.queued("IPv4");
    health.started("IPv4");
    await clock.advance(10_000);
    health.queued("IPv4");
    health.updated("IPv4");
    await clock.advance(59_999);
    expect(health.isHealthy).toBe(true);
    await clock.advance(1);
    expect(health.isHealthy).toBe(false);
  });

  test("of one family alone spoils the whole", async () => {
    health.queued("IPv6");
    await clock.advance(60_000);
    health.queued("IPv4");
    health.started("IPv4");
    health.updated("IPv4");
    const now = new Date(clock.now()).toISOString();
    expect(ask("/livez")).toMatchObject({
      code: 503,
      lastUpdated: now,
      status: { IPv4: { healthy: true } },
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
