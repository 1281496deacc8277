/** Quantities: exact, rounded up, refused when malformed. */

import { describe, expect, test } from "vitest";
import {
  formatBytes,
  formatMilli,
  milliValue,
  parseQuantity,
  value,
} from "../../../src/api/quantity.ts";

describe("value and milliValue", () => {
  test.each([
    { quantity: "0", units: 0, milli: 0 },
    { quantity: 2, units: 2, milli: 2_000 },
    { quantity: 0.1, units: 1, milli: 100 },
    { quantity: "250m", units: 1, milli: 250 },
    { quantity: "1500m", units: 2, milli: 1_500 },
    { quantity: "100u", units: 1, milli: 1 },
    { quantity: "1n", units: 1, milli: 1 },
    { quantity: "-250m", units: 0, milli: -250 },
    { quantity: "+1.5", units: 2, milli: 1_500 },
    { quantity: ".5", units: 1, milli: 500 },
    { quantity: "5.", units: 5, milli: 5_000 },
    { quantity: "1k", units: 1_000, milli: 1_000_000 },
    { quantity: "1Ki", units: 1_024, milli: 1_024_000 },
    { quantity: "1.5Gi", units: 1_610_612_736, milli: 1_610_612_736_000 },
    { quantity: "128974848", units: 128_974_848, milli: 128_974_848_000 },
    { quantity: "129e6", units: 129_000_000, milli: 129_000_000_000 },
    { quantity: "1E3", units: 1_000, milli: 1_000_000 },
    { quantity: "12e-1", units: 2, milli: 1_200 },
    { quantity: "0.0000000001", units: 1, milli: 1 },
  ])("$quantity is $units and $milli thousandths", ({ quantity, units, milli }) => {
    expect(value(quantity)).toBe(units);
    expect(milliValue(quantity)).toBe(milli);
  });
});

test("what floating point would blur stays exact", () => {
  expect(parseQuantity("0.3")).toBe(300_000_000n);
  expect(parseQuantity("1E") / 1_000_000_000n).toBe(10n ** 18n);
  expect(parseQuantity("7Ei") / 1_000_000_000n).toBe(7n << 60n);
});

test.each(["", " 1", "1 Gi", "one", "1mi", "1K", "1.2.3", "1e", "--1", "1e9999", "Ki"])(
  "%j is refused",
  (text) => {
    expect(() => parseQuantity(text)).toThrowError(
      expect.objectContaining({ code: "ApiInvalid", message: expect.stringContaining(text) }),
    );
  },
);

test("capacities are written as the kubelet writes them", () => {
  expect(formatMilli(8_000)).toBe("8");
  expect(formatMilli(250)).toBe("250m");
  expect(formatBytes(16_384 * 1024 + 1)).toBe("16384Ki");
  expect(formatBytes(100)).toBe("100");
});
