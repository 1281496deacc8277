/**
 * In-place resize through pods/resize, as the conformance tests of sig-node see it: values read inside the container,
 * the same container afterwards, the status that says when it is done.
 */

import { afterEach, expect, test } from "vitest";
import {
  IDLE,
  podManifest,
  type SeenContainer,
  type SeenPod,
  shell,
  useCluster,
} from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();

/** They would hold what the next test counts on. */
afterEach(() => cluster.kubectl("delete", "pods", "--all", "--now"));

interface Amounts {
  readonly cpu?: string;
  readonly memory?: string;
}
interface Resources {
  readonly requests?: Amounts;
  readonly limits?: Amounts;
}

/** Requests and limits alike. */
const both = (cpu: string, memory: string): Resources => ({
  requests: { cpu, memory },
  limits: { cpu, memory },
});

const idle = (name: string, resources: Resources, more: object = {}) =>
  shell(name, IDLE, { resources, ...more });

const pod = (name: string, all: Readonly<Record<string, Resources>>, more: object = {}) =>
  podManifest(name, {
    restartPolicy: "OnFailure",
    terminationGracePeriodSeconds: 0,
    containers: Object.entries(all).map(([container, resources]) => idle(container, resources)),
    ...more,
  });

const listOf = (all: Readonly<Record<string, Resources>>) =>
  Object.entries(all).map(([name, resources]) => ({ name, resources }));

const resize = (name: string, spec: object) =>
  cluster.kubectl(
    ...["patch", "pod", name, "--subresource", "resize", "-p", JSON.stringify({ spec })],
  );

const conditionOf = ({ status }: SeenPod, type: string) =>
  status.conditions.find((condition) => condition.type === type);

/** The wait criterion of the conformance tests, after which values are read once. */
function isResized(seen: SeenPod): boolean {
  const { metadata, status } = seen;
  const pending = ["PodResizePending", "PodResizeInProgress"].map((type) =>
    conditionOf(seen, type),
  );
  return (
    (status.observedGeneration ?? 0) >= metadata.generation &&
    pending.every((condition) => condition === undefined) &&
    conditionOf(seen, "Ready")?.status === "True"
  );
}

const resized = (name: string) => cluster.until(name, "resized", isResized);

const MI = 2 ** 20;
const milli = (cpu: string): number =>
  cpu.endsWith("m") ? Number.parseInt(cpu, 10) : Number(cpu) * 1000;

/** cpu.shares, cpu.cfs_quota_us and memory.limit_in_bytes of a container. */
function valuesOf({ requests = {}, limits = {} }: Resources): readonly string[] {
  const shares = Math.max(2, Math.floor((milli(requests.cpu ?? "0") * 1024) / 1000));
  const quota = limits.cpu === undefined ? -1 : Math.max(1000, milli(limits.cpu) * 100);
  const memory =
    limits.memory === undefined ? "9223372036854771712" : Number.parseInt(limits.memory, 10) * MI;
  return [shares, quota, memory].map(String);
}

const FILES = ["cpu/cpu.shares", "cpu/cpu.cfs_quota_us", "memory/memory.limit_in_bytes"];

async function readValues(name: string, container: string): Promise<readonly string[]> {
  const script = `cd /sys/fs/cgroup; for f in ${FILES.join(" ")}; do head -n 1 $f; done`;
  return (await cluster.kubectl("exec", name, "-c", container, "--", "sh", "-c", script))
    .trim()
    .split("\n");
}

type SeenResources = SeenContainer & {
  readonly resources?: Resources;
  readonly allocatedResources?: Amounts;
};

const statusOf = ({ status }: SeenPod, name: string): SeenResources | undefined =>
  [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].find(
    (one) => one.name === name,
  );

/** Status and cgroups agree with the spec. */
async function verify(seen: SeenPod, all: Readonly<Record<string, Resources>>): Promise<void> {
  for (const [name, resources] of Object.entries(all)) {
    const status = statusOf(seen, name);
    expect(status?.resources, name).toEqual(resources);
    expect(status?.allocatedResources, name).toEqual(resources.requests);
    expect(status?.restartCount, name).toBe(0);
    expect(await readValues(seen.metadata.name, name), name).toEqual(valuesOf(resources));
  }
}

const podCgroup = async (seen: SeenPod, file: string): Promise<string> => {
  const [controller] = file.split(".");
  const path = `/sys/fs/cgroup/${controller}/kubepods/*pod${seen.metadata.uid}/${file}`;
  const inClass = `/sys/fs/cgroup/${controller}/kubepods/burstable/pod${seen.metadata.uid}/${file}`;
  return (await cluster.node.sh(`cat ${path} 2>/dev/null || cat ${inClass}`)).trim();
};

type Round = readonly [
  name: string,
  before: Readonly<Record<string, Resources>>,
  after: Readonly<Record<string, Resources>>,
];

test.each<Round>([
  [
    "guaranteed-net-increase",
    { c1: both("20m", "20Mi"), c2: both("20m", "20Mi"), c3: both("40m", "40Mi") },
    { c1: both("40m", "40Mi"), c2: both("40m", "40Mi"), c3: both("20m", "20Mi") },
  ],
  [
    "guaranteed-net-decrease",
    { c1: both("20m", "20Mi"), c2: both("40m", "40Mi"), c3: both("40m", "40Mi") },
    { c1: both("40m", "40Mi"), c2: both("20m", "20Mi"), c3: both("20m", "20Mi") },
  ],
  [
    "guaranteed-mixed",
    { c1: both("20m", "20Mi"), c2: both("40m", "20Mi"), c3: both("20m", "20Mi") },
    { c1: both("40m", "20Mi"), c2: both("20m", "40Mi"), c3: both("40m", "40Mi") },
  ],
  [
    "burstable-equivalents",
    { c1: { requests: { cpu: "2m" }, limits: { cpu: "10m" } } },
    { c1: { requests: { cpu: "1m" }, limits: { cpu: "5m" } } },
  ],
])("%s: every container has its values in place, there and back", async (name, before, after) => {
  await cluster.apply(pod(name, before));
  const started = await resized(name);
  await verify(started, before);
  const ids = Object.keys(before).map((one) => statusOf(started, one)?.containerID);
  for (const wanted of [after, before]) {
    await resize(name, { containers: listOf(wanted) });
    const seen = await resized(name);
    await verify(seen, wanted);
    expect(Object.keys(wanted).map((one) => statusOf(seen, one)?.containerID)).toEqual(ids);
    const total = Object.values(wanted).reduce(
      (sum, { limits }) => sum + milli(limits?.cpu ?? "0"),
      0,
    );
    expect(await podCgroup(seen, "cpu.cfs_quota_us")).toBe(String(Math.max(1000, total * 100)));
  }
});

test("a burstable pod of many containers gets requests and limits where it had none", async () => {
  const before: Record<string, Resources> = {
    c1: { requests: { cpu: "20m" } },
    c2: { requests: { memory: "20Mi" } },
    c3: {},
    c4: { requests: { cpu: "20m", memory: "20Mi" }, limits: { cpu: "40m", memory: "40Mi" } },
    c5: { requests: { cpu: "20m" }, limits: { cpu: "40m" } },
  };
  const after: Record<string, Resources> = {
    c1: { requests: { cpu: "30m" }, limits: { cpu: "50m" } },
    c2: { requests: { memory: "30Mi" }, limits: { memory: "50Mi" } },
    c3: { requests: { cpu: "10m", memory: "10Mi" }, limits: { cpu: "30m", memory: "30Mi" } },
    c4: { requests: { cpu: "10m", memory: "10Mi" }, limits: { cpu: "30m", memory: "30Mi" } },
    c5: { requests: { cpu: "20m" }, limits: { cpu: "60m" } },
  };
  await cluster.apply(pod("burstable", before));
  await resized("burstable");
  await resize("burstable", { containers: listOf(after) });
  await verify(await resized("burstable"), after);
});

test("a pod is resized by a PUT of it whole, and by nothing else", async () => {
  await cluster.apply(pod("replaced", { c1: both("20m", "20Mi") }));
  const before = await resized("replaced");
  const whole = JSON.stringify(before).replaceAll("20m", "30m").replaceAll("20Mi", "30Mi");
  await cluster.node.exec(
    ["kubectl", "-n", cluster.namespace, "replace", "--subresource", "resize", "-f", "-"],
    { input: whole },
  );
  const after = await resized("replaced");
  await verify(after, { c1: both("30m", "30Mi") });
  expect(after.metadata.generation).toBe(before.metadata.generation + 1);
  const spec = { containers: listOf({ c1: both("40m", "40Mi") }) };
  const got = await cluster.kubectl("get", "pod", "replaced", "--subresource=resize", "-o", "name");
  expect(got.trim()).toBe("pod/replaced");
  const main = await cluster.tryKubectl("patch", "pod", "replaced", "-p", JSON.stringify({ spec }));
  expect(main.stderr).toContain("pod updates may not change fields other than");
  const other = { containers: listOf({ c1: { requests: { cpu: "5m" } } }) };
  const refused = cluster.tryKubectl(
    ...["patch", "pod", "replaced", "--subresource=resize", "-p", JSON.stringify({ spec: other })],
  );
  expect((await refused).stderr).toContain("Pod QOS Class may not change as a result of resizing");
});

test("a resource with RestartContainer restarts its container alone, without a back-off", async () => {
  const resizePolicy = [{ resourceName: "memory", restartPolicy: "RestartContainer" }];
  const [small, big] = [both("20m", "20Mi"), both("20m", "30Mi")];
  await cluster.apply(
    podManifest("restarted", {
      containers: [idle("c1", small, { resizePolicy }), idle("c2", small, { resizePolicy })],
    }),
  );
  const before = await resized("restarted");
  await resize("restarted", { containers: [{ name: "c1", resources: { ...big } }] });
  const after = await resized("restarted");
  expect(statusOf(after, "c1")).toMatchObject({ restartCount: 1, resources: big });
  expect(await readValues("restarted", "c1")).toEqual(valuesOf(big));
  expect(statusOf(after, "c2")?.containerID).toBe(statusOf(before, "c2")?.containerID);
  const events = await cluster.kubectl(
    "get",
    "events",
    "--field-selector",
    "involvedObject.name=restarted",
  );
  expect(events).toContain("Container c1 resize requires restart");
  const reasons = await cluster.eventReasons("restarted");
  expect(reasons).toEqual(expect.arrayContaining(["ResizeStarted", "ResizeCompleted"]));
  expect(reasons).not.toContain("BackOff");
  await resize("restarted", { containers: [{ name: "c1", resources: both("40m", "30Mi") }] });
  const third = await resized("restarted");
  expect(statusOf(third, "c1")?.containerID).toBe(statusOf(after, "c1")?.containerID);
});

test("a sidecar and a running init container are resized, and the pod itself", async () => {
  const [small, big] = [
    { requests: { cpu: "10m" }, limits: { memory: "20Mi" } },
    { requests: { cpu: "20m" }, limits: { memory: "30Mi" } },
  ];
  const whole = (cpu: string) => ({ requests: { cpu }, limits: { cpu, memory: "200Mi" } });
  await cluster.apply(
    podManifest("init", {
      resources: whole("200m"),
      initContainers: [
        idle("side", small, { restartPolicy: "Always" }),
        shell("first", "while [ ! -e /tmp/go ]; do sleep 0.2; done", { resources: small }),
      ],
      containers: [idle("main", {})],
    }),
  );
  const runs = (seen: SeenPod) => statusOf(seen, "first")?.state.running !== undefined;
  const before = await cluster.until("init", "initializing", runs);
  await resize("init", {
    resources: whole("300m"),
    initContainers: ["side", "first"].map((name) => ({ name, resources: big })),
  });
  const seen = await cluster.until(
    "init",
    "resized",
    (it) =>
      it.status.observedGeneration === 2 && conditionOf(it, "PodResizeInProgress") === undefined,
  );
  for (const name of ["side", "first"]) {
    expect(statusOf(seen, name)).toMatchObject({ resources: big, restartCount: 0 });
    expect((await readValues("init", name))[2]).toBe(String(30 * MI));
    expect(statusOf(seen, name)?.containerID).toBe(statusOf(before, name)?.containerID);
  }
  expect(await podCgroup(seen, "cpu.cfs_quota_us")).toBe("30000");
  expect(seen.status).toMatchObject({
    resources: whole("300m"),
    allocatedResources: { cpu: "300m" },
  });
  await cluster.kubectl("exec", "init", "-c", "first", "--", "touch", "/tmp/go");
  await cluster.ready("init");
  expect((await readValues("init", "main"))[1]).toBe("30000");
});

test("what the node can never give is infeasible, and may be taken back", async () => {
  const small = { requests: { cpu: "20m" } };
  await cluster.apply(pod("greedy", { c1: small }));
  await resized("greedy");
  await resize("greedy", { containers: listOf({ c1: { requests: { cpu: "1000" } } }) });
  const seen = await cluster.until(
    "greedy",
    "refused",
    (it) => conditionOf(it, "PodResizePending") !== undefined,
  );
  expect(conditionOf(seen, "PodResizePending")).toMatchObject({
    status: "True",
    reason: "Infeasible",
    message: expect.stringMatching(
      /^Node didn't have enough capacity: cpu, requested: 1000000, capacity: \d+$/,
    ),
    observedGeneration: 2,
  });
  expect(seen.status.observedGeneration).toBe(2);
  expect(statusOf(seen, "c1")).toMatchObject({
    resources: small,
    allocatedResources: small.requests,
  });
  await resize("greedy", { containers: listOf({ c1: small }) });
  await verify(await resized("greedy"), { c1: small });
  expect(await cluster.eventReasons("greedy")).toContain("ResizeInfeasible");
});

test("what another pod has is deferred until that one goes, also over a kill of the agent", async () => {
  const { status } = await cluster.node.json<{ status: { allocatable: { cpu: string } } }>(
    "get",
    "node",
    "node1",
  );
  const most = milli(status.allocatable.cpu);
  const half = { requests: { cpu: `${Math.floor(most / 2)}m` } };
  const wanted = { requests: { cpu: `${Math.floor(most * 0.7)}m` } };
  await cluster.apply(
    pod("waiting", { c1: { requests: { cpu: "20m" } } }),
    pod("holder", { c1: half }),
  );
  const before = await resized("waiting");
  await resized("holder");
  await resize("waiting", { containers: listOf({ c1: wanted }) });
  const isDeferred = (it: SeenPod) => conditionOf(it, "PodResizePending")?.reason === "Deferred";
  const seen = await cluster.until("waiting", "deferred", isDeferred);
  expect(conditionOf(seen, "PodResizePending")?.message).toMatch(
    /^Node didn't have enough resource: cpu, requested: \d+, used: \d+, capacity: \d+$/,
  );
  await cluster.node.kill("up", "KILL");
  await cluster.node.up();
  expect(isDeferred(await cluster.pod("waiting"))).toBe(true);
  await cluster.kubectl("delete", "pod", "holder", "--wait=false");
  const after = await resized("waiting");
  await verify(after, { c1: wanted });
  expect(statusOf(after, "c1")?.containerID).toBe(statusOf(before, "c1")?.containerID);
});

test("an agent that is killed amid a resize brings it to its end", async () => {
  const names = ["c1", "c2", "c3", "c4"];
  const all = (resources: Resources) => Object.fromEntries(names.map((name) => [name, resources]));
  await cluster.apply(pod("killed", all(both("20m", "20Mi"))));
  const before = await resized("killed");
  for (const [round, wanted] of [both("40m", "40Mi"), both("30m", "30Mi")].entries()) {
    await resize("killed", { containers: listOf(all(wanted)) });
    const reasons = async () => (await cluster.eventReasons("killed")).includes("ResizeStarted");
    if (round === 0) await eventually("the resize has begun", reasons);
    await cluster.node.kill("up", "KILL");
    await cluster.node.up();
    const after = await resized("killed");
    await verify(after, all(wanted));
    expect(names.map((one) => statusOf(after, one)?.containerID)).toEqual(
      names.map((one) => statusOf(before, one)?.containerID),
    );
  }
});

test("a limit below what is used is an error that passes when the memory is given back", async () => {
  const hold =
    "dd if=/dev/zero of=/hold/x bs=1M count=30 2>/dev/null; while true; do sleep 0.2; done";
  await cluster.apply(
    podManifest("full", {
      containers: [
        shell("c1", hold, {
          resources: { limits: { memory: "64Mi" } },
          volumeMounts: [{ name: "hold", mountPath: "/hold" }],
        }),
      ],
      volumes: [{ name: "hold", emptyDir: { medium: "Memory" } }],
    }),
  );
  await resized("full");
  const size = async () =>
    (await cluster.kubectl("exec", "full", "--", "stat", "-c", "%s", "/hold/x")).trim();
  await eventually("the memory is used", async () => (await size()) === String(30 * MI));
  const small = { requests: { memory: "8Mi" }, limits: { memory: "8Mi" } };
  await resize("full", { containers: listOf({ c1: small }) });
  const failed = await cluster.until(
    "full",
    "refused",
    (it) => conditionOf(it, "PodResizeInProgress")?.reason === "Error",
  );
  expect(conditionOf(failed, "PodResizeInProgress")?.message).toContain("below current usage");
  expect(statusOf(failed, "c1")).toMatchObject({
    restartCount: 0,
    resources: { limits: { memory: "64Mi" } },
  });
  await cluster.kubectl("exec", "full", "--", "rm", "/hold/x");
  const done = await resized("full");
  expect(statusOf(done, "c1")).toMatchObject({ restartCount: 0, resources: small });
  expect(await cluster.eventReasons("full")).toEqual(
    expect.arrayContaining(["ResizeError", "ResizeCompleted"]),
  );
});
