/** What a measurement is, and the arithmetic of several. Shared by bench.ts (which prints) and driver.ts (which measures). */

export interface Plan {
  /** Single pods, one after the other. */
  readonly rounds: number;
  /** Pods at once. */
  readonly burst: number;
  readonly idleSeconds: number;
  readonly crashing: number;
  readonly crashSeconds: number;
  readonly only: readonly string[];
}

export interface Measure {
  readonly name: string;
  readonly value: number;
  readonly unit: "s" | "pods/s" | "MB" | "% of a core";
  /** `value` divided by that of the measure it is compared with, taken in the same run. */
  readonly ratio?: number;
  readonly against?: string;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

export function compare(
  measure: Omit<Measure, "ratio" | "against">,
  against: Omit<Measure, "ratio" | "against">,
): Measure {
  return { ...measure, ratio: measure.value / against.value, against: against.name };
}

export function isMeasure(value: unknown): value is Measure {
  return typeof value === "object" && value !== null && "name" in value && "value" in value;
}
