/** Init containers as a client that watches them sees them: in every update, not only at the end. */

import { beforeAll, expect, test } from "vitest";
import {
  IDLE,
  type PodWatch,
  podManifest,
  type SeenPod,
  shell,
  useCluster,
} from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();

const inits = (...scripts: readonly string[]) =>
  scripts.map((script, index) => shell(`init${index + 1}`, script));
const pod = (name: string, restartPolicy: string, initContainers: readonly object[]) =>
  podManifest(name, {
    restartPolicy,
    initContainers,
    containers: [shell("run1", restartPolicy === "Always" ? IDLE : "true")],
  });

let watch: PodWatch;

function conditionOf(seen: SeenPod | undefined, type: string) {
  return seen?.status.conditions?.find((condition) => condition.type === type);
}

/** Every update must have the containers that wait wait as PodInitializing. */
async function expectWaiting(name: string, ...waiting: readonly string[]): Promise<void> {
  const updates = await watch.read(name);
  const statuses = updates.map(({ object }) => object.status);
  const told = statuses.filter(({ containerStatuses }) => containerStatuses !== undefined);
  expect(told.length).toBeGreaterThan(1);
  for (const status of told) {
    const all = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
    for (const one of all.filter((container) => waiting.includes(container.name)))
      expect(one.state).toMatchObject({ waiting: { reason: "PodInitializing" } });
  }
}

beforeAll(async () => {
  watch = await cluster.watch();
  await cluster.apply(
    pod("always", "Always", inits("true", "true")),
    pod("never", "Never", inits("true", "true")),
    pod("never-fails", "Never", inits("true", "exit 1")),
    pod("always-fails", "Always", inits("exit 1", "true")),
  );
  return () => watch.stop();
});

test.each([
  ["always", "Running"],
  ["never", "Succeeded"],
])("run to their end before the others of a pod that restarts %s", async (name, phase) => {
  const seen = await cluster.until(name, phase, ({ status }) => status.phase === phase);
  expect(conditionOf(seen, "Initialized")?.status).toBe("True");
  expect(seen.status.initContainerStatuses).toHaveLength(2);
  for (const init of seen.status.initContainerStatuses ?? [])
    expect(init).toMatchObject({ ready: true, state: { terminated: { exitCode: 0 } } });
});

test("fail a pod that never restarts", async () => {
  const seen = await cluster.until(
    "never-fails",
    "Failed",
    ({ status }) => status.phase === "Failed",
  );
  expect(conditionOf(seen, "Initialized")).toMatchObject({
    status: "False",
    reason: "ContainersNotInitialized",
    message: "containers with incomplete status: [init2]",
  });
  await expectWaiting("never-fails", "run1");
  expect(await cluster.kubectl("get", "pod", "never-fails")).toMatch(/0\/1\s+Init:Error/);
});

test("keep a pod Pending that always restarts, for as long as they fail", async () => {
  const seen = await cluster.until(
    "always-fails",
    "failing for the third time",
    ({ status }) => (status.initContainerStatuses?.[0]?.restartCount ?? 0) >= 3,
    90_000,
  );
  expect(seen.status.initContainerStatuses?.[0]?.lastState.terminated?.exitCode).toBe(1);
  const updates = await eventually("the watch has seen it", async () => {
    const all = (await watch.read("always-fails")).map(({ object }) => object);
    const isSeen = all.some(({ status }) => status.initContainerStatuses?.[0]?.restartCount === 3);
    return isSeen && all;
  });
  for (const { status } of updates) expect(status.phase).toBe("Pending");
  for (const update of updates.filter((one) => conditionOf(one, "Initialized"))) {
    expect(conditionOf(update, "Initialized")).toMatchObject({
      status: "False",
      reason: "ContainersNotInitialized",
      message: "containers with incomplete status: [init1 init2]",
    });
  }
  await expectWaiting("always-fails", "init2", "run1");
  const words = /0\/1\s+Init:(CrashLoopBackOff|Error|0\/2)/;
  expect(await cluster.kubectl("get", "pod", "always-fails")).toMatch(words);
});
