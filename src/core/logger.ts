/**
 * Structured logs through pino: JSON lines where nobody watches, one readable line on a terminal.
 * info = an operator acts or a pod changed; debug = every action; warn = degraded; error = needs somebody.
 */

import { styleText } from "node:util";
import { pino } from "pino";
import { LongshoreError } from "./errors.ts";

export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** A logger whose lines all carry `fields`. */
  child(fields: object): Logger;
}

export interface LoggerOptions {
  readonly level: "debug" | "info" | "warn" | "error" | "silent";
  /** One readable line per record instead of JSON. */
  readonly pretty: boolean;
  readonly write: (line: string) => void;
}

const LEVELS: Readonly<
  Record<number, { name: string; color: "gray" | "green" | "yellow" | "red" }>
> = {
  20: { name: "debug", color: "gray" },
  30: { name: "info ", color: "green" },
  40: { name: "warn ", color: "yellow" },
  50: { name: "error", color: "red" },
};

function prettyLine(line: string): string {
  const { level, time, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const style = LEVELS[level as number] ?? { name: "?????", color: "gray" as const };
  const clock = new Date(time as number).toISOString().slice(11, 23);
  const rest = Object.entries(fields).map(
    ([key, value]) =>
      ` ${styleText("dim", `${key}=`)}${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  const cause =
    err === undefined ? "" : ` ${styleText("red", (err as { message: string }).message)}`;
  return `${clock} ${styleText(style.color, style.name)} ${msg}${rest.join("")}${cause}\n`;
}

/** A stack only where nobody has translated the error: that is a bug, and needs the place. */
function serializeError(error: unknown): object {
  if (error instanceof LongshoreError) return serializeKnown(error);
  if (!(error instanceof Error)) return { message: String(error) };
  return { message: error.message, stack: error.stack, ...serializeCause(error) };
}

function serializeKnown(error: LongshoreError): object {
  const { code, class: errorClass, message } = error;
  return { code, class: errorClass, message, ...serializeCause(error) };
}

function serializeCause({ cause }: Error): object {
  if (cause === undefined) return {};
  if (cause instanceof LongshoreError) return { cause: serializeKnown(cause) };
  return { cause: { message: cause instanceof Error ? cause.message : String(cause) } };
}

export function createLogger(options: LoggerOptions): Logger {
  const write = options.pretty
    ? (line: string): void => options.write(prettyLine(line))
    : options.write;
  return pino(
    { level: options.level, base: null, serializers: { err: serializeError } },
    { write },
  );
}
