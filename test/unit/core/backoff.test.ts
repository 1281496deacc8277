/** Delays per key, and the jitter of reconnecting loops. */

import { describe, expect, test } from "vitest";
import { Backoff, jitteredDelay } from "../../../src/core/backoff.ts";

const POLICY = { initialMs: 10_000, maxMs: 300_000, resetMs: 600_000 };

test("the delay doubles up to the maximum", () => {
  const backoff = new Backoff(POLICY);
  const delays: number[] = [];
  let now = 0;
  for (let i = 0; i < 7; i++) {
    const delay = backoff.fail("a", now);
    delays.push(delay);
    now += delay;
  }
  expect(delays).toEqual([10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
});

test("keys do not know of each other", () => {
  const backoff = new Backoff(POLICY);
  backoff.fail("a", 0);
  backoff.fail("a", 0);
  expect(backoff.fail("b", 0)).toBe(10_000);
});

test("a key that was quiet long enough starts again, one that was not goes on", () => {
  const backoff = new Backoff(POLICY);
  backoff.fail("a", 0);
  expect(backoff.fail("a", 600_000)).toBe(20_000);
  expect(backoff.fail("a", 1_200_001)).toBe(10_000);
});

test("what remains counts down to 0 and is 0 for unknown and reset keys", () => {
  const backoff = new Backoff(POLICY);
  backoff.fail("a", 1_000);
  expect(backoff.remaining("a", 4_000)).toBe(7_000);
  expect(backoff.remaining("a", 60_000)).toBe(0);
  expect(backoff.delay("a")).toBe(10_000);
  expect(backoff.remaining("b", 0)).toBe(0);
  backoff.reset("a");
  expect(backoff.remaining("a", 4_000)).toBe(0);
});

test("a snapshot brought back goes on where it was", () => {
  const before = new Backoff(POLICY);
  before.fail("a", 0);
  const after = new Backoff(POLICY);
  after.restore(JSON.parse(JSON.stringify(before.snapshot())));
  expect(after.fail("a", 10_000)).toBe(20_000);
});

describe("jitteredDelay", () => {
  const policy = { initialMs: 1_000, maxMs: 30_000 };
  test.each([
    { attempt: 0, random: 0, ms: 500 },
    { attempt: 0, random: 1, ms: 1_000 },
    { attempt: 3, random: 0.5, ms: 6_000 },
    { attempt: 9, random: 1, ms: 30_000 },
    { attempt: 5_000, random: 0, ms: 15_000 },
  ])("attempt $attempt with random $random waits $ms ms", ({ attempt, random, ms }) => {
    expect(jitteredDelay(attempt, policy, () => random)).toBe(ms);
  });
});
