/** Events: what is written, what is counted up, what is cut off, and how it ends. */

import { expect, test } from "vitest";
import { EventRecorder } from "../../../src/api/event-recorder.ts";
import { involvedPod } from "../../../src/api/events.ts";
import { EVENTS } from "../../../src/api/resources.ts";
import { createLogger } from "../../../src/core/logger.ts";
import { pod } from "../../builders/objects.ts";
import { FakeApi } from "../../fakes/api.ts";
import { FakeClock } from "../../fakes/clock.ts";

const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const POD = involvedPod(pod(), "spec.containers{main}");

function setUp() {
  const clock = new FakeClock();
  const api = new FakeApi(clock);
  const recorder = new EventRecorder({
    client: api,
    clock,
    log,
    component: "kubelet",
    host: "node-1",
  });
  const events = () => api.peekAll(EVENTS);
  return { clock, api, recorder, events };
}

test("an event says what happened to what, when, and who saw it", async () => {
  const { clock, recorder, events } = setUp();
  recorder.start();
  recorder.record(POD, "Normal", "Started", "Started container main");
  await clock.advance(0);
  expect(events()).toHaveLength(1);
  expect(events()[0]).toMatchObject({
    metadata: { namespace: "default", name: expect.stringMatching(/^web\.[0-9a-f]+$/) },
    involvedObject: POD,
    type: "Normal",
    reason: "Started",
    message: "Started container main",
    source: { component: "kubelet", host: "node-1" },
    reportingComponent: "kubelet",
    reportingInstance: "node-1",
    count: 1,
    firstTimestamp: "2026-01-01T00:00:00Z",
    lastTimestamp: "2026-01-01T00:00:00Z",
  });
});

test("a repeat raises the count of the event that exists, whatever the object's version", async () => {
  const { clock, recorder, events } = setUp();
  recorder.start();
  for (const resourceVersion of ["1", "2", "3"]) {
    recorder.record({ ...POD, resourceVersion }, "Warning", "BackOff", "Back-off restarting");
    await clock.advance(10_000);
  }
  expect(events()).toHaveLength(1);
  expect(events()[0]).toMatchObject({
    count: 3,
    firstTimestamp: "2026-01-01T00:00:00Z",
    lastTimestamp: "2026-01-01T00:00:20Z",
  });
});

test("a repeat of an event that has expired is written anew", async () => {
  const { clock, api, recorder, events } = setUp();
  recorder.start();
  recorder.record(POD, "Warning", "BackOff", "Back-off restarting");
  await clock.advance(0);
  const name = events()[0]?.metadata.name ?? "";
  api.remove(EVENTS, { namespace: "default", name });
  recorder.record(POD, "Warning", "BackOff", "Back-off restarting");
  await clock.advance(0);
  expect(events()).toMatchObject([{ count: 1 }]);
});

test("an event about a cluster-wide object goes to the namespace default", async () => {
  const { clock, recorder, events } = setUp();
  recorder.start();
  recorder.record({ apiVersion: "v1", kind: "Node", name: "node-1" }, "Normal", "Starting", "s");
  await clock.advance(0);
  expect(events()).toMatchObject([{ metadata: { namespace: "default" } }]);
});

test("one object gets 25 events at once and one more each 5 minutes; others are not held", async () => {
  const { clock, recorder, events } = setUp();
  recorder.start();
  for (let i = 0; i < 40; i++) recorder.record(POD, "Normal", "Pulled", `image ${i}`);
  recorder.record({ ...POD, name: "other" }, "Normal", "Pulled", "image");
  await clock.advance(0);
  await clock.advance(299_000);
  recorder.record(POD, "Normal", "Pulled", "too early");
  await clock.advance(1_000);
  recorder.record(POD, "Normal", "Pulled", "in time");
  await clock.advance(0);
  expect(events().filter((event) => event.involvedObject.name === "web")).toHaveLength(26);
  expect(events()).toHaveLength(27);
});

test("a server that cannot be reached is tried again, in order, and gets each event once", async () => {
  const { clock, api, recorder, events } = setUp();
  api.failNext("ApiUnreachable");
  api.failNext("ApiTimeout");
  recorder.start();
  recorder.record(POD, "Normal", "Pulled", "one");
  recorder.record(POD, "Normal", "Pulled", "two");
  await clock.advance(30_000);
  expect(events().map((event) => event.message)).toEqual(["one", "two"]);
});

test("an event that the server refuses is dropped and the next goes on", async () => {
  const { clock, api, recorder, events } = setUp();
  api.failNext("ApiForbidden");
  recorder.start();
  recorder.record(POD, "Normal", "Pulled", "one");
  recorder.record(POD, "Normal", "Pulled", "two");
  await clock.advance(0);
  expect(events().map((event) => event.message)).toEqual(["two"]);
});

test("what is recorded before the start is sent after it", async () => {
  const { clock, recorder, events } = setUp();
  recorder.record(POD, "Normal", "Pulled", "early");
  await clock.advance(0);
  expect(events()).toHaveLength(0);
  recorder.start();
  await clock.advance(0);
  expect(events()).toHaveLength(1);
});

test("stop sends what is left", async () => {
  const { clock, recorder, events } = setUp();
  recorder.start();
  recorder.record(POD, "Normal", "Killing", "Stopping container main");
  await recorder.stop();
  expect(events()).toHaveLength(1);
  expect(clock.pendingTimers).toBe(0);
});

test("stop gives up after 2 s on a server that does not answer", async () => {
  const { clock, api, recorder } = setUp();
  api.create = () => new Promise(() => undefined);
  recorder.record(POD, "Normal", "Killing", "Stopping container main");
  let isStopped = false;
  const stopping = recorder.stop().then(() => {
    isStopped = true;
  });
  await clock.advance(1_999);
  expect(isStopped).toBe(false);
  await clock.advance(1);
  await stopping;
  expect(clock.pendingTimers).toBe(0);
});
