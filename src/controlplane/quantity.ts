/**
 * Quantities as validation and the QoS class need them: exact comparison of "250m", "1.5Gi" or "2e3". Pure, and
 * never throws: what is no quantity is undefined. Called by pod-qos.ts and the validators.
 */

const DECIMAL: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const BINARY: readonly string[] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const FORM =
  /^([+-]?)(\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE]([+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i)?)$/;
/** Digits after the point that are kept: more than the form and its smallest suffix can have. */
const SCALE = 150;

/** A number that orders quantities; not one of units. Undefined when it is no quantity. */
export function comparableQuantity(quantity: unknown): bigint | undefined {
  if (typeof quantity !== "string" && typeof quantity !== "number") return undefined;
  const match = FORM.exec(String(quantity));
  if (match === null) return undefined;
  const [, sign, digits = "", exponent, suffix = ""] = match;
  const [whole = "", fraction = ""] = digits.split(".");
  const power = Number(exponent ?? DECIMAL[suffix] ?? 0) - fraction.length;
  const factor = 1n << BigInt(10 * (BINARY.indexOf(suffix) + 1));
  const size = BigInt(`${whole}${fraction}`) * factor * 10n ** BigInt(SCALE + power);
  return sign === "-" ? -size : size;
}
