import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Pod } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import { FakeNode } from "./fake-node.ts";
import { IDENTITY, makeContainer, makePod, makeSandbox } from "./support.ts";

const WEB = { name: "web", image: "web:1" };
const POD = makePod({ containers: [WEB] });

function withCondition(pod: Pod, type: string): Pod {
  const others = (pod.status?.conditions ?? []).filter((condition) => condition.type !== type);
  return { ...pod, status: { ...pod.status, conditions: [...others, { type, status: "False" }] } };
}

function deleted(pod: Pod, seconds: number): Pod {
  const deletion = {
    deletionTimestamp: "2026-01-01T00:00:30Z",
    deletionGracePeriodSeconds: seconds,
  };
  return { ...pod, metadata: { ...pod.metadata, ...deletion } };
}

describe("PodManager", () => {
  let node: FakeNode;

  beforeEach(() => {
    node = new FakeNode();
    node.runtime.images.set("web:1", "sha256:web");
    node.runtime.images.set("init:1", "sha256:init");
    node.pods.replace([]);
  });

  afterEach(async () => {
    await node.manager.stop();
  });

  async function startPod(pod: Pod = POD): Promise<void> {
    await node.start();
    node.apply(pod);
    await node.run();
  }

  test("starts a pod: sandbox, network, container, status", async () => {
    await startPod();
    expect(node.journal).toEqual([
      "run-sandbox 0",
      "attach sandbox-0",
      "create web 0",
      "start web",
    ]);
    expect(node.pods.get("ns/p")?.status).toMatchObject({ phase: "Running", podIP: "10.0.0.2" });
    expect(node.events.map((event) => event.split(" ").slice(0, 2).join(" "))).toEqual([
      "Normal Pulled",
      "Normal Created",
      "Normal Started",
    ]);
  });

  test("tells people what it knows of a pod: plan, failed turn, status that cannot be written", async () => {
    node.isApiAway = true;
    await startPod();
    const healthy = node.manager.facts()[0];
    expect(healthy).toMatchObject({
      record: { uid: POD.metadata.uid, lastPlan: { why: "web runs" } },
      statusWrite: { state: "pending", error: "away" },
      failure: undefined,
    });
    node.isApiAway = false;
    node.runtime.disturb = () => {
      throw new LongshoreError("EngineUnreachable", "the Engine is away");
    };
    node.apply(deleted(POD, 5));
    await node.run(11_000);
    expect(node.manager.facts()[0]).toMatchObject({
      record: {
        lastPlan: { actions: [{ kind: "kill-container" }], why: "Stopping container web" },
      },
      statusWrite: { state: "written" },
      turn: { isRunning: false, dueInMs: expect.any(Number) },
      failure: { count: expect.any(Number), message: "the Engine is away" },
    });
  });

  test("looks at a starting pod once for each action, whatever is written meanwhile", async () => {
    await startPod();
    expect(node.statuses.length).toBeGreaterThan(1);
    // For orphans, then before the sandbox, before the container (its image changes nothing), and after it.
    expect(node.runtime.listings).toBe(4);
  });

  test.each([
    ["its own status again", (pod: Pod) => pod, 0],
    ["a condition of somebody else", (pod: Pod) => withCondition(pod, "Foreign"), 1],
    ["a condition of ours that somebody changed", (pod: Pod) => withCondition(pod, "Ready"), 1],
    ["a label", (pod: Pod) => ({ ...pod, metadata: { ...pod.metadata, labels: { a: "b" } } }), 1],
    [
      "another spec",
      (pod: Pod) => ({ ...pod, spec: { ...pod.spec, activeDeadlineSeconds: 9 } }),
      1,
    ],
  ])("looks at a pod whose object has %s only if that is news", async (_, change, looks) => {
    await startPod();
    const before = node.runtime.listings;
    const stored = node.pods.get("ns/p") ?? expect.fail("no pod");
    const { metadata, ...rest } = change(stored);
    node.pods.apply({ ...rest, metadata: { ...metadata, resourceVersion: "1000" } });
    await node.run(0);
    expect(node.runtime.listings > before).toBe(looks > 0);
  });

  test.each([
    ["that is older than its last look", -2_000, 0],
    ["that is newer", 0, 1],
    ["of a clock that was set back", -3_600_000, 1],
    ["without a time", undefined, 1],
  ])("looks at a pod for a runtime event %s as often as needed", async (_, age, looks) => {
    await startPod();
    const before = node.runtime.listings;
    const at = age === undefined ? {} : { at: node.clock.now() + age };
    node.runtime.onEvent({ kind: "pod-changed", podUid: POD.metadata.uid, ...at });
    await node.run(0);
    expect(node.runtime.listings - before).toBe(looks);
  });

  test("ends a deleted pod in order: containers, sandbox, volumes, terminal status, object, logs", async () => {
    await startPod();
    node.journal.length = 0;
    node.apply(deleted(POD, 5));
    await node.run();
    expect(node.journal).toEqual([
      "stop web 5",
      "stop-sandbox sandbox-0",
      "detach sandbox-0",
      "remove-sandbox sandbox-0",
      "teardown",
      "delete-object p",
      "remove web",
    ]);
    expect(node.phases()).toEqual(["Pending", "Running", "Failed"]);
    expect(node.manager.list()).toEqual([]);
  });

  test("never publishes a wrong phase for a pod with init containers that runs to its end", async () => {
    const pod = makePod({
      restartPolicy: "Never",
      initContainers: [{ name: "init", image: "init:1" }],
      containers: [
        { name: "web", image: "web:1" },
        { name: "side", image: "web:1" },
      ],
    });
    await startPod(pod);
    for (const name of ["init", "web", "side"]) {
      node.runtime.exit(node.runtime.byName(name)?.id ?? "", 0);
      await node.run();
    }
    expect(node.phases()).toEqual(["Pending", "Running", "Succeeded"]);
    expect([...node.runtime.containers.values()].map(({ state }) => state)).toEqual([
      "exited",
      "exited",
      "exited",
    ]);
    expect(node.journal).not.toContain("delete-object p");
  });

  test("a new agent restarts nothing that runs", async () => {
    await startPod();
    node.journal.length = 0;
    await node.restart();
    expect(node.journal).toEqual([]);
    expect(node.manager.find("ns", "p")?.status.phase).toBe("Running");
  });

  test("a new agent makes a half-made container again, in a sandbox whose network it makes sure of", async () => {
    await startPod();
    const web = node.runtime.byName("web");
    if (web === undefined) throw new Error("no container");
    node.runtime.containers.set(web.id, { ...web, state: "created", startedAt: 0, pid: 0 });
    node.journal.length = 0;
    await node.restart();
    expect(node.journal.slice(0, 4)).toEqual([
      "remove web",
      "attach sandbox-0",
      expect.stringMatching(/^create web/),
      "start web",
    ]);
  });

  test("what has no object is ended, but only when the pods are known", async () => {
    const orphan = { ...IDENTITY, name: "lost", uid: "u9" };
    node.runtime.sandboxes.set("s9", makeSandbox({ id: "s9", pod: orphan }));
    node.runtime.containers.set("c9", makeContainer({ id: "c9", pod: orphan, sandboxId: "s9" }));
    await node.start();
    await node.run();
    expect(node.runtime.sandboxes.size + node.runtime.containers.size).toBe(0);
    expect(node.journal.slice(0, 2)).toEqual(["stop web 1", "stop-sandbox s9"]);
    expect(node.journal).not.toContain("delete-object lost");
  });

  test("a crashing container restarts at once, then after ten seconds, also across an agent restart", async () => {
    await startPod();
    const crash = async (): Promise<void> => {
      node.runtime.exit(node.runtime.byName("web")?.id ?? "", 1);
      await node.run();
    };
    await crash();
    expect(node.runtime.byName("web")).toMatchObject({ attempt: 1, state: "running" });
    await crash();
    const waiting = () =>
      node.manager.find("ns", "p")?.status.containerStatuses?.[0]?.state?.waiting;
    expect(waiting()).toMatchObject({ reason: "CrashLoopBackOff" });
    await node.restart();
    expect(waiting()).toMatchObject({ reason: "CrashLoopBackOff" });
    await node.run(10_000);
    expect(node.runtime.byName("web")).toMatchObject({ attempt: 2, state: "running" });
    expect(node.events.filter((event) => event.includes("BackOff")).length).toBeGreaterThan(0);
  });

  test("a pod that is deleted while its image is pulled ends at once", async () => {
    node.runtime.images.clear();
    node.runtime.pulling = (_ref, signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("stop"))));
    await startPod();
    expect(node.journal).toContain("pull web:1");
    node.apply(deleted(POD, 30));
    await node.run();
    expect(node.pods.list()).toEqual([]);
    expect(node.phases()).toEqual(["Pending", "Failed"]);
  });

  test("a failed pull shows ErrImagePull, then ImagePullBackOff, and is tried again", async () => {
    node.runtime.images.clear();
    node.runtime.pulling = async () => {
      throw new Error("no such image");
    };
    await startPod();
    const reason = () =>
      node.manager.find("ns", "p")?.status.containerStatuses?.[0]?.state?.waiting?.reason;
    expect(reason()).toBe("ErrImagePull");
    await node.run(5_000);
    expect(reason()).toBe("ImagePullBackOff");
    node.runtime.pulling = async () => undefined;
    await node.run(10_000);
    expect(node.manager.find("ns", "p")?.status.phase).toBe("Running");
  });

  test("a grace period shortened on the way takes effect", async () => {
    await startPod();
    node.runtime.stopping = (_id, seconds, signal) =>
      seconds < 5
        ? Promise.resolve()
        : new Promise((_, reject) =>
            signal.addEventListener("abort", () => reject(new Error("a"))),
          );
    node.apply(deleted(POD, 300));
    await node.run();
    node.apply(deleted(POD, 2));
    await node.run();
    expect(node.journal.filter((entry) => entry.startsWith("stop web"))).toEqual([
      "stop web 300",
      "stop web 2",
    ]);
    expect(node.pods.list()).toEqual([]);
  });

  test("an API server restored from an older copy is believed, though its versions are lower", async () => {
    await startPod();
    const copy = deleted({ ...POD, metadata: { ...POD.metadata, resourceVersion: "0" } }, 5);
    node.pods.replace([copy]);
    await node.run();
    expect(node.journal).toContain("stop web 5");
  });

  test("a pod removed by force is ended and forgotten", async () => {
    await startPod();
    const stored = node.pods.get("ns/p");
    if (stored !== undefined) node.pods.delete(stored);
    await node.run();
    expect(node.runtime.sandboxes.size + node.runtime.containers.size).toBe(0);
    expect(node.manager.list()).toEqual([]);
    expect(node.journal).not.toContain("delete-object p");
  });

  test("with the API server away local work goes on, and the status is written when it is back", async () => {
    await startPod();
    node.isApiAway = true;
    node.runtime.exit(node.runtime.byName("web")?.id ?? "", 1);
    await node.run();
    expect(node.runtime.byName("web")).toMatchObject({ attempt: 1, state: "running" });
    node.isApiAway = false;
    await node.run(20_000);
    expect(node.pods.get("ns/p")?.status?.containerStatuses?.[0]?.restartCount).toBe(1);
  });

  test("a failed liveness probe kills the container and it starts again", async () => {
    await startPod();
    const id = node.runtime.byName("web")?.id ?? "";
    const failure = { kind: "liveness", message: "m" } as const;
    node.failures.set(id, { isStarted: true, isReady: true, failure });
    node.manager.sync("u1");
    await node.run();
    expect(node.runtime.byName("web")).toMatchObject({ attempt: 1, state: "running" });
    expect(node.events).toContain(
      "Normal Killing Container web failed liveness probe, will be restarted",
    );
  });

  test("an unsupported pod fails with every field named and nothing made", async () => {
    const pod = makePod({
      hostUsers: false,
      containers: [{ name: "web", image: "web:1", resources: { claims: [{ name: "c" }] } }],
    });
    await startPod(pod);
    const status = node.pods.get("ns/p")?.status;
    expect(status).toMatchObject({ phase: "Failed", reason: "UnsupportedPodSpec" });
    expect(status?.message).toContain(
      "spec.hostUsers=false, spec.containers[web].resources.claims",
    );
    expect(node.journal.filter((entry) => entry.includes("sandbox"))).toEqual([]);
  });

  test.each<readonly [string, object]>([
    ["a spec without containers", {}],
    ["containers that are none", { containers: null }],
    ["a container that is none", { containers: [null] }],
    ["an image that is no text", { containers: [{ name: "web", image: 5 }] }],
    ["volumes that are no list", { ...POD.spec, volumes: 5 }],
    ["a grace period that is no number", { ...POD.spec, terminationGracePeriodSeconds: "x" }],
    ["a deadline that is no number", { ...POD.spec, activeDeadlineSeconds: null }],
    ["init containers that are null", { ...POD.spec, initContainers: null }],
    ["restart rules that are no list", { containers: [{ ...WEB, restartPolicyRules: {} }] }],
    [
      "a restart rule whose exit codes are none",
      { containers: [{ ...WEB, restartPolicyRules: [{ exitCodes: { values: 42 } }] }] },
    ],
    [
      "a debug container named like another",
      { ...POD.spec, ephemeralContainers: [{ name: "web", image: "web:1" }] },
    ],
  ])("%s is refused with words, and holds no other pod up", async (_what, spec) => {
    const odd = { ...POD, metadata: { ...POD.metadata, name: "odd", uid: "odd" }, spec };
    await node.start();
    node.pods.replace([odd as Pod, POD]);
    await node.run();
    expect(node.pods.get("ns/p")?.status).toMatchObject({ phase: "Running" });
    expect(node.pods.get("ns/odd")?.status).toMatchObject({ phase: "Failed" });
    expect(node.events.filter((event) => event.includes("InvalidPodSpec"))).toHaveLength(1);
    node.apply({ ...(odd as Pod), metadata: deleted(odd as Pod, 1).metadata });
    await node.run();
    expect(node.pods.get("ns/odd")).toBeUndefined();
  });

  test("a critical pod takes the place of another on a node that is full", async () => {
    await startPod();
    // maxPods is 10.
    for (let n = 1; n < 10; n++) {
      const metadata = { name: `p${n}`, uid: `u-${n}` };
      node.apply(makePod({ ...POD.spec, priority: 2_000_000_000 }, metadata));
    }
    const late = makePod(POD.spec, { name: "late", uid: "u-late" });
    node.apply(late);
    node.apply(makePod({ ...POD.spec, priority: 2_000_000_000 }, { name: "c", uid: "u-c" }));
    await node.run();
    expect(node.pods.get("ns/late")?.status).toMatchObject({
      phase: "Failed",
      reason: "OutOfpods",
    });
    expect(node.pods.get("ns/p")?.status).toMatchObject({
      ...{ phase: "Failed", reason: "Preempting" },
      message: "Preempted in order to admit critical pod",
    });
    expect(node.pods.get("ns/c")?.status?.phase).toBe("Running");
    expect(node.events).toContain("Warning Preempting Preempted in order to admit critical pod");
  });

  test("a pod is evicted once and at once, with its last second; a critical pod never is", async () => {
    await node.start();
    node.apply(makePod({ ...POD.spec, terminationGracePeriodSeconds: 600 }));
    node.apply(makePod({ ...POD.spec, priority: 2_000_000_000 }, { name: "c", uid: "u-c" }));
    await node.run();
    for (const uid of ["u1", "u-c", "unknown", "u1"])
      node.manager.evict(uid, { signal: "s", message: "too big. " });
    await node.run();
    node.manager.evict("u1", { signal: "s", message: "again" });
    await node.run();
    const evicted = { phase: "Failed", reason: "Evicted", message: "too big. " };
    expect(node.pods.get("ns/p")?.status).toMatchObject(evicted);
    expect(node.pods.get("ns/c")?.status?.phase).toBe("Running");
    expect(node.events.filter((event) => event.includes("Evicted"))).toEqual([
      "Warning Evicted too big. ",
    ]);
    expect(node.journal.filter((entry) => entry.startsWith("stop web"))).toEqual(["stop web 1"]);
  });

  test("a pod is not refused for what the node was before a label was set", async () => {
    await node.start();
    node.freshLabels = { disk: "ssd" };
    node.apply(makePod({ ...POD.spec, nodeSelector: { disk: "ssd" } }));
    node.apply(
      makePod({ ...POD.spec, nodeSelector: { disk: "hdd" } }, { name: "late", uid: "u-late" }),
    );
    await node.run();
    expect(node.pods.get("ns/p")?.status?.phase).toBe("Running");
    expect(node.pods.get("ns/late")?.status).toMatchObject({
      ...{ phase: "Failed", reason: "NodeAffinity" },
      message: expect.stringContaining("Pod was rejected: Predicate NodeAffinity failed"),
    });
    expect(node.events.filter((event) => event.includes("NodeAffinity"))).toHaveLength(1);
  });

  test.each<readonly [string, object, string]>([
    [
      "a quantity",
      { containers: [{ name: "web", resources: { limits: { cpu: "x" } } }] },
      "quantit",
    ],
    ["an overhead", { overhead: { memory: "-1" } }, "quantit"],
    ["resources", { resources: { requests: [1, "a"] } }, "quantit"],
    ["resizePolicy", { containers: [{ name: "web", resizePolicy: 7 }] }, "list"],
    ["sysctls", { securityContext: { sysctls: 5 } }, "judged"],
    [
      "an affinity",
      { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: 1 } } },
      "judged",
    ],
  ])("a pod whose %s is none fails, and the next one runs", async (_what, broken, words) => {
    await node.start();
    const odd = { ...POD.spec, ...broken } as Pod["spec"];
    node.apply(makePod(odd, { name: "odd", uid: "u-odd" }));
    node.apply(POD);
    await node.run();
    const { status } = node.pods.get("ns/odd") ?? {};
    expect(status).toMatchObject({ phase: "Failed", reason: "InvalidPodSpec" });
    expect(status?.message).toMatch(new RegExp(words));
    expect(node.pods.get("ns/p")?.status?.phase).toBe("Running");
  });

  test("a pod that runs goes on with its last sound spec when a newer one is unsound", async () => {
    await startPod();
    const told = () => node.events.filter((event) => event.includes("InvalidPodSpec"));
    const broken = { ...POD, spec: { containers: "web" } } as unknown as Pod;
    node.apply({ ...broken, metadata: { ...POD.metadata, generation: 2 } });
    await node.run(120_000);
    expect(node.runtime.byName("web")).toMatchObject({ state: "running", attempt: 0 });
    expect(node.pods.get("ns/p")?.status?.phase).toBe("Running");
    expect(told()).toEqual([
      "Warning InvalidPodSpec spec.containers is no list: the pod goes on with the spec it had before",
    ]);
    node.runtime.images.set("web:2", "sha256:2");
    node.apply(makePod({ containers: [{ name: "web", image: "web:2" }] }, { generation: 3 }));
    await node.run();
    expect(node.runtime.byName("web")).toMatchObject({ image: "web:2", state: "running" });
    node.apply({ ...broken, metadata: deleted(POD, 1).metadata });
    await node.run();
    expect(node.pods.list()).toEqual([]);
    expect(told()).toHaveLength(2);
  });

  test("SELinux options run without effect where there is no SELinux, which is said once", async () => {
    const securityContext = { seLinuxOptions: { level: "s0" } };
    await startPod(makePod({ securityContext, containers: [WEB] }));
    node.apply(makePod({ containers: [{ ...WEB, securityContext }] }, { name: "q", uid: "u2" }));
    node.apply(makePod({ containers: [WEB] }, { name: "r", uid: "u3" }));
    await node.run();
    expect(node.phases()).toEqual(["Pending", "Running", "Pending", "Running"]);
    const what = "seLinuxOptions: SELinux is not enabled in this node's Engine";
    expect(node.warnings).toEqual([`without effect on pods: ${what}`]);
    expect(node.manager.facts().map(({ ignored }) => ignored)).toEqual([[what], [what], []]);
  });

  test("a pod that is deleted while its containers start gets no more of them", async () => {
    const containers = ["web", "init", "late"].map((name) => ({ name, image: "web:1" }));
    const pod = makePod({ containers });
    node.runtime.disturb = (what) => {
      if (what === "start init") node.apply(deleted(pod, 5));
    };
    await startPod(pod);
    expect(node.journal).toContain("start init");
    expect(node.journal).not.toContain("create late 0");
    expect(node.pods.list()).toEqual([]);
  });

  test("a pod past its deadline ends Failed with DeadlineExceeded", async () => {
    await startPod(makePod({ activeDeadlineSeconds: 5, containers: POD.spec.containers }));
    await node.run(6_000);
    expect(node.pods.get("ns/p")?.status).toMatchObject({
      phase: "Failed",
      reason: "DeadlineExceeded",
    });
    expect(node.phases()).toEqual(["Pending", "Running", "Failed"]);
  });

  test("a changed image restarts just that container", async () => {
    node.runtime.images.set("web:2", "sha256:2");
    await startPod();
    const changed = makePod({ containers: [{ name: "web", image: "web:2" }] }, { generation: 2 });
    node.apply(changed);
    await node.run();
    expect(node.runtime.byName("web")).toMatchObject({
      image: "web:2",
      attempt: 1,
      state: "running",
    });
    expect(node.pods.get("ns/p")?.status?.observedGeneration).toBe(2);
    expect(node.journal.filter((entry) => entry.startsWith("run-sandbox"))).toHaveLength(1);
  });
});
