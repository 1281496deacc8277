/** The ports of the proxy on real sockets: health, metrics, and health check node ports. */

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { ProxyHealth } from "../../src/proxy/health.ts";
import { HealthCheckServers } from "../../src/proxy/healthcheck-servers.ts";
import { KeptServer } from "../../src/proxy/http.ts";
import type { HealthCheck } from "../../src/proxy/local-policy.ts";
import { ProxyMetrics } from "../../src/proxy/metrics.ts";
import { createHealthServer, createMetricsServer } from "../../src/proxy/servers.ts";
import { makeService } from "../builders/services.ts";
import { FakeClock } from "../fakes/clock.ts";
import { recordingLog } from "../support/netns.ts";

const at = { host: "127.0.0.1", port: 0 };
const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** The port of a server that somebody else holds. */
async function takePort(): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  stops.push(() => new Promise((done) => server.close(() => done())));
  return { server, port: (server.address() as AddressInfo).port };
}

/** A port that nobody holds at this moment. */
async function freePort(): Promise<number> {
  const { server, port } = await takePort();
  await new Promise((done) => server.close(done));
  return port;
}

const get = (port: number | undefined, path: string, init?: RequestInit) =>
  fetch(`http://127.0.0.1:${port}${path}`, init);

describe("the health and the metrics port", () => {
  let health: ProxyHealth;
  let healthServer: KeptServer;
  let metricsServer: KeptServer;

  beforeEach(async () => {
    const metrics = new ProxyMetrics();
    const common = { at, hardFail: true, metrics, clock: systemClock, log: recordingLog().log };
    health = new ProxyHealth({ clock: systemClock, syncPeriodMs: 30_000, states: () => new Map() });
    healthServer = createHealthServer({ ...common, health });
    metricsServer = createMetricsServer({ ...common, configz: { mode: "iptables" } });
    for (const server of [healthServer, metricsServer]) {
      stops.push(() => server.stop());
      await server.start();
    }
  });

  test("healthz is JSON with kube-proxy's headers, and 503 for a node that is not eligible", async () => {
    const answer = await get(healthServer.port, "/healthz?x=1");
    expect(answer.status).toBe(503);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(await answer.json()).toMatchObject({ healthy: true, nodeEligible: false });
    expect((await get(healthServer.port, "/livez")).status).toBe(200);
    expect((await get(healthServer.port, "/")).status).toBe(404);
  });

  test("metrics count the answers of healthz, in Prometheus' format", async () => {
    await get(healthServer.port, "/healthz");
    const answer = await get(metricsServer.port, "/metrics");
    expect(answer.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(await answer.text()).toContain('kubeproxy_proxy_healthz_total{code="503"} 1\n');
  });

  test.each([
    ["/healthz", "ok"],
    ["/proxyMode", "iptables"],
    ["/configz", '{"kubeproxy.config.k8s.io":{"mode":"iptables"}}'],
  ])("%s says %s", async (path, text) => {
    expect(await (await get(metricsServer.port, path)).text()).toBe(text);
  });

  test.each(["/flagz", "/debug/pprof/", "//metrics"])("%s is not found", async (path) => {
    expect((await get(metricsServer.port, path)).status).toBe(404);
  });
});

describe("a port that somebody else holds", () => {
  const serverAt = (port: number, clock: FakeClock, hardFail: boolean, log = recordingLog()) =>
    new KeptServer({
      name: "proxy health",
      at: { host: "127.0.0.1", port },
      answer: () => ({ status: 200, type: "text/plain", body: "ours" }),
      hardFail,
      clock,
      log: log.log,
    });

  test("is tried again every 5 s, warned of once, until it is ours", async () => {
    const { server, port } = await takePort();
    const clock = new FakeClock();
    const log = recordingLog();
    const kept = serverAt(port, clock, false, log);
    stops.push(() => kept.stop());
    await kept.start();
    expect(kept.port).toBeUndefined();
    await clock.advance(5_000);
    await new Promise((done) => server.close(done));
    for (let i = 0; i < 100 && kept.port === undefined; i++) {
      await clock.advance(5_000);
      await new Promise((wake) => setTimeout(wake, 5));
    }
    expect(await (await get(port, "/")).text()).toBe("ours");
    expect(log.messages.filter((line) => line.includes("is taken"))).toHaveLength(1);
  });

  test("ends the start where bindAddressHardFail is set", async () => {
    const { port } = await takePort();
    const kept = serverAt(port, new FakeClock(), true);
    await expect(kept.start()).rejects.toThrow(`cannot listen on 127.0.0.1 port ${port}`);
    await kept.stop();
  });
});

describe("health check node ports", () => {
  const service = makeService({ name: "lb", clusterIp: "10.0.0.2" });
  let events: string[];
  let isProxyHealthy: boolean;
  let servers: HealthCheckServers;
  let port: number;
  const check = (localEndpoints: number, change: Partial<HealthCheck> = {}): HealthCheck => ({
    namespace: "default",
    name: "lb",
    port,
    localEndpoints,
    ...change,
  });

  beforeEach(async () => {
    port = await freePort();
    events = [];
    isProxyHealthy = true;
    servers = new HealthCheckServers({
      family: "IPv4",
      addresses: ["127.0.0.1"],
      isProxyHealthy: () => isProxyHealthy,
      findService: (key) => (key === "default/lb" ? service : undefined),
      events: {
        record: (about, type, reason) =>
          events.push(`${about.kind}/${about.name} ${type} ${reason}`),
      },
      log: recordingLog().log,
    });
    stops.push(() => servers.stop());
  });

  test("say how many endpoints are here, on any path and method", async () => {
    await servers.sync([check(2)]);
    const answer = await get(port, "/any/path", { method: "POST", body: "x" });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("x-load-balancing-endpoint-weight")).toBe("2");
    expect(await answer.text()).toBe(
      '{\n\t"service": {\n\t\t"namespace": "default",\n\t\t"name": "lb"\n\t},\n\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}',
    );
  });

  test("answer 503 without endpoints, and when the proxy is not healthy", async () => {
    await servers.sync([check(0)]);
    expect((await get(port, "/")).status).toBe(503);
    await servers.sync([check(1)]);
    expect((await get(port, "/")).status).toBe(200);
    isProxyHealthy = false;
    expect(await (await get(port, "/")).json()).toMatchObject({ serviceProxyHealthy: false });
    expect((await get(port, "/")).status).toBe(503);
  });

  test("move to another port and close with the Service", async () => {
    await servers.sync([check(1)]);
    const other = await freePort();
    await servers.sync([check(1, { port: other })]);
    await expect(get(port, "/")).rejects.toThrow();
    expect((await get(other, "/")).status).toBe(200);
    await servers.sync([]);
    await expect(get(other, "/")).rejects.toThrow();
  });

  test("that are taken are an event on the Service, tried again by the next sync, and hurt no other", async () => {
    const taken = await takePort();
    const both = [check(1, { port: taken.port }), check(1, { name: "other" })];
    await servers.sync(both);
    expect(events).toEqual(["Service/lb Warning FailedToStartServiceHealthcheck"]);
    expect((await get(port, "/")).status).toBe(200);
    await new Promise((done) => taken.server.close(done));
    await servers.sync(both);
    expect((await get(taken.port, "/")).status).toBe(200);
    expect(events).toHaveLength(1);
  });
});
