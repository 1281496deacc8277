/** Waiting that can be given up leaves neither timers nor listeners behind, on any path. */

import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { orAborted, sleep, withDeadline } from "../../../src/core/abort.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import { FakeClock } from "../../fakes/clock.ts";

function setUp() {
  const clock = new FakeClock();
  const controller = new AbortController();
  const { signal } = controller;
  const deadline = { clock, ms: 1_000, signal, code: "ApiTimeout", message: "too slow" } as const;
  const leftovers = (): number => clock.pendingTimers + getEventListeners(signal, "abort").length;
  return { clock, controller, signal, deadline, leftovers };
}

test("sleep ends after its milliseconds", async () => {
  const { clock, signal, leftovers } = setUp();
  const slept = sleep(clock, 500, signal);
  await clock.advance(500);
  await slept;
  expect(leftovers()).toBe(0);
});

test("sleep is given up with Aborted", async () => {
  const { clock, controller, signal, leftovers } = setUp();
  const slept = sleep(clock, 500, signal);
  controller.abort();
  await expect(slept).rejects.toMatchObject({ code: "Aborted" });
  await expect(sleep(clock, 500, signal)).rejects.toMatchObject({ code: "Aborted" });
  expect(leftovers()).toBe(0);
});

test("withDeadline gives the result of work that is in time", async () => {
  const { deadline, leftovers } = setUp();
  await expect(withDeadline(deadline, async () => 7)).resolves.toBe(7);
  expect(leftovers()).toBe(0);
});

test("withDeadline passes on the failure of the work, also one thrown at once", async () => {
  const { deadline, leftovers } = setUp();
  const failure = new LongshoreError("ApiNotFound", "no");
  await expect(withDeadline(deadline, () => Promise.reject(failure))).rejects.toBe(failure);
  const throwing = (): Promise<never> => {
    throw failure;
  };
  await expect(withDeadline(deadline, throwing)).rejects.toBe(failure);
  expect(leftovers()).toBe(0);
});

test("withDeadline aborts the work and throws its code when the time is up", async () => {
  const { clock, deadline, leftovers } = setUp();
  let inner: AbortSignal | undefined;
  const result = withDeadline(deadline, (signal) => {
    inner = signal;
    return new Promise(() => undefined);
  });
  const outcome = expect(result).rejects.toMatchObject({ code: "ApiTimeout", message: "too slow" });
  await clock.advance(1_000);
  await outcome;
  expect(inner?.aborted).toBe(true);
  expect(leftovers()).toBe(0);
});

test("withDeadline throws Aborted when the outer signal fires, before or during the work", async () => {
  const { controller, deadline, leftovers } = setUp();
  const result = withDeadline(deadline, () => new Promise(() => undefined));
  controller.abort();
  await expect(result).rejects.toMatchObject({ code: "Aborted" });
  await expect(withDeadline(deadline, async () => 7)).rejects.toMatchObject({ code: "Aborted" });
  expect(leftovers()).toBe(0);
});

test("orAborted gives up waiting without ending the shared work", async () => {
  const { controller, signal, leftovers } = setUp();
  const shared = Promise.withResolvers<number>();
  const waiting = orAborted(shared.promise, signal);
  controller.abort();
  await expect(waiting).rejects.toMatchObject({ code: "Aborted" });
  shared.resolve(7);
  await expect(orAborted(shared.promise, new AbortController().signal)).resolves.toBe(7);
  expect(leftovers()).toBe(0);
});

test("orAborted passes on the failure of the shared work", async () => {
  const { signal, leftovers } = setUp();
  await expect(orAborted(Promise.reject(new Error("no")), signal)).rejects.toThrow("no");
  expect(leftovers()).toBe(0);
});
