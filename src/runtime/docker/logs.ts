/**
 * Logs of a container as records: the Engine's multiplexed stream cut into frames, frames into records with their
 * time. A record without a newline is one that the program, or the Engine's 16 KiB limit, did not end.
 */

import type { Readable } from "node:stream";
import type { LogOptions, LogRecord } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { splitFrames } from "./frames.ts";

/** "2026-11-21T09:26:00.123456789Z " at the most. */
const MAX_TIME_BYTES = 40;
/** Of a line without end: it goes on in the next record, with the same time. */
const MAX_LINE_BYTES = 64 * 1024;

export async function* readLogs(
  engine: Engine,
  containerId: string,
  options: LogOptions,
  signal: AbortSignal,
): AsyncIterable<LogRecord> {
  const what = `read the logs of container ${containerId.slice(0, 12)}`;
  const { stream, isTty } = await engine.call(what, signal, async (docker, abortSignal) => {
    const container = docker.getContainer(containerId);
    const { Config } = await container.inspect();
    // Always as a stream: without `follow` dockerode would hold the whole log in memory.
    const opened = await new Promise<Readable>((resolve, reject) => {
      docker.modem.dial(
        {
          // The question mark must be last: docker-modem appends the options, or cuts a character off.
          path: `/containers/${containerId}/logs?`,
          method: "GET",
          options: logQuery(options),
          isStream: true,
          abortSignal,
          statusCodes: { 101: true, 200: true },
        },
        (error: unknown, data: unknown) => (error ? reject(error) : resolve(data as Readable)),
      );
    });
    return { stream: opened, isTty: Config.Tty };
  });
  const onAbort = (): void => void stream.destroy();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    yield* isTty ? readPlain(stream) : readFrames(stream);
  } catch (error) {
    if (!signal.aborted) throw engine.explain(what, error, signal);
  } finally {
    signal.removeEventListener("abort", onAbort);
    stream.destroy();
  }
}

function logQuery(options: LogOptions): Readonly<Record<string, string>> {
  return {
    ...{ stdout: "1", stderr: "1", timestamps: "1" },
    follow: options.follow ? "1" : "0",
    tail: options.tail === undefined ? "all" : String(options.tail),
    ...(options.sinceMs === undefined ? {} : { since: formatSince(options.sinceMs) }),
  };
}

/** Seconds with nanoseconds. In two parts: a division would round up past a record of that very millisecond. */
export function formatSince(ms: number): string {
  const nanos = Math.floor((ms % 1000) * 1e6);
  return `${Math.floor(ms / 1000)}.${String(nanos).padStart(9, "0")}`;
}

/** Each frame is one record. */
async function* readFrames(stream: AsyncIterable<Buffer>): AsyncIterable<LogRecord> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream) {
    const split = splitFrames(rest.length === 0 ? chunk : Buffer.concat([rest, chunk]));
    rest = split.rest;
    for (const frame of split.frames) yield parseRecord(frame.data, frame.stream);
  }
}

/** With a terminal there are no frames, only lines. */
async function* readPlain(stream: AsyncIterable<Buffer>): AsyncIterable<LogRecord> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
      yield parseRecord(rest.subarray(0, end + 1), "stdout");
      rest = rest.subarray(end + 1);
    }
    if (rest.length > MAX_LINE_BYTES) {
      const record = parseRecord(rest, "stdout");
      yield record;
      rest = Buffer.from(`${record.time} `);
    }
  }
  if (rest.length > 0) yield parseRecord(rest, "stdout");
}

/** `TIME DATA`. Exported for its test. */
export function parseRecord(line: Buffer, stream: LogRecord["stream"]): LogRecord {
  const space = line.subarray(0, MAX_TIME_BYTES).indexOf(32);
  const time = line.toString("latin1", 0, Math.max(space, 0));
  return { stream, time, data: Buffer.from(line.subarray(space + 1)) };
}
