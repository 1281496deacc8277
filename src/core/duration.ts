/** Durations as Go writes and reads them (time.ParseDuration): `1m30s`, `2h0m0s`, `1.5h`, `300ms`, `0`. Pure. */

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

const UNITS = Object.keys(UNIT_MS).join("|");
const PART = String.raw`(\d+\.?\d*|\.\d+)(${UNITS})`;

/** Milliseconds; undefined for what is no duration, negative ones too. */
export function parseGoDuration(value: unknown): number | undefined {
  if (value === "0") return 0;
  if (typeof value !== "string" || !new RegExp(`^(?:${PART})+$`).test(value)) return undefined;
  let total = 0;
  for (const [, number, unit = ""] of value.matchAll(new RegExp(PART, "g")))
    total += Number(number) * (UNIT_MS[unit] ?? 0);
  return total;
}
