/** The three promises of WorkQueue, sentence by sentence, and its end. */

import { expect, test } from "vitest";
import { WorkQueue } from "../../../src/core/workqueue.ts";
import { FakeClock, settle } from "../../fakes/clock.ts";

interface Turn {
  readonly key: string;
  readonly at: number;
}

function setUp(overrides: {
  concurrency?: number;
  handle?: (key: string, signal: AbortSignal) => Promise<number | undefined>;
  onError?: (key: string, error: unknown) => number | undefined;
}) {
  const clock = new FakeClock(0);
  const turns: Turn[] = [];
  const queue = new WorkQueue({
    clock,
    concurrency: overrides.concurrency ?? 10,
    handle: async (key, signal) => {
      turns.push({ key, at: clock.now() });
      return overrides.handle?.(key, signal);
    },
    onError: overrides.onError ?? (() => undefined),
  });
  return { clock, turns, queue };
}

test("a key waiting twice runs once, at the earlier of its times", async () => {
  for (const [first, second] of [
    [500, 100],
    [100, 500],
  ] as const) {
    const { clock, turns, queue } = setUp({});
    queue.add("a", first);
    queue.add("a", second);
    await clock.advance(1_000);
    expect(turns).toEqual([{ key: "a", at: 100 }]);
    expect(clock.pendingTimers).toBe(0);
  }
});

test("a key that is being worked on is held until that ends and then runs again", async () => {
  const first = Promise.withResolvers<undefined>();
  const { turns, queue } = setUp({ handle: () => first.promise });
  queue.add("a");
  await settle();
  queue.add("a");
  queue.add("a");
  await settle();
  expect(turns).toHaveLength(1);
  first.resolve(undefined);
  await settle();
  expect(turns).toHaveLength(2);
});

test("a held key blocks no other", async () => {
  const never = Promise.withResolvers<undefined>();
  const { turns, queue } = setUp({
    handle: async (key) => (key === "stuck" ? never.promise : undefined),
  });
  queue.add("stuck");
  await settle();
  queue.add("stuck");
  queue.add("free");
  await settle();
  expect(turns.map((turn) => turn.key)).toEqual(["stuck", "free"]);
});

test("at most `concurrency` keys run at once, and the others follow", async () => {
  const gates = new Map<string, PromiseWithResolvers<undefined>>();
  const { turns, queue } = setUp({
    concurrency: 2,
    handle: (key) => {
      const gate = Promise.withResolvers<undefined>();
      gates.set(key, gate);
      return gate.promise;
    },
  });
  for (const key of ["a", "b", "c"]) queue.add(key);
  await settle();
  expect(turns.map((turn) => turn.key)).toEqual(["a", "b"]);
  gates.get("a")?.resolve(undefined);
  await settle();
  expect(turns.map((turn) => turn.key)).toEqual(["a", "b", "c"]);
});

test("a handler that returns milliseconds gets its next turn after them", async () => {
  const again: (number | undefined)[] = [300, undefined];
  const { clock, turns, queue } = setUp({ handle: async () => again.shift() });
  queue.add("a");
  await clock.advance(1_000);
  expect(turns.map((turn) => turn.at)).toEqual([0, 300]);
});

test("a turn asked for while the handler runs is not put off by what it returns", async () => {
  const gate = Promise.withResolvers<number>();
  const { clock, turns, queue } = setUp({ handle: () => gate.promise });
  queue.add("a");
  await settle();
  queue.add("a");
  gate.resolve(60_000);
  await clock.advance(10);
  expect(turns.length).toBeGreaterThanOrEqual(2);
});

test("a handler that throws is retried after what onError says", async () => {
  const errors: unknown[] = [];
  const failure = new Error("no");
  const { clock, turns, queue } = setUp({
    handle: async () => {
      if (errors.length === 0) throw failure;
      return undefined;
    },
    onError: (_key, error) => {
      errors.push(error);
      return 200;
    },
  });
  queue.add("a");
  await clock.advance(1_000);
  expect(errors).toEqual([failure]);
  expect(turns.map((turn) => turn.at)).toEqual([0, 200]);
});

test("a forgotten key does not run", async () => {
  const { clock, turns, queue } = setUp({});
  queue.add("a", 100);
  queue.forget("a");
  await clock.advance(1_000);
  expect(turns).toEqual([]);
});

test("stop aborts what runs, waits for it, and nothing runs afterwards", async () => {
  let isEnded = false;
  const { clock, turns, queue } = setUp({
    handle: (_key, signal) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => {
          isEnded = true;
          resolve(0);
        });
      }),
  });
  queue.add("running");
  queue.add("waiting", 100);
  await settle();
  await queue.stop();
  expect(isEnded).toBe(true);
  queue.add("late");
  await clock.advance(1_000);
  expect(turns.map((turn) => turn.key)).toEqual(["running"]);
  expect(clock.pendingTimers).toBe(0);
});
