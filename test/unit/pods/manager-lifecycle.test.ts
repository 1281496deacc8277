import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Pod } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import { FakeNode } from "./fake-node.ts";
import { makePod } from "./support.ts";

const HANDLER = { exec: { command: ["true"] } };
const container = (name: string, fields: object = {}) => ({ name, image: `${name}:1`, ...fields });
const sidecar = (name: string, fields: object = {}) =>
  container(name, { restartPolicy: "Always", ...fields });

function deleted(pod: Pod, seconds: number, generation = 1): Pod {
  const deletion = {
    deletionTimestamp: `2026-01-01T00:00:3${generation}Z`,
    deletionGracePeriodSeconds: seconds,
  };
  return { ...pod, metadata: { ...pod.metadata, ...deletion } };
}

/** Waits for the signal, as a hook that never ends does. */
function forever(signal: AbortSignal): Promise<void> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(new LongshoreError("Aborted", "given up")));
  });
}

describe("the life of a pod with sidecars and hooks", () => {
  let node: FakeNode;

  beforeEach(() => {
    node = new FakeNode();
    for (const name of ["web", "side", "proxy", "mesh", "debug"])
      node.runtime.images.set(`${name}:1`, `sha256:${name}`);
    node.pods.replace([]);
  });

  afterEach(async () => {
    await node.manager.stop();
  });

  async function startPod(pod: Pod): Promise<void> {
    await node.start();
    node.apply(pod);
    await node.run();
  }

  /** What was done to containers, without sandboxes and the like. */
  function done(): string[] {
    return node.journal.filter((entry) => /^(start|stop|hook) /.test(entry));
  }

  test("a postStart hook holds back the next container and then lets it start", async () => {
    const pod = makePod({
      containers: [container("web", { lifecycle: { postStart: HANDLER } }), container("side")],
    });
    let release = (): void => undefined;
    node.hook = () => new Promise((resolve) => (release = resolve));
    await startPod(pod);
    expect(done()).toEqual(["start web", "hook web"]);
    expect(node.phases()).toEqual(["Pending"]);
    release();
    await node.run();
    expect(done()).toEqual(["start web", "hook web", "start side"]);
    expect(node.phases()).toEqual(["Pending", "Running"]);
  });

  test("a postStart hook that fails has its container killed and started again after a while", async () => {
    const pod = makePod({ containers: [container("web", { lifecycle: { postStart: HANDLER } })] });
    node.hook = async () => {
      throw new LongshoreError("HookFailed", "no such file");
    };
    await startPod(pod);
    expect(done().slice(0, 5)).toEqual([
      "start web",
      "hook web",
      "stop web 30",
      "start web",
      "hook web",
    ]);
    expect(node.events).toContain("Warning FailedPostStartHook PostStartHook failed");
    expect(node.events).toContain("Normal Killing FailedPostStartHook");
    const [status] = node.pods.get("ns/p")?.status?.containerStatuses ?? [];
    expect(status?.state?.waiting?.reason).toBe("CrashLoopBackOff");
  });

  test("a deletion while a postStart hook hangs ends the pod", async () => {
    const pod = makePod({ containers: [container("web", { lifecycle: { postStart: HANDLER } })] });
    node.hook = (_name, signal) => forever(signal);
    await startPod(pod);
    node.apply(deleted(pod, 5));
    await node.run();
    expect(done()).toEqual(["start web", "hook web", "stop web 5"]);
    expect(node.pods.list()).toEqual([]);
  });

  test("preStop hooks come before the stop, sidecars end last and in reverse", async () => {
    const pod = makePod({
      initContainers: [sidecar("proxy"), sidecar("mesh", { lifecycle: { preStop: HANDLER } })],
      containers: [container("web", { lifecycle: { preStop: HANDLER } })],
    });
    await startPod(pod);
    expect(done()).toEqual(["start proxy", "start mesh", "start web"]);
    node.journal.length = 0;
    node.apply(deleted(pod, 20));
    await node.run();
    expect(done()).toEqual([
      "hook mesh",
      "hook web",
      "stop web 20",
      "stop mesh 20",
      "stop proxy 20",
    ]);
    expect(node.events.filter((event) => event.includes("Killing"))).toEqual([
      "Normal Killing Stopping container mesh",
      "Normal Killing Stopping container web",
      "Normal Killing Stopping container proxy",
    ]);
    expect(node.pods.list()).toEqual([]);
  });

  test("a preStop hook that hangs is given up after the grace period, with two seconds for the stop", async () => {
    const pod = makePod({ containers: [container("web", { lifecycle: { preStop: HANDLER } })] });
    await startPod(pod);
    node.hook = (_name, signal) => forever(signal);
    node.apply(deleted(pod, 5));
    await node.run(4_000);
    expect(done()).toEqual(["start web", "hook web"]);
    await node.run(1_000);
    expect(done()).toEqual(["start web", "hook web", "stop web 2"]);
    expect(node.events).toContain("Warning FailedPreStopHook PreStopHook failed");
  });

  test("a second, shorter deletion cuts a hanging preStop hook short", async () => {
    const pod = makePod({ containers: [container("web", { lifecycle: { preStop: HANDLER } })] });
    await startPod(pod);
    node.hook = (_name, signal) => forever(signal);
    node.apply(deleted(pod, 60));
    await node.run(10_000);
    node.apply(deleted(pod, 1, 2));
    await node.run(1_000);
    expect(done()).toEqual(["start web", "hook web", "stop web 2"]);
    expect(node.pods.list()).toEqual([]);
  });

  test("a pod that is done ends its sidecars and then is Succeeded", async () => {
    const pod = makePod({
      restartPolicy: "Never",
      initContainers: [sidecar("proxy")],
      containers: [container("web")],
    });
    await startPod(pod);
    node.runtime.exit(node.runtime.byName("web")?.id ?? "", 0);
    await node.run();
    expect(done()).toEqual(["start proxy", "start web", "stop proxy 30"]);
    expect(node.phases()).toEqual(["Pending", "Running", "Succeeded"]);
  });

  test("a stop that the engine refuses is tried again", async () => {
    const pod = makePod({ containers: [container("web")] });
    await startPod(pod);
    let failures = 2;
    node.runtime.disturb = (what) => {
      if (what.startsWith("stop web") && failures-- > 0)
        throw new LongshoreError("EngineServerError", "busy");
    };
    node.apply(deleted(pod, 5));
    await node.run(20_000);
    expect(node.pods.list()).toEqual([]);
    expect(failures).toBe(-1);
  });

  test("an agent that restarts while a pod ends finishes the job", async () => {
    const pod = makePod({
      initContainers: [sidecar("proxy")],
      containers: [container("web", { lifecycle: { preStop: HANDLER } })],
    });
    await startPod(pod);
    node.runtime.stopping = (_id, _grace, signal) => forever(signal);
    node.apply(deleted(pod, 20));
    await node.run();
    node.runtime.stopping = async () => undefined;
    await node.restart();
    await node.run();
    expect(node.pods.list()).toEqual([]);
    expect(done().slice(-2)).toEqual(["stop web 20", "stop proxy 20"]);
  });

  test("an ephemeral container is started in the running pod, once, and stopped with it", async () => {
    const pod = makePod({ containers: [container("web")] });
    await startPod(pod);
    const debugged = { ...pod, spec: { ...pod.spec, ephemeralContainers: [container("debug")] } };
    node.apply({ ...debugged, metadata: { ...pod.metadata, generation: 2 } });
    await node.run();
    expect(done()).toEqual(["start web", "start debug"]);
    const status = node.pods.get("ns/p")?.status;
    expect(status?.ephemeralContainerStatuses?.[0]?.state?.running).toBeDefined();
    node.runtime.exit(node.runtime.byName("debug")?.id ?? "", 1);
    await node.run();
    await node.restart();
    expect(done()).toEqual(["start web", "start debug"]);
  });

  test("RestartAllContainers begins the pod anew in its sandbox", async () => {
    const pod = makePod({
      restartPolicy: "Never",
      initContainers: [sidecar("proxy")],
      containers: [
        container("web", {
          restartPolicy: "Never",
          restartPolicyRules: [
            { action: "RestartAllContainers", exitCodes: { operator: "In", values: [42] } },
          ],
        }),
        container("side"),
      ],
    });
    await startPod(pod);
    node.runtime.exit(node.runtime.byName("web")?.id ?? "", 42);
    await node.run();
    expect(done()).toEqual([
      ...["start proxy", "start web", "start side", "stop proxy 30", "stop side 30"],
      ...["start proxy", "start web", "start side"],
    ]);
    expect(node.runtime.sandboxes.size).toBe(1);
    const status = node.pods.get("ns/p")?.status;
    expect(status?.containerStatuses?.map(({ restartCount }) => restartCount)).toEqual([1, 1]);
    expect(node.phases()).toEqual(["Pending", "Running"]);
  });
});
