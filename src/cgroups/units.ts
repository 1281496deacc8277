/** Millicores as the kernel counts them: shares and quota of version 1, weight of version 2. Pure; the kubelet's numbers. */

/** Microseconds. */
export const CPU_PERIOD_MICROS = 100_000;
const MIN_QUOTA_MICROS = 1_000;
export const MIN_SHARES = 2;
const MAX_SHARES = 262_144;
const MAX_WEIGHT = 10_000;

export function computeShares(milli: number): number {
  return Math.min(MAX_SHARES, Math.max(MIN_SHARES, Math.floor((milli * 1024) / 1000)));
}

/** Microseconds of processor time in each period. */
export function computeQuota(milli: number): number {
  return Math.max(MIN_QUOTA_MICROS, Math.floor((milli * CPU_PERIOD_MICROS) / 1000));
}

/** runc's curve since 1.3.2: both ends meet, and 1024 shares are the default weight of 100. */
export function computeWeight(shares: number): number {
  if (shares <= MIN_SHARES) return 1;
  if (shares >= MAX_SHARES) return MAX_WEIGHT;
  const exponent = Math.log2(shares);
  return Math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34));
}
