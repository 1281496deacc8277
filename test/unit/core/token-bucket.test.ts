import { expect, test } from "vitest";
import { TokenBucket } from "../../../src/core/token-bucket.ts";

test("a burst goes through at once, what follows at its rate", () => {
  const bucket = new TokenBucket(5, 3);
  const waits = Array.from({ length: 5 }, () => bucket.take(1000));
  expect(waits).toEqual([0, 0, 0, 200, 400]);
  expect(bucket.take(1400)).toBe(200);
  expect(bucket.take(60_000)).toBe(0);
});

test("a rate of 0 is none", () => {
  const bucket = new TokenBucket(0, 1);
  expect([bucket.take(0), bucket.take(0), bucket.take(0)]).toEqual([0, 0, 0]);
});
