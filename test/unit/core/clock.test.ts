import { afterEach, expect, test, vi } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";

afterEach(() => vi.useRealTimers());

test("a wait longer than a timer of Node can hold (24.8 days) is not cut to a millisecond", () => {
  vi.useFakeTimers();
  let calls = 0;
  systemClock.after(2 ** 31 + 5_000, () => {
    calls++;
  });
  vi.advanceTimersByTime(2 ** 31 + 4_999);
  expect(calls).toBe(0);
  vi.advanceTimersByTime(1);
  expect(calls).toBe(1);
});

test("a long wait can be cancelled in its second part", () => {
  vi.useFakeTimers();
  let calls = 0;
  const timer = systemClock.after(2 ** 31 + 5_000, () => {
    calls++;
  });
  vi.advanceTimersByTime(2 ** 31);
  timer.cancel();
  vi.advanceTimersByTime(10_000);
  expect(calls).toBe(0);
});
