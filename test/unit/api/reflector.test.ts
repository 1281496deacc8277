/** The reflector against the fake API: it follows, resumes, lists anew when told, and waits between failures. */

import { afterEach, expect, test } from "vitest";
import { Reflector } from "../../../src/api/reflector.ts";
import { PODS } from "../../../src/api/resources.ts";
import type { StoreChange } from "../../../src/api/store.ts";
import type { Pod } from "../../../src/api/types.ts";
import { createLogger } from "../../../src/core/logger.ts";
import { pod } from "../../builders/objects.ts";
import { FakeApi } from "../../fakes/api.ts";
import { FakeClock } from "../../fakes/clock.ts";

const signal = new AbortController().signal;
const started: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  for (const reflector of started.splice(0)) await reflector.stop();
});

function named(name: string, nodeName = "node-1"): Pod {
  return pod((p) => {
    p.metadata.name = name;
    p.spec.nodeName = nodeName;
  });
}

function setUp() {
  const clock = new FakeClock();
  const api = new FakeApi(clock);
  const lines: { level: number; msg: string }[] = [];
  const log = createLogger({
    level: "info",
    pretty: false,
    write: (line) => lines.push(JSON.parse(line)),
  });
  const reflector = new Reflector({
    client: api,
    resource: PODS,
    options: { fieldSelector: "spec.nodeName=node-1" },
    clock,
    random: () => 1,
    log,
    name: "pods",
  });
  started.push(reflector);
  const changes: string[] = [];
  reflector.store.onChange((change: StoreChange<Pod>) =>
    changes.push(`${change.kind} ${change.key}`),
  );
  const names = (): string[] => reflector.store.list().map((p) => p.metadata.name);
  const verbs = (): string[] => api.calls.map((call) => call.verb);
  const messages = (): string[] => lines.map((line) => `${line.level} ${line.msg}`);
  return { clock, api, reflector, changes, names, verbs, messages };
}

test("it lists what is selected, then follows changes", async () => {
  const { clock, api, reflector, changes, names } = setUp();
  api.put(PODS, named("a"), named("other", "node-2"));
  reflector.start();
  await reflector.store.waitUntilSynced(signal);
  expect(names()).toEqual(["a"]);
  expect(reflector.isConnected).toBe(true);
  await clock.advance(0);
  api.put(PODS, named("b"));
  api.remove(PODS, { namespace: "default", name: "a" });
  await clock.advance(0);
  expect(changes).toEqual(["applied default/a", "applied default/b", "deleted default/a"]);
});

test("who wrote which field is not kept", async () => {
  const { clock, api, reflector } = setUp();
  const managed = (name: string): Pod => {
    const object = named(name);
    const managedFields = [{ manager: "kubectl", operation: "Apply" }];
    return { ...object, metadata: { ...object.metadata, managedFields } };
  };
  api.put(PODS, managed("a"));
  reflector.start();
  await reflector.store.waitUntilSynced(signal);
  await clock.advance(0);
  api.put(PODS, managed("b"));
  await clock.advance(0);
  const kept = reflector.store
    .list()
    .map(({ metadata }) => Object.hasOwn(metadata, "managedFields"));
  expect(kept).toEqual([false, false]);
});

test("an empty list counts as synced", async () => {
  const { reflector } = setUp();
  reflector.start();
  await reflector.store.waitUntilSynced(signal);
  expect(reflector.store.isSynced).toBe(true);
});

test("waiting for the first list can be given up", async () => {
  const { reflector } = setUp();
  const controller = new AbortController();
  const waiting = reflector.store.waitUntilSynced(controller.signal);
  controller.abort();
  await expect(waiting).rejects.toMatchObject({ code: "Aborted" });
});

test("a watch that the server ends is resumed without a list and misses nothing", async () => {
  const { clock, api, reflector, names, verbs } = setUp();
  reflector.start();
  await clock.advance(5_000);
  api.closeWatches();
  api.put(PODS, named("between"));
  await clock.advance(0);
  expect(names()).toEqual(["between"]);
  expect(verbs()).toEqual(["list", "watch", "watch"]);
});

test("410 leads to a new list that replaces the store and tells of what went", async () => {
  const { clock, api, reflector, changes, names, verbs } = setUp();
  api.put(PODS, named("gone"), named("stays"));
  reflector.start();
  await clock.advance(5_000);
  api.failNext("ApiExpired", { verb: "watch" });
  api.closeWatches();
  api.remove(PODS, { namespace: "default", name: "gone" });
  await clock.advance(0);
  expect(names()).toEqual(["stays"]);
  expect(changes.slice(2)).toEqual(["deleted default/gone"]);
  expect(verbs()).toEqual(["list", "watch", "watch", "list", "watch"]);
});

test("failures wait 1.6 s at most, then twice as long, up to 30 s", async () => {
  const { clock, api, reflector } = setUp();
  for (let i = 0; i < 8; i++) api.failNext("ApiUnreachable", { verb: "list" });
  const times: number[] = [];
  const start = clock.monotonic();
  reflector.start();
  for (let seen = 0; clock.monotonic() < 200_000; await clock.advance(100)) {
    if (api.calls.length > seen) times.push(clock.monotonic() - start);
    seen = api.calls.length;
    if (reflector.store.isSynced) break;
  }
  const gaps = times.slice(1).map((time, i) => Math.round((time - (times[i] ?? 0)) / 100) / 10);
  expect(gaps).toEqual([1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30]);
});

test("the first failure is a warning, the recovery an info, and nothing in between", async () => {
  const { clock, api, reflector, messages } = setUp();
  for (let i = 0; i < 3; i++) api.failNext("ApiUnreachable", { verb: "list" });
  reflector.start();
  await clock.advance(0);
  expect(reflector.isConnected).toBe(false);
  expect(reflector.state.kind).toBe("backing-off");
  await clock.advance(60_000);
  expect(messages()).toEqual(["40 cannot follow pods", "30 following pods again"]);
  expect(reflector.isConnected).toBe(true);
});

test("403 is reported with the resource and the remedy", async () => {
  const { clock, api, reflector, messages } = setUp();
  api.failNext("ApiForbidden", { verb: "list" });
  reflector.start();
  await clock.advance(0);
  expect(messages()[0]).toMatch(
    /cannot follow pods; allow these credentials to list and watch pods/,
  );
});

test("a failed watch resumes from where it was, after a wait", async () => {
  const { clock, api, reflector, names, verbs } = setUp();
  reflector.start();
  await clock.advance(5_000);
  api.put(PODS, named("a"));
  await clock.advance(0);
  api.failNext("ApiUnreachable", { verb: "watch" });
  api.closeWatches();
  api.put(PODS, named("b"));
  await clock.advance(0);
  expect(names()).toEqual(["a"]);
  await clock.advance(1_600);
  expect(names()).toEqual(["a", "b"]);
  expect(verbs()).toEqual(["list", "watch", "watch", "watch"]);
});

test("a server that closes each watch at once is not hammered", async () => {
  const { clock, api, reflector } = setUp();
  reflector.start();
  await clock.advance(0);
  api.closeWatches();
  await clock.advance(1_500);
  expect(api.openWatches).toBe(0);
  await clock.advance(100);
  expect(api.openWatches).toBe(1);
});

test("stop leaves no watch and no timer, also in the middle of a wait", async () => {
  for (const failure of [false, true]) {
    const { clock, api, reflector } = setUp();
    if (failure) api.failNext("ApiUnreachable");
    reflector.start();
    await clock.advance(0);
    await reflector.stop();
    expect(api.openWatches).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  }
});
