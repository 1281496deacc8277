/** What the agent counts, under upstream's names, and who tells it. */

import { expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import { measureRuntime } from "../../../src/runtime/measured-runtime.ts";
import type { Runtime } from "../../../src/runtime/runtime.ts";
import { AgentMetrics } from "../../../src/server/stats/agent-metrics.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { FakeNode } from "../pods/fake-node.ts";
import { makePod } from "../pods/support.ts";

const { signal } = new AbortController();

/** `name{labels}` → value; of histograms the count and the sum. */
async function read(metrics: AgentMetrics): Promise<ReadonlyMap<string, number>> {
  const lines = (await metrics.format()).split("\n").filter((line) => /^[a-z]/.test(line));
  const pairs = lines.map((line) => /^(.*) (\S+)$/.exec(line) ?? []);
  return new Map(pairs.map(([, name = "", value]) => [name, Number(value)]));
}

test("a call of the Engine is counted with its time, its failure, and as a look at the runtime", async () => {
  const clock = new FakeClock();
  const metrics = new AgentMetrics();
  let failure: LongshoreError | undefined;
  const plain = {
    list: async () => {
      await clock.advance(200);
      if (failure !== undefined) throw failure;
      return { sandboxes: [], containers: [] };
    },
    logs: () => "as it was",
  } as unknown as Runtime;
  const runtime = measureRuntime(plain, clock, (operation, result) =>
    metrics.onRuntimeOperation(operation, { ...result, at: clock.now() / 1000 }),
  );
  await runtime.list(signal);
  await runtime.list(signal);
  failure = new LongshoreError("EngineTimeout", "late");
  await expect(runtime.list(signal)).rejects.toThrow("late");
  failure = new LongshoreError("Aborted", "given up");
  await expect(runtime.list(signal)).rejects.toThrow("given up");
  expect(runtime.logs).toBe(plain.logs);
  const seen = await read(metrics);
  const of = '{operation_type="list_containers"}';
  expect(seen.get(`kubelet_runtime_operations_total${of}`)).toBe(3);
  expect(seen.get(`kubelet_runtime_operations_errors_total${of}`)).toBe(1);
  expect(seen.get(`kubelet_runtime_operations_duration_seconds_sum${of}`)).toBeCloseTo(0.6);
  expect(seen.get("kubelet_pleg_relist_duration_seconds_count")).toBe(2);
  expect(seen.get("kubelet_pleg_relist_interval_seconds_sum")).toBeCloseTo(0.2);
});

test("a pod that starts is counted once, with the time since it was seen and since it was made", async () => {
  const node = new FakeNode();
  node.pods.replace([]);
  node.runtime.images.set("web:1", "sha256:web");
  await node.start();
  const creationTimestamp = new Date(node.clock.now() - 2000).toISOString();
  node.apply(makePod({}, { creationTimestamp }));
  await node.run();
  await node.run(60_000);
  const seen = await read(node.metrics);
  expect(seen.get("kubelet_pod_start_duration_seconds_count")).toBe(1);
  expect(seen.get("kubelet_pod_start_sli_duration_seconds_sum")).toBeCloseTo(2, 0);
  expect(seen.get("kubelet_pod_worker_start_duration_seconds_count")).toBe(1);
  expect(seen.get('kubelet_pod_worker_duration_seconds_count{operation_type="create"}')).toBe(1);
  expect(seen.get("kubelet_started_pods_total")).toBe(1);
  expect(seen.get('kubelet_started_containers_total{container_type="container"}')).toBe(1);
  expect(seen.get('workqueue_adds_total{name="pods"}')).toBeGreaterThan(0);
  expect(seen.get('workqueue_work_duration_seconds_count{name="pods"}')).toBeGreaterThan(0);
  await node.manager.stop();
});

test("requests to the API server and to the node are counted by upstream's labels", async () => {
  const metrics = new AgentMetrics();
  metrics.onApiExchange({ method: "GET", host: "a:1", code: "200", seconds: 0.1 });
  metrics.onApiExchange({ method: "GET", host: "a:1", code: "<error>", seconds: 1 });
  metrics.onRequest({ method: "GET", path: "pods", long_running: "false" }, 0.5);
  metrics.onCgroupOperation("create", 0.5);
  metrics.evicted("emptydirfs.limit");
  const seen = await read(metrics);
  expect(seen.get('rest_client_requests_total{code="<error>",method="GET",host="a:1"}')).toBe(1);
  expect(seen.get('rest_client_request_duration_seconds_count{verb="GET",host="a:1"}')).toBe(2);
  const labels = 'method="GET",path="pods",long_running="false",server_type="readwrite"';
  expect(seen.get(`kubelet_http_requests_duration_seconds_sum{${labels}}`)).toBe(0.5);
  expect(seen.get('kubelet_evictions{eviction_signal="emptydirfs.limit"}')).toBe(1);
});
