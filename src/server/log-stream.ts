/**
 * Log records → the bytes of an answer: since, then timestamps, then the byte limit, which counts the timestamps and
 * cuts in the middle of a line. The tail was taken by the runtime, before `since`, as the kubelet has it.
 * Pure but for the waiting. Called by logs.ts.
 */

import type { LogRecord } from "../runtime/runtime.ts";
import type { LogQuery } from "./log-query.ts";

type Filters = Pick<LogQuery, "since" | "timestamps" | "limitBytes">;

const NEWLINE = 0x0a;

export async function* filterLog(
  records: AsyncIterable<LogRecord>,
  filters: Filters,
): AsyncGenerator<Buffer> {
  let left = filters.limitBytes ?? Number.POSITIVE_INFINITY;
  // A record without a newline is the first part of a long line: what follows it gets no second timestamp.
  let isLineStart = true;
  for await (const record of records) {
    const time = toNineDigits(record.time);
    if (filters.since !== undefined && time < filters.since) continue;
    const needsTime = filters.timestamps && isLineStart;
    const bytes = needsTime ? Buffer.concat([Buffer.from(`${time} `), record.data]) : record.data;
    isLineStart = record.data.length === 0 || record.data.at(-1) === NEWLINE;
    if (bytes.length > 0) yield bytes.length > left ? bytes.subarray(0, left) : bytes;
    left -= bytes.length;
    if (left <= 0) return;
  }
}

/** Engines may leave out zeros at the end of the fraction; the kubelet prints nine digits. */
function toNineDigits(time: string): string {
  const match = /^(.{19})(?:\.(\d+))?(.*)$/.exec(time);
  if (match === null) return time;
  const [, seconds, fraction = "", zone] = match;
  return `${seconds}.${fraction.slice(0, 9).padEnd(9, "0")}${zone}`;
}
