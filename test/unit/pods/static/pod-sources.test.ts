import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Pod } from "../../../../src/api/types.ts";
import { toStaticPod } from "../../../../src/pods/static/manifest.ts";
import { FakeNode } from "../fake-node.ts";
import { makePod } from "../support.ts";

const MIRROR = "kubernetes.io/config.mirror";

function staticPod(image: string, spec: object = {}): Pod {
  const manifest = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "ns" },
    spec: {
      terminationGracePeriodSeconds: 7,
      containers: [{ name: "web", image, imagePullPolicy: "IfNotPresent" }],
      ...spec,
    },
  };
  const origin = { kind: "file", path: "/p.yaml" } as const;
  return toStaticPod(manifest, { origin, nodeName: "n", now: 0 });
}

function mirrorOf(pod: Pod): Pod {
  const annotations = { [MIRROR]: pod.metadata.uid };
  return { ...pod, metadata: { ...pod.metadata, uid: `mirror-${pod.metadata.uid}`, annotations } };
}

describe("static pods", () => {
  const first = staticPod("web:1");
  const second = staticPod("web:2");
  let node: FakeNode;

  beforeEach(() => {
    node = new FakeNode(["file"]);
    node.runtime.images.set("web:1", "sha256:1");
    node.runtime.images.set("web:2", "sha256:2");
    node.pods.replace([]);
  });

  afterEach(() => node.manager.stop());

  async function start(...pods: readonly Pod[]): Promise<void> {
    await node.start();
    node.sources.setStatic("file", pods);
    await node.run();
  }

  const running = (): string[] =>
    [...node.runtime.containers.values()]
      .filter(({ state }) => state === "running")
      .map(({ image, pod }) => `${pod.uid} ${image}`);

  test("run without a mirror, and their status is written to it when it comes", async () => {
    await start(first);
    expect(running()).toEqual([`${first.metadata.uid} web:1`]);
    expect(node.statuses).toEqual([]);
    node.apply(mirrorOf(first));
    await node.run();
    expect(node.pods.get("ns/p-n")?.status).toMatchObject({ phase: "Running" });
    expect(running()).toHaveLength(1);
  });

  test("run while the API server is away", async () => {
    node.isApiAway = true;
    await start(first);
    node.sources.setStatic("file", [second]);
    await node.run();
    expect(running()).toEqual([`${second.metadata.uid} web:2`]);
    node.sources.setStatic("file", []);
    await node.run();
    expect(running()).toEqual([]);
    expect(node.manager.list()).toEqual([]);
  });

  test("change by ending, with the grace period of the old, before the new begins", async () => {
    await start(first);
    node.apply(mirrorOf(first));
    await node.run();
    node.journal.length = 0;
    node.sources.setStatic("file", [second]);
    await node.run();
    expect(node.journal[0]).toBe("stop web 7");
    const ends = node.journal.indexOf("remove web");
    expect(ends).toBeGreaterThan(0);
    expect(node.journal.slice(ends)).toEqual([
      "remove web",
      "run-sandbox 0",
      expect.stringMatching(/^attach/),
      "create web 0",
      "start web",
    ]);
    expect(node.manager.find("ns", "p-n")?.pod.metadata.uid).toBe(second.metadata.uid);
  });

  test("are adopted by the next agent, and end when their file went meanwhile, even without an API server", async () => {
    await start(first);
    node.journal.length = 0;
    await node.restart();
    node.sources.setStatic("file", [first]);
    await node.run();
    expect(running()).toHaveLength(1);
    expect(node.journal.filter((line) => line.startsWith("stop"))).toEqual([]);
    node.isOpen = false;
    await node.restart();
    await node.run(5_000);
    expect(running()).toHaveLength(1);
    node.sources.setStatic("file", []);
    await node.run(5_000);
    expect(running()).toEqual([]);
  });

  test("of one name run one at a time, the first one told", async () => {
    await start(first, second);
    expect(running()).toEqual([`${first.metadata.uid} web:1`]);
    node.sources.setStatic("file", [second]);
    await node.run();
    expect(running()).toEqual([`${second.metadata.uid} web:2`]);
  });

  test("do not end for what a mirror's status says, and put it right", async () => {
    await start(first);
    const mirror = mirrorOf(first);
    node.apply(mirror);
    await node.run();
    node.pods.apply({
      ...mirror,
      metadata: { ...mirror.metadata, resourceVersion: "999" },
      status: { phase: "Failed", reason: "Tricked" },
    });
    await node.run();
    expect(running()).toHaveLength(1);
    expect(node.pods.get("ns/p-n")?.status).toMatchObject({ phase: "Running" });
  });

  test("do not end with their mirror", async () => {
    await start(first);
    const mirror = mirrorOf(first);
    node.apply(mirror);
    node.apply({
      ...mirror,
      metadata: { ...mirror.metadata, deletionTimestamp: "2026-01-01T00:00:30Z" },
    });
    await node.run();
    node.pods.delete(mirror);
    await node.run();
    node.apply({ ...mirror, metadata: { ...mirror.metadata, uid: "mirror-2" } });
    await node.run();
    expect(running()).toHaveLength(1);
    expect(node.pods.get("ns/p-n")?.status).toMatchObject({ phase: "Running" });
  });

  test("are never made of a mirror that somebody wrote", async () => {
    await start();
    node.apply(mirrorOf(first));
    node.apply(makePod({}, { name: "q", uid: "u2", annotations: { [MIRROR]: "x" } }));
    await node.run();
    expect(node.journal).toEqual([]);
    expect(node.manager.list()).toEqual([]);
  });

  test("of the host's network run before the pod network is ready, others when it is", async () => {
    node.isNetworkReady = false;
    const host = staticPod("web:2", { hostNetwork: true });
    const own = { ...first, metadata: { ...first.metadata, name: "own-n" } };
    await start(host, own);
    expect(running()).toEqual([`${host.metadata.uid} web:2`]);
    node.isNetworkReady = true;
    node.manager.resync();
    await node.run();
    expect(running()).toHaveLength(2);
  });

  test("of the API server wait for the Node to be known", async () => {
    node.isOpen = false;
    await node.start();
    node.apply(makePod());
    await node.run();
    expect(node.journal).toEqual([]);
    node.sources.open();
    await node.run();
    expect(running()).toEqual(["u1 web:1"]);
  });
});

describe("what a restart must not forget", () => {
  test("is on disk before the kill: that a container was killed to be replaced", async () => {
    const node = new FakeNode();
    for (const image of ["web:1", "web:2"]) node.runtime.images.set(image, image);
    node.pods.replace([]);
    await node.start();
    const pod = makePod({ restartPolicy: "Never" });
    node.apply(pod);
    await node.run();
    const id = node.runtime.byName("web")?.id;
    let saved: unknown;
    node.runtime.disturb = (what) => {
      if (what.startsWith("stop web")) saved = node.checkpoint.replaced;
    };
    const edited = { ...pod.spec, containers: [{ name: "web", image: "web:2" }] };
    node.apply({ ...pod, spec: edited, metadata: { ...pod.metadata, generation: 2 } });
    await node.run();
    expect(saved).toEqual({ u1: [id] });
    await node.manager.stop();
  });

  test("keeps a replacement that the last agent began from counting as a crash", async () => {
    const node = new FakeNode();
    for (const image of ["web:1", "web:2"]) node.runtime.images.set(image, image);
    node.pods.replace([]);
    await node.start();
    const pod = makePod();
    node.apply(pod);
    await node.run();
    node.runtime.stopping = (_id, _grace, signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason)),
      );
    const edited = { ...pod.spec, containers: [{ name: "web", image: "web:2" }] };
    node.apply({ ...pod, spec: edited, metadata: { ...pod.metadata, generation: 2 } });
    await node.run();
    const id = node.runtime.byName("web")?.id ?? "";
    await node.manager.stop();
    node.runtime.exit(id, 137);
    await node.restart();
    await node.run();
    expect(node.runtime.byName("web")).toMatchObject({ state: "running", image: "web:2" });
    expect(node.checkpoint.backoff).toEqual({});
    await node.manager.stop();
  });
});
