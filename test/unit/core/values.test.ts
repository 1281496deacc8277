/** Small values of core: times, hashes, error classes. */

import { expect, test } from "vitest";
import { formatMicroTime, formatTime } from "../../../src/core/clock.ts";
import { classOf, hasCode, LongshoreError, messageOf } from "../../../src/core/errors.ts";
import { canonicalJson, hashValue } from "../../../src/core/hash.ts";

test("times are written as metav1.Time and metav1.MicroTime", () => {
  const ms = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
  expect(formatTime(ms)).toBe("2026-01-02T03:04:05Z");
  expect(formatMicroTime(ms)).toBe("2026-01-02T03:04:05.678000Z");
});

test("equal values hash equally whatever the order of their keys", () => {
  expect(canonicalJson({ b: [{ d: 1, c: 2 }], a: null })).toBe('{"a":null,"b":[{"c":2,"d":1}]}');
  expect(hashValue({ a: 1, b: 2 })).toBe(hashValue({ b: 2, a: 1 }));
  expect(hashValue({ a: [1, 2] })).not.toBe(hashValue({ a: [2, 1] }));
});

test("an error knows its class, and what is not ours is a bug", () => {
  const error = new LongshoreError("ApiNotFound", "pod web", { status: 404 });
  expect(error.class).toBe("gone");
  expect(error.status).toBe(404);
  expect(hasCode(error, "ApiExpired", "ApiNotFound")).toBe(true);
  expect(hasCode(new Error("x"), "ApiNotFound")).toBe(false);
  expect(classOf(new TypeError("x"))).toBe("bug");
  expect(messageOf("text")).toBe("text");
});
