/**
 * Kubernetes quantities as far as volumes need them: sizes and the resources that downward API files show. Pure.
 * Amounts are in thousandths as bigint, so that no size loses digits; rounding up is upstream's.
 */

import { LongshoreError } from "../core/errors.ts";

const SUFFIX: Readonly<Record<string, readonly [number, number]>> = {
  n: [10, -9],
  u: [10, -6],
  m: [10, -3],
  "": [10, 0],
  k: [10, 3],
  M: [10, 6],
  G: [10, 9],
  T: [10, 12],
  P: [10, 15],
  E: [10, 18],
  Ki: [2, 10],
  Mi: [2, 20],
  Gi: [2, 30],
  Ti: [2, 40],
  Pi: [2, 50],
  Ei: [2, 60],
};
const PATTERN =
  /^([+-]?)(\d{1,30})?(?:\.(\d{0,30}))?(?:[eE]([+-]?\d{1,2})|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|))$/;

export function ceilDivide(value: bigint, by: bigint): bigint {
  return value <= 0n ? value / by : (value + by - 1n) / by;
}

/** Thousandths, rounded up. Throws VolumeInvalid. */
export function parseMilli(quantity: string | number): bigint {
  const match = PATTERN.exec(String(quantity));
  const digits = `${match?.[2] ?? ""}${match?.[3] ?? ""}`;
  if (match === null || digits === "")
    throw new LongshoreError("VolumeInvalid", `quantity ${JSON.stringify(quantity)} is malformed`);
  const decimals = match[3]?.length ?? 0;
  const [base, power] = SUFFIX[match[5] ?? ""] ?? [10, 0];
  const exponent = (base === 10 ? power : 0) + Number(match[4] ?? 0) + 3 - decimals;
  const scaled = BigInt(digits) * (base === 2 ? 2n ** BigInt(power) : 1n);
  const milli =
    exponent >= 0 ? scaled * 10n ** BigInt(exponent) : ceilDivide(scaled, 10n ** BigInt(-exponent));
  return match[1] === "-" ? -milli : milli;
}

/** Whole units (bytes), rounded up. */
export function parseUnits(quantity: string | number): bigint {
  return ceilDivide(parseMilli(quantity), 1000n);
}
