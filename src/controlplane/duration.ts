/**
 * Ages as kubectl prints them: apimachinery's duration.HumanDuration, with its thresholds. Pure; called by the
 * columns of tables.
 */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAYS_OF_YEAR = 365;

/** The age of an RFC 3339 time, or "<unknown>" where there is none. */
export function ageOf(time: string, nowMs: number): string {
  const since = Date.parse(time);
  return Number.isNaN(since) ? "<unknown>" : humanDuration(nowMs - since);
}

/** Two units at most, fewer as the duration grows. Clocks may differ by less than two seconds. */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / SECOND);
  if (seconds < -1) return "<invalid>";
  if (seconds < 120) return `${Math.max(seconds, 0)}s`;
  const minutes = Math.trunc(ms / MINUTE);
  if (minutes < 10) return twoUnits(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.trunc(ms / HOUR);
  if (hours < 8) return twoUnits(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.trunc(hours / 24);
  if (days < 8) return twoUnits(days, "d", hours % 24, "h");
  if (days < 2 * DAYS_OF_YEAR) return `${days}d`;
  const years = Math.trunc(days / DAYS_OF_YEAR);
  return years < 8 ? twoUnits(years, "y", days % DAYS_OF_YEAR, "d") : `${years}y`;
}

function twoUnits(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`;
}
