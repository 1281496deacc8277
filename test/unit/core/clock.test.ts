import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";

const DAY_MS = 24 * 60 * 60_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});

afterEach(() => {
  vi.useRealTimers();
});

test("a wait longer than setTimeout can count ends when it is over, not at once", () => {
  const callback = vi.fn();
  systemClock.after(60 * DAY_MS, callback);
  vi.advanceTimersByTime(60 * DAY_MS - 1);
  expect(callback).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(callback).toHaveBeenCalledOnce();
});

test("a long wait can be cancelled in any of its parts", () => {
  const callback = vi.fn();
  const timer = systemClock.after(60 * DAY_MS, callback);
  vi.advanceTimersByTime(30 * DAY_MS);
  timer.cancel();
  vi.advanceTimersByTime(60 * DAY_MS);
  expect(callback).not.toHaveBeenCalled();
});
