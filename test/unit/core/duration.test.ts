import { expect, test } from "vitest";
import { parseGoDuration } from "../../../src/core/duration.ts";

test.each([
  ["10s", 10_000],
  ["1m0s", 60_000],
  ["2h0m0s", 7_200_000],
  ["1h30m0s", 5_400_000],
  ["1.5s", 1_500],
  [".5h", 1_800_000],
  ["250ms", 250],
  ["5000us", 5],
  ["0s", 0],
  ["0", 0],
  ["", undefined],
  ["10", undefined],
  ["-5s", undefined],
  ["1s ", undefined],
  [60, undefined],
])("the duration %j is %s ms", (text, expected) => {
  expect(parseGoDuration(text)).toBe(expected);
});
