/**
 * resource.Quantity: exact arithmetic on "250m", "1.5Gi", "2e3" or a bare number. Held as a whole number of
 * billionths, the finest step Kubernetes knows; what is finer is rounded away from zero, as the API server does.
 * Called by whatever reads requests, limits, size limits and capacities.
 */

import { LongshoreError } from "../core/errors.ts";

/** A quantity as it stands in JSON. */
export type WireQuantity = string | number;

const NANO_PER_UNIT = 1_000_000_000n;

/** Decimal suffix → power of ten. */
const DECIMAL: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  "": 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};

/** Binary suffix → power of two. */
const BINARY: Readonly<Record<string, bigint>> = {
  Ki: 10n,
  Mi: 20n,
  Gi: 30n,
  Ti: 40n,
  Pi: 50n,
  Ei: 60n,
};

const FORM = /^([+-]?)(\d+\.?\d*|\.\d+)(?:([eE][+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)$/;

/** Billionths of one unit. Throws ApiInvalid when `quantity` is not a quantity. */
export function parseQuantity(quantity: WireQuantity): bigint {
  const match = FORM.exec(String(quantity));
  const digits = match?.[2];
  if (match === null || digits === undefined) {
    throw new LongshoreError(
      "ApiInvalid",
      `${JSON.stringify(quantity)} is not a quantity; write a number with one of the suffixes n u m k M G T P E Ki Mi Gi Ti Pi Ei`,
    );
  }
  const [whole = "", fraction = ""] = digits.split(".");
  const unscaled = BigInt(`${whole}${fraction}` || "0");
  const [, sign, , exponent, suffix = ""] = match;
  const power = exponent === undefined ? (DECIMAL[suffix] ?? 0) : Number(exponent.slice(1));
  const factor = 1n << (BINARY[suffix] ?? 0n);
  const nano = scaleUp(unscaled * factor, 9 + power - fraction.length);
  return sign === "-" ? -nano : nano;
}

/** `value * 10^power`, rounded up. */
function scaleUp(value: bigint, power: number): bigint {
  return power >= 0 ? value * 10n ** BigInt(power) : ceilDiv(value, 10n ** BigInt(-power));
}

/** Away from zero for positive values, towards it for negative ones: Quantity.Value() of the API server. */
function ceilDiv(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  return value > 0n && value % by !== 0n ? quotient + 1n : quotient;
}

/** Whole units, rounded up: bytes of memory, number of pods. */
export function value(quantity: WireQuantity): number {
  return Number(ceilDiv(parseQuantity(quantity), NANO_PER_UNIT));
}

/** Thousandths, rounded up: millicores. */
export function milliValue(quantity: WireQuantity): number {
  return Number(ceilDiv(parseQuantity(quantity), 1_000_000n));
}

/** Thousandths in the canonical form: "8" for 8000, "250m" for 250. */
export function formatMilli(milli: number): string {
  return milli % 1000 === 0 ? String(milli / 1000) : `${milli}m`;
}

/** Bytes as the kubelet writes capacities: "16384Ki", rounded down, or plain bytes below one Ki. */
export function formatBytes(bytes: number): string {
  return bytes < 1024 ? String(Math.floor(bytes)) : `${Math.floor(bytes / 1024)}Ki`;
}
