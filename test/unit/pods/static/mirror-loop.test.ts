import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Reflector } from "../../../../src/api/reflector.ts";
import { PODS } from "../../../../src/api/resources.ts";
import type { Node, Pod } from "../../../../src/api/types.ts";
import type { Logger } from "../../../../src/core/logger.ts";
import { toStaticPod } from "../../../../src/pods/static/manifest.ts";
import { MirrorLoop } from "../../../../src/pods/static/mirror-loop.ts";
import { PodSources } from "../../../../src/pods/static/pod-sources.ts";
import { FakeApi } from "../../../fakes/api.ts";
import { FakeClock } from "../../../fakes/clock.ts";

const REF = { namespace: "default", name: "web-n" };
const MIRROR = "kubernetes.io/config.mirror";

function staticPod(image: string): Pod {
  const spec = { containers: [{ name: "main", image }] };
  const manifest = { apiVersion: "v1", kind: "Pod", metadata: { name: "web" }, spec };
  const origin = { kind: "file", path: "/web.yaml" } as const;
  return toStaticPod(manifest, { origin, nodeName: "n", now: 0 });
}

describe("the loop of mirror pods", () => {
  const first = staticPod("web:1");
  const second = staticPod("web:2");
  const warnings: string[] = [];
  const log: Logger = {
    debug() {},
    info() {},
    warn: (_fields, message) => void warnings.push(message),
    error() {},
    child: () => log,
  };
  let clock: FakeClock;
  let api: FakeApi;
  let reflector: Reflector<Pod>;
  let sources: PodSources;
  let loop: MirrorLoop;
  let node: Node | undefined;

  beforeEach(() => {
    warnings.length = 0;
    clock = new FakeClock();
    api = new FakeApi(clock);
    node = {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "n", uid: "u", resourceVersion: "1" },
    };
    const random = (): number => 0.5;
    const options = { fieldSelector: "spec.nodeName=n" };
    reflector = new Reflector({
      client: api,
      resource: PODS,
      options,
      clock,
      random,
      log,
      name: "pods",
    });
    const { store } = reflector;
    sources = new PodSources({ api: store, client: api, staticSources: ["file"] });
    loop = new MirrorLoop({
      ...{ client: api, api: store, sources, node: () => node, clock, random, log },
    });
    reflector.start();
  });
  afterEach(async () => {
    await loop.stop();
    await reflector.stop();
  });

  async function run(ms = 2_000): Promise<void> {
    for (let turn = 0; turn < 10; turn++) await clock.advance(ms / 10);
  }

  async function start(...pods: readonly Pod[]): Promise<void> {
    sources.open();
    sources.setStatic("file", pods);
    await run();
  }

  const hash = (): string | undefined => api.peek(PODS, REF)?.metadata.annotations?.[MIRROR];

  test("makes the mirror when the node is known, and not before", async () => {
    const known = node;
    node = undefined;
    sources.setStatic("file", [first]);
    await run();
    expect(api.peek(PODS, REF)).toBeUndefined();
    node = known;
    sources.open();
    await run();
    expect(hash()).toBe(first.metadata.uid);
  });

  test("makes it anew when somebody deleted it", async () => {
    await start(first);
    const before = api.peek(PODS, REF)?.metadata.uid;
    api.remove(PODS, REF);
    await run();
    expect(hash()).toBe(first.metadata.uid);
    expect(api.peek(PODS, REF)?.metadata.uid).not.toBe(before);
  });

  test("replaces the one of an older manifest", async () => {
    await start(first);
    sources.setStatic("file", [second]);
    await run();
    expect(hash()).toBe(second.metadata.uid);
  });

  test("deletes that of a pod which has ended, and one that never was", async () => {
    await start(first);
    const lie = {
      ...first,
      metadata: { ...first.metadata, name: "lie", uid: "l", annotations: { [MIRROR]: "x" } },
    };
    api.put(PODS, lie);
    sources.setStatic("file", []);
    await run();
    expect(api.peekAll(PODS)).toEqual([]);
  });

  test("leaves mirrors alone until the manifests have been read", async () => {
    const annotations = { ...first.metadata.annotations, [MIRROR]: first.metadata.uid };
    api.put(PODS, { ...first, metadata: { ...first.metadata, uid: "m", annotations } });
    sources.open();
    await run();
    expect(api.peek(PODS, REF)?.metadata.uid).toBe("m");
    sources.setStatic("file", [first]);
    await run();
    expect(api.peek(PODS, REF)?.metadata.uid).toBe("m");
    expect(api.calls.filter(({ verb }) => verb === "create" || verb === "delete")).toEqual([]);
  });

  test("leaves a pod of somebody else's alone that has the name", async () => {
    const { annotations: _, ...metadata } = first.metadata;
    api.put(PODS, { ...first, metadata: { ...metadata, uid: "theirs" } });
    await start(first);
    await run();
    expect(api.peek(PODS, REF)?.metadata.uid).toBe("theirs");
  });

  test("tries again when the API server refuses, with one warning", async () => {
    for (let i = 0; i < 3; i++) api.failNext("ApiForbidden", { verb: "create" });
    await start(first);
    await run(20_000);
    expect(hash()).toBe(first.metadata.uid);
    expect(warnings).toHaveLength(1);
  });
});
