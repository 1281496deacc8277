/** Resizes in a whole manager: what is done in which order, what other pods have to do with it, what a restart keeps. */

import { afterEach, beforeEach, expect, test } from "vitest";
import type { Container as ContainerSpec, Pod } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import { FakeNode } from "./fake-node.ts";
import { makePod } from "./support.ts";

let node: FakeNode;

beforeEach(() => {
  node = new FakeNode();
  node.allocatable = { cpu: 1000, memory: 2 ** 30 };
  node.runtime.images.set("web:1", "sha256:web");
  node.pods.replace([]);
});
afterEach(() => node.manager.stop());

const cpu = (amount: string): NonNullable<ContainerSpec["resources"]> => ({
  requests: { cpu: amount },
  limits: { cpu: amount },
});

function podOf(name: string, amount: string, generation = 1): Pod {
  const containers = [{ name: "web", image: "web:1", resources: cpu(amount) }];
  return makePod({ containers }, { name, uid: `uid-${name}`, generation });
}

async function start(...pods: readonly Pod[]): Promise<void> {
  await node.start();
  for (const pod of pods) node.apply(pod);
  await node.run();
  node.journal.length = 0;
  node.statuses.length = 0;
}

async function resize(pod: Pod): Promise<void> {
  node.apply(pod);
  await node.run();
}

const statusOf = (name: string) => node.pods.get(`ns/${name}`)?.status;
const conditionOf = (name: string) =>
  statusOf(name)?.conditions?.find(({ type }) => type.startsWith("PodResize"));
const told = () => node.events.filter((event) => event.includes("Resize"));

test("a resize is announced with its generation, grows the pod first and fits it at last", async () => {
  await start(podOf("a", "100m"));
  await resize(podOf("a", "200m", 2));
  expect(node.journal).toEqual([
    "resize-pod grow",
    'update web {"cpuShares":204,"cpuQuotaMicros":20000,"cpuPeriodMicros":100000}',
    "resize-pod exact",
  ]);
  // Whoever waits for the generation must find it announced, or done.
  const first = node.statuses.find(({ observedGeneration }) => observedGeneration === 2);
  expect(first?.conditions).toContainEqual(
    expect.objectContaining({ type: "PodResizeInProgress", status: "True", observedGeneration: 2 }),
  );
  expect(statusOf("a")?.observedGeneration).toBe(2);
  expect(conditionOf("a")).toBeUndefined();
  expect(statusOf("a")?.containerStatuses?.[0]).toMatchObject({
    resources: cpu("200m"),
    allocatedResources: { cpu: "200m" },
    restartCount: 0,
  });
  const summary = `{"containers":[{"name":"web","resources":${JSON.stringify(cpu("200m"))}}],"generation":2}`;
  expect(told()).toEqual([
    `Normal ResizeStarted Pod resize started: ${summary}`,
    `Normal ResizeCompleted Pod resize completed: ${summary}`,
  ]);
});

test("what does not fit waits until another pod goes", async () => {
  await start(podOf("a", "100m"), podOf("b", "600m"));
  await resize(podOf("a", "700m", 2));
  expect(conditionOf("a")).toMatchObject({ type: "PodResizePending", reason: "Deferred" });
  expect(statusOf("a")?.containerStatuses?.[0]).toMatchObject({
    allocatedResources: { cpu: "100m" },
  });
  expect(node.journal).toEqual([]);
  const { metadata, spec } = podOf("b", "600m");
  const deletion = { deletionTimestamp: "2026-01-01T00:00:30Z", deletionGracePeriodSeconds: 1 };
  await resize({ spec, metadata: { ...metadata, ...deletion } } as Pod);
  expect(conditionOf("a")).toBeUndefined();
  expect(statusOf("a")?.containerStatuses?.[0]).toMatchObject({
    allocatedResources: { cpu: "700m" },
  });
});

test.each<readonly [string, number, number]>([
  ["of higher priority", 10, 0],
  ["that has waited longest", 0, 2_000],
])("of two that wait, the pod %s gets what another leaves", async (_who, priority, ms) => {
  const important = (pod: Pod): Pod => ({ ...pod, spec: { ...pod.spec, priority } });
  const first = (amount: string, generation?: number) => important(podOf("z", amount, generation));
  await start(podOf("a", "100m"), first("100m"), podOf("b", "600m"));
  const order = ms === 0 ? [podOf("a", "600m", 2), first("600m", 2)] : [first("600m", 2)];
  for (const pod of order) await resize(pod);
  if (ms > 0) {
    await node.run(ms);
    await resize(podOf("a", "600m", 2));
  }
  expect(["a", "z"].map((name) => conditionOf(name)?.reason)).toEqual(["Deferred", "Deferred"]);
  await resize(podOf("b", "50m", 2));
  expect(conditionOf("z")).toBeUndefined();
  expect(statusOf("z")?.containerStatuses?.[0]?.allocatedResources).toEqual({ cpu: "600m" });
  expect(conditionOf("a")).toMatchObject({ reason: "Deferred" });
});

test("one that waits holds up none that leaves it its room", async () => {
  await start(podOf("a", "100m"), podOf("z", "100m"), podOf("b", "600m"));
  await resize(podOf("z", "700m", 2));
  await resize(podOf("a", "200m", 2));
  expect(conditionOf("a")).toBeUndefined();
  expect(conditionOf("z")).toMatchObject({ reason: "Deferred" });
});

test("one that has room and is waited for is looked at at once", async () => {
  const first = (amount: string, generation?: number): Pod => {
    const pod = podOf("z", amount, generation);
    return { ...pod, spec: { ...pod.spec, priority: 10 } };
  };
  await start(podOf("a", "100m"), first("100m"), podOf("b", "600m"));
  await resize(first("700m", 2));
  expect(conditionOf("z")).toMatchObject({ reason: "Deferred" });
  node.allocatable = { ...node.allocatable, cpu: 1400 };
  await resize(podOf("a", "500m", 2));
  expect(conditionOf("z")).toBeUndefined();
  expect(conditionOf("a")).toMatchObject({ reason: "Deferred" });
});

test("what another pod gives back by a resize is taken at once", async () => {
  await start(podOf("a", "100m"), podOf("b", "600m"));
  await resize(podOf("a", "700m", 2));
  await resize(podOf("b", "200m", 2));
  expect(conditionOf("a")).toBeUndefined();
});

test("a new pod is judged by what others were given, not by what they wish for", async () => {
  await start(podOf("a", "100m"), podOf("b", "600m"));
  await resize(podOf("a", "700m", 2));
  await resize(podOf("c", "300m"));
  expect(statusOf("c")?.phase).toBe("Running");
});

test("a restarted agent knows what was allocated, and does not take up what was refused", async () => {
  await start(podOf("a", "100m"));
  await resize(podOf("a", "200m", 2));
  await resize(podOf("a", "2", 3));
  node.journal.length = 0;
  node.events.length = 0;
  await node.restart();
  expect(conditionOf("a")).toMatchObject({ reason: "Infeasible", observedGeneration: 3 });
  expect(statusOf("a")?.containerStatuses?.[0]).toMatchObject({ resources: cpu("200m") });
  expect(node.journal).toEqual([]);
  node.runtime.exit(node.runtime.byName("web")?.id ?? "", 1);
  await node.run();
  expect(node.runtime.byName("web")?.resources.cpuQuotaMicros).toBe(20_000);
});

test("a restarted agent goes on with what it had begun, without a word", async () => {
  const of = (amount: string, generation: number) => {
    const pod = podOf("a", amount, generation);
    const second = { name: "second", image: "web:1", resources: cpu(amount) };
    return { ...pod, spec: { ...pod.spec, containers: [...pod.spec.containers, second] } };
  };
  await start(of("100m", 1));
  node.runtime.disturb = (what) => {
    if (what.startsWith("update second") || what === "resize-pod exact")
      throw new LongshoreError("EngineUnreachable", "away");
  };
  await resize(of("200m", 2));
  expect(conditionOf("a")).toMatchObject({ type: "PodResizeInProgress" });
  const resources = () =>
    statusOf("a")?.containerStatuses?.map((one) => one.resources?.limits?.cpu);
  expect(resources()).toEqual(["200m", "100m"]);
  [node.journal.length, node.events.length] = [0, 0];
  node.runtime.disturb = () => undefined;
  await node.restart();
  expect(node.journal.map((entry) => entry.replace(/ \{.*/, ""))).toEqual([
    ...["resize-pod grow", "update second", "resize-pod exact"],
  ]);
  expect(resources()).toEqual(["200m", "200m"]);
  expect(conditionOf("a")).toBeUndefined();
  expect(told()).toEqual([expect.stringContaining("ResizeCompleted")]);
});

test("an edit made while the agent was away is a resize", async () => {
  await start(podOf("a", "100m"));
  await node.manager.stop();
  node.apply(podOf("a", "2", 2));
  await node.restart();
  expect(conditionOf("a")).toMatchObject({ reason: "Infeasible" });
  await resize(podOf("a", "200m", 3));
  expect(node.journal).toContain("resize-pod exact");
});

test("a failure is told once and tried again", async () => {
  await start(podOf("a", "200m"));
  const refusal = new LongshoreError("EngineConflict", "below current usage");
  node.runtime.disturb = (what) => {
    if (what.startsWith("update")) throw refusal;
  };
  await resize(podOf("a", "100m", 2));
  expect(conditionOf("a")).toMatchObject({
    ...{ type: "PodResizeInProgress", reason: "Error", message: "below current usage" },
  });
  await node.run(25_000);
  expect(told().filter((event) => event.includes("ResizeError"))).toHaveLength(1);
  node.runtime.disturb = () => undefined;
  await node.run(10_000);
  expect(conditionOf("a")).toBeUndefined();
});

test("an engine that takes an update and does nothing is no busy loop", async () => {
  await start(podOf("a", "200m"));
  const update = node.runtime.updateResources.bind(node.runtime);
  let updates = 0;
  node.runtime.updateResources = async () => void updates++;
  await resize(podOf("a", "100m", 2));
  await node.run(15_000);
  expect(updates).toBe(2);
  expect(conditionOf("a")?.message).toBe("container web did not keep its new resources");
  node.runtime.updateResources = update;
  await node.run(25_000);
  expect(conditionOf("a")).toBeUndefined();
});
