import { describe, expect, test } from "vitest";
import type { Admission } from "../../../src/controlplane/extension.ts";
import type { KubeObject } from "../../../src/controlplane/objects.ts";
import {
  CONFIG_MAPS,
  NAMESPACES,
  PODS,
  type ResourceType,
} from "../../../src/controlplane/registry.ts";
import { Rest, type RestCall } from "../../../src/controlplane/rest.ts";
import { StatusError } from "../../../src/controlplane/status-error.ts";
import { Store, type StoreEvent } from "../../../src/controlplane/store.ts";
import { viewOf } from "../../../src/controlplane/watch.ts";
import type { Clock } from "../../../src/core/clock.ts";
import { createLogger } from "../../../src/core/logger.ts";

const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const clock: Clock = {
  now: () => 1_000_000_000_000,
  monotonic: () => 0,
  after: () => ({ cancel: () => undefined }),
};

function setUp(admission: readonly Admission[] = []): { rest: Rest; store: Store } {
  let uids = 0;
  const randomUid = (): string => {
    uids += 1;
    return `uid-${uids}`;
  };
  const store = new Store({ path: ":memory:", clock, randomUid, log });
  store.open();
  return { store, rest: new Rest({ store, clock, random: () => 0, randomUid, admission }) };
}

function call(
  type: ResourceType,
  name?: string,
  rest: { query?: string; subresource?: string } = {},
): RestCall {
  return {
    user: { name: "admin", groups: ["system:masters"] },
    path: {
      type,
      rest: "",
      ...(type.namespaced ? { namespace: "default" } : {}),
      ...(name === undefined ? {} : { name }),
      ...(rest.subresource === undefined ? {} : { subresource: rest.subresource }),
    },
    query: new URLSearchParams(rest.query ?? ""),
  };
}

function failure(work: () => unknown): Partial<StatusError["body"]> {
  try {
    work();
  } catch (error) {
    if (error instanceof StatusError) return error.body;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const configMap = { metadata: { name: "a" }, data: { k: "v" } };
const pod = {
  metadata: { name: "web", finalizers: [] as string[] },
  spec: { nodeName: "n1", containers: [{ name: "c", image: "busybox" }] },
};

describe("writing", () => {
  test("a generated name is the base and five letters", () => {
    const { rest } = setUp();
    const made = rest.create(call(CONFIG_MAPS), { metadata: { generateName: "a-" } });
    expect(made.metadata.name).toBe("a-bbbbb");
  });

  test("an update with an old resource version is a conflict in upstream's words", () => {
    const { rest } = setUp();
    const old = rest.create(call(CONFIG_MAPS), configMap);
    rest.update(call(CONFIG_MAPS, "a"), { ...configMap, data: { k: "w" } });
    expect(failure(() => rest.update(call(CONFIG_MAPS, "a"), old))).toMatchObject({
      code: 409,
      reason: "Conflict",
      message:
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again',
    });
  });

  test("a dry run stores nothing", () => {
    const { rest, store } = setUp();
    const made = rest.create(call(CONFIG_MAPS, undefined, { query: "dryRun=All" }), configMap);
    expect(made.metadata.uid).toBe("uid-1");
    expect(store.list(CONFIG_MAPS).items).toEqual([]);
  });

  test("status changes only through its subresource, and nothing else does there", () => {
    const { rest } = setUp();
    const made = rest.create(call(PODS), pod);
    const changed = { ...made, status: { phase: "Running" } };
    expect(rest.update(call(PODS, "web"), changed).status).toMatchObject({ phase: "Pending" });
    const sent = { ...changed, metadata: { ...made.metadata, labels: { a: "b" } } };
    const after = rest.update(call(PODS, "web", { subresource: "status" }), sent);
    expect(after.status).toMatchObject({ phase: "Running" });
    expect(after.metadata.labels).toBeUndefined();
    expect(after.metadata.generation).toBe(1);
  });

  test("ephemeral containers come only through their subresource, and nothing else does there", () => {
    const { rest } = setUp();
    const made = rest.create(call(PODS), pod);
    const debug = { name: "debug", image: "busybox" };
    const patch = {
      metadata: { labels: { a: "b" } },
      spec: { activeDeadlineSeconds: 5, ephemeralContainers: [debug] },
      status: { phase: "Running" },
    };
    const type = "application/strategic-merge-patch+json";
    expect(failure(() => rest.patch(call(PODS, "web"), type, patch)).code).toBe(422);
    const at = call(PODS, "web", { subresource: "ephemeralcontainers" });
    const after = rest.patch(at, type, patch);
    expect(after).toEqual({
      ...made,
      metadata: { ...made.metadata, generation: 2, resourceVersion: "2" },
      spec: {
        ...(made.spec as object),
        ephemeralContainers: [expect.objectContaining({ ...debug, imagePullPolicy: "Always" })],
      },
    });
    expect(rest.get(at)).toEqual(after);
    expect(failure(() => rest.update(at, pod)).message).toContain("may not be removed");
  });

  test("the generation starts at 1 and counts changes of the spec, whatever a client says", () => {
    const { rest } = setUp();
    const claimed = { ...pod, metadata: { ...pod.metadata, generation: 7 } };
    expect(rest.create(call(PODS), claimed).metadata.generation).toBe(1);
    const merge = (patch: object): number | undefined =>
      rest.patch(call(PODS, "web"), "application/merge-patch+json", patch).metadata.generation;
    expect(merge({ metadata: { generation: 9, labels: { a: "b" } } })).toBe(1);
    expect(merge({ spec: { activeDeadlineSeconds: 60 } })).toBe(2);
    expect(merge({ spec: { activeDeadlineSeconds: 60 } })).toBe(2);
    expect(merge({ metadata: { generation: null }, spec: { activeDeadlineSeconds: 5 } })).toBe(3);
  });

  test("admission may change what is stored, and refuse it", () => {
    const label: Admission = (request) =>
      request.operation === "DELETE"
        ? undefined
        : {
            ...request.object,
            metadata: { ...request.object.metadata, labels: { by: "admission" } },
          };
    const { rest } = setUp([label]);
    expect(rest.create(call(CONFIG_MAPS), configMap).metadata.labels).toEqual({ by: "admission" });
  });
});

describe("deleting", () => {
  test("a pod on a node waits for its grace, a shorter one counts from the first request, zero removes", () => {
    const { rest, store } = setUp();
    rest.create(call(PODS), pod);
    expect(rest.delete(call(PODS, "web"), undefined)).toMatchObject({
      metadata: {
        deletionTimestamp: "2001-09-09T01:47:10Z",
        deletionGracePeriodSeconds: 30,
        generation: 2,
      },
    });
    expect(rest.delete(call(PODS, "web"), { gracePeriodSeconds: 5 })).toMatchObject({
      metadata: { deletionTimestamp: "2001-09-09T01:46:45Z", deletionGracePeriodSeconds: 5 },
    });
    rest.delete(call(PODS, "web"), { gracePeriodSeconds: 0 });
    expect(store.get(PODS, "default", "web")).toBeUndefined();
  });

  test("a negative grace period of a pod is one second", () => {
    const { rest } = setUp();
    rest.create(call(PODS), { ...pod, spec: { ...pod.spec, terminationGracePeriodSeconds: -1 } });
    expect(rest.delete(call(PODS, "web"), undefined)).toMatchObject({
      metadata: { deletionGracePeriodSeconds: 1 },
    });
  });

  test("a pod without a node goes at once", () => {
    const { rest, store } = setUp();
    rest.create(call(PODS), { ...pod, spec: { containers: pod.spec.containers } });
    rest.delete(call(PODS, "web"), undefined);
    expect(store.list(PODS).items).toEqual([]);
  });

  test("a finalizer holds an object until an update takes it off", () => {
    const { rest, store } = setUp();
    rest.create(call(CONFIG_MAPS), {
      ...configMap,
      metadata: { name: "a", finalizers: ["x.io/y"] },
    });
    rest.delete(call(CONFIG_MAPS, "a"), undefined);
    const patch = { metadata: { finalizers: null } };
    expect(store.get(CONFIG_MAPS, "default", "a")?.metadata.deletionTimestamp).toBeDefined();
    rest.patch(call(CONFIG_MAPS, "a"), "application/merge-patch+json", patch);
    expect(store.get(CONFIG_MAPS, "default", "a")).toBeUndefined();
  });

  test("another uid in the preconditions is a conflict", () => {
    const { rest } = setUp();
    rest.create(call(CONFIG_MAPS), configMap);
    const options = { preconditions: { uid: "other" } };
    expect(failure(() => rest.delete(call(CONFIG_MAPS, "a"), options)).code).toBe(409);
  });

  test("a namespace turns Terminating", () => {
    const { rest } = setUp();
    rest.create(call(NAMESPACES), { metadata: { name: "n" } });
    expect(rest.delete(call(NAMESPACES, "n"), undefined)).toMatchObject({
      status: { phase: "Terminating" },
    });
  });
});

test("pages follow one another and tell how many are left", () => {
  const { rest } = setUp();
  for (const name of ["a", "b", "c"]) rest.create(call(CONFIG_MAPS), { metadata: { name } });
  const first = rest.list(call(CONFIG_MAPS, undefined, { query: "limit=2" }));
  expect(first.items.map((it) => it.metadata.name)).toEqual(["a", "b"]);
  expect(first.metadata.remainingItemCount).toBe(1);
  const query = `limit=2&continue=${first.metadata.continue}`;
  const second = rest.list(call(CONFIG_MAPS, undefined, { query }));
  expect(second.items.map((it) => it.metadata.name)).toEqual(["c"]);
  expect(second.metadata.continue).toBeUndefined();
  const broken = call(CONFIG_MAPS, undefined, { query: "continue=x" });
  expect(failure(() => rest.list(broken)).code).toBe(400);
});

describe("what a watch sees of a change", () => {
  const object = (labels: Record<string, string>): KubeObject => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "a", namespace: "default", labels },
  });
  const selects = (it: KubeObject): boolean => it.metadata.labels?.in === "yes";
  const [inside, outside] = [object({ in: "yes" }), object({})];
  test.each<[string, StoreEvent["type"], KubeObject | undefined, KubeObject, string | undefined]>([
    ["entering the selection is ADDED", "MODIFIED", outside, inside, "ADDED"],
    ["staying in it is MODIFIED", "MODIFIED", inside, inside, "MODIFIED"],
    ["leaving it is DELETED", "MODIFIED", inside, outside, "DELETED"],
    ["a change outside is nothing", "MODIFIED", outside, outside, undefined],
    ["a deletion inside is DELETED", "DELETED", inside, inside, "DELETED"],
    ["a deletion outside is nothing", "DELETED", outside, outside, undefined],
  ])("%s", (_sentence, type, previous, current, expected) => {
    const event: StoreEvent = {
      type,
      resource: CONFIG_MAPS,
      object: current,
      resourceVersion: 7,
      ...(previous === undefined ? {} : { previous }),
    };
    expect(viewOf("default", selects)(event)?.type).toBe(expected);
    expect(viewOf("elsewhere", selects)(event)).toBeUndefined();
  });
});
