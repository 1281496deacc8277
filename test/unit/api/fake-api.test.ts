/** The fake API keeps the promises of an API server that the other tests lean on. */

import { describe, expect, test } from "vitest";
import type { WatchEvent } from "../../../src/api/client.ts";
import { CONFIG_MAPS, NODES, PODS } from "../../../src/api/resources.ts";
import type { Node, Pod } from "../../../src/api/types.ts";
import { configMap, node, pod } from "../../builders/objects.ts";
import { FakeApi } from "../../fakes/api.ts";
import { settle } from "../../fakes/clock.ts";

const WEB = { namespace: "default", name: "web" };
const SETTINGS = { namespace: "default", name: "settings" };
const signal = new AbortController().signal;

async function follow(api: FakeApi, resourceVersion: string, fieldSelector?: string) {
  const seen: string[] = [];
  const controller = new AbortController();
  const options = { resourceVersion, ...(fieldSelector === undefined ? {} : { fieldSelector }) };
  const describeEvent = (event: WatchEvent<Pod>): string =>
    event.kind === "bookmark" ? "bookmark" : `${event.kind} ${event.object.metadata.name}`;
  const ended = (async () => {
    for await (const event of api.watch(PODS, options, controller.signal)) {
      seen.push(describeEvent(event));
    }
    return "end";
  })().catch((error: { code: string }) => error.code);
  await settle();
  return { seen, ended, stop: () => controller.abort() };
}

test("each write gets a new resourceVersion, and an old one conflicts", async () => {
  const api = new FakeApi();
  const made = await api.create(CONFIG_MAPS, "default", configMap(), signal);
  const changed = await api.update(CONFIG_MAPS, SETTINGS, { ...made, data: { a: "1" } }, signal);
  expect(Number(changed.metadata.resourceVersion)).toBeGreaterThan(
    Number(made.metadata.resourceVersion),
  );
  await expect(api.update(CONFIG_MAPS, SETTINGS, made, signal)).rejects.toMatchObject({
    code: "ApiConflict",
  });
  await expect(api.create(CONFIG_MAPS, "default", made, signal)).rejects.toMatchObject({
    code: "ApiAlreadyExists",
  });
});

test("what is handed out cannot be changed by whoever has it", async () => {
  const api = new FakeApi();
  api.put(PODS, pod());
  const read = (await api.get(PODS, WEB, signal)) as { spec: { nodeName?: string } };
  expect(() => {
    read.spec.nodeName = "elsewhere";
  }).toThrow(TypeError);
});

test("status changes through its subresource only, and nothing else does there", async () => {
  const api = new FakeApi();
  api.put(PODS, pod());
  const patch = { spec: { nodeName: "x" }, status: { phase: "Running" } };
  const status = { ...WEB, subresource: "status", type: "merge" } as const;
  expect(await api.patch(PODS, status, patch, signal)).toMatchObject({
    spec: { nodeName: "node-1" },
    status: { phase: "Running" },
  });
  const main = { ...WEB, type: "merge" } as const;
  await api.patch(PODS, main, { status: { phase: "Failed" } }, signal);
  expect(api.peek(PODS, WEB)?.status?.phase).toBe("Running");
});

describe("patches of a node's status", () => {
  const condition = (type: string, status: string) => ({ type, status });
  const start = node((n) => {
    n.status = { conditions: [condition("Ready", "False"), condition("Other", "True")] };
  });
  const cases: readonly ["strategic" | "merge", object, object][] = [
    [
      "strategic",
      { status: { conditions: [condition("Ready", "True"), condition("New", "True")] } },
      {
        conditions: [
          condition("Ready", "True"),
          condition("Other", "True"),
          condition("New", "True"),
        ],
      },
    ],
    [
      "strategic",
      { status: { conditions: [{ type: "Other", $patch: "delete" }], phase: null } },
      { conditions: [condition("Ready", "False")] },
    ],
    [
      "merge",
      { status: { conditions: [condition("Ready", "True")], capacity: { cpu: "2" } } },
      { conditions: [condition("Ready", "True")], capacity: { cpu: "2" } },
    ],
  ];
  test.each(cases)("%s patch %j", async (type, patch, expected) => {
    const api = new FakeApi();
    api.put(NODES, start);
    const ref = { name: "node-1", subresource: "status", type };
    const patched: Node = await api.patch(NODES, ref, patch, signal);
    expect(patched.status).toEqual(expected);
  });

  test("a JSON patch is applied, or refused as a whole", async () => {
    const api = new FakeApi();
    api.put(NODES, start);
    const ref = { name: "node-1", type: "json" } as const;
    const add = { op: "add", path: "/metadata/labels/a", value: "b" };
    expect(await api.patch(NODES, ref, [add], signal)).toMatchObject({
      metadata: { labels: { a: "b" } },
    });
    const bad = api.patch(NODES, ref, [{ op: "remove", path: "/spec/none" }], signal);
    await expect(bad).rejects.toMatchObject({ code: "ApiInvalid" });
  });
});

describe("delete", () => {
  test("a pod on a node is marked, goes at once with grace 0, and only with the right uid", async () => {
    const api = new FakeApi();
    api.put(PODS, pod());
    const wrong = api.delete(PODS, { ...WEB, uid: "another" }, signal);
    await expect(wrong).rejects.toMatchObject({ code: "ApiConflict" });
    await api.delete(PODS, WEB, signal);
    expect(api.peek(PODS, WEB)?.metadata).toMatchObject({
      deletionTimestamp: "2026-01-01T00:00:30Z",
      deletionGracePeriodSeconds: 30,
    });
    await api.delete(PODS, { ...WEB, gracePeriodSeconds: 0, uid: "pod-uid-1" }, signal);
    expect(api.peek(PODS, WEB)).toBeUndefined();
    await expect(api.delete(PODS, WEB, signal)).rejects.toMatchObject({ code: "ApiNotFound" });
  });

  test("other objects go at once", async () => {
    const api = new FakeApi();
    api.put(CONFIG_MAPS, configMap());
    await api.delete(CONFIG_MAPS, SETTINGS, signal);
    expect(api.peekAll(CONFIG_MAPS)).toEqual([]);
  });
});

describe("watch", () => {
  test("it replays from the version asked for and hears an object leave its selection", async () => {
    const api = new FakeApi();
    const { resourceVersion } = await api.list(PODS, {}, signal);
    api.put(PODS, pod());
    const watch = await follow(api, resourceVersion, "spec.nodeName=node-1");
    api.put(
      PODS,
      pod((p) => {
        p.spec.nodeName = "node-2";
      }),
    );
    await settle();
    expect(watch.seen).toEqual(["bookmark", "applied web", "deleted web"]);
    watch.stop();
    await expect(watch.ended).resolves.toBe("Aborted");
    expect(api.openWatches).toBe(0);
  });

  test("a version that was compacted away is expired", async () => {
    const api = new FakeApi();
    api.put(PODS, pod());
    api.compact();
    await expect((await follow(api, "1")).ended).resolves.toBe("ApiExpired");
  });

  test("closeWatches is a normal end", async () => {
    const api = new FakeApi();
    const watch = await follow(api, "100");
    api.closeWatches();
    await expect(watch.ended).resolves.toBe("end");
  });
});

test("failures hit the next matching call, once", async () => {
  const api = new FakeApi();
  api.put(PODS, pod());
  api.failNext("ApiTimeout", { verb: "get", resource: "pods" });
  await api.list(PODS, {}, signal);
  await expect(api.get(PODS, WEB, signal)).rejects.toMatchObject({ code: "ApiTimeout" });
  await expect(api.get(PODS, WEB, signal)).resolves.toBeDefined();
  expect(api.calls.map((call) => call.verb)).toEqual(["list", "get", "get"]);
});

test("what it does not model is a bug, never a guess", async () => {
  const api = new FakeApi();
  api.put(PODS, pod());
  const bug = { code: "Bug" };
  await expect(api.list(PODS, { labelSelector: "a in (b)" }, signal)).rejects.toMatchObject(bug);
  await expect(api.list(PODS, { fieldSelector: "spec.x=1" }, signal)).rejects.toMatchObject(bug);
  const eviction = api.createSubresource(PODS, { ...WEB, subresource: "eviction" }, {}, signal);
  await expect(eviction).rejects.toMatchObject(bug);
  await expect(api.get(PODS, { name: "web" }, signal)).rejects.toMatchObject(bug);
});
