/**
 * The query of /containerLogs, decoded and validated in the kubelet's order with the kubelet's words. Pure: the
 * present time comes in. Called by logs.ts.
 */

import type { Reply } from "./reply.ts";

export interface LogQuery {
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  readonly tailLines: number | undefined;
  readonly limitBytes: number | undefined;
  /** RFC 3339 with exactly nine digits of a second, in UTC; earlier lines are left out. */
  readonly since: string | undefined;
}

export type LogQueryResult =
  | { readonly kind: "valid"; readonly query: LogQuery }
  | { readonly kind: "refused"; readonly reply: Reply };

const UNDECODABLE: Reply = { status: 400, text: '{"message": "Unable to decode query."}' };
const INVALID: Reply = { status: 422, text: '{"message": "Invalid request."}' };

const STREAMS: readonly string[] = ["All", "Stdout", "Stderr"];

/** Thrown inside this file only, turned into `UNDECODABLE`. */
class DecodeError extends Error {}

interface RawQuery {
  readonly tailLines: number | undefined;
  readonly limitBytes: number | undefined;
  readonly sinceSeconds: number | undefined;
  readonly sinceTime: string | undefined;
  readonly stream: string | undefined;
}

export function parseLogQuery(params: URLSearchParams, nowMs: number): LogQueryResult {
  let raw: RawQuery;
  try {
    raw = decodeQuery(params);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return { kind: "refused", reply: UNDECODABLE };
  }
  const reply = refusalOf(raw);
  if (reply !== undefined) return { kind: "refused", reply };
  const { tailLines, limitBytes, sinceSeconds, sinceTime } = raw;
  const since =
    sinceSeconds === undefined
      ? sinceTime
      : toNanoTime(new Date(Math.max(0, nowMs - sinceSeconds * 1000)).toISOString());
  return {
    kind: "valid",
    query: {
      follow: parseBool(params, "follow"),
      previous: parseBool(params, "previous"),
      timestamps: parseBool(params, "timestamps"),
      tailLines,
      limitBytes,
      since,
    },
  };
}

function decodeQuery(params: URLSearchParams): RawQuery {
  const legacyTail = params.get("tail") ?? "";
  const tail = legacyTail === "" ? params.get("tailLines") : legacyTail;
  return {
    tailLines: legacyTail === "all" ? undefined : parseInteger(tail),
    limitBytes: parseInteger(params.get("limitBytes")),
    sinceSeconds: parseInteger(params.get("sinceSeconds")),
    sinceTime: parseTime(params.get("sinceTime")),
    stream: params.get("stream") ?? undefined,
  };
}

function refusalOf(raw: RawQuery): Reply | undefined {
  const { tailLines = 0, limitBytes = 1, sinceSeconds = 1, stream = "All" } = raw;
  if (tailLines < 0 || limitBytes < 1 || sinceSeconds < 1) return INVALID;
  if (raw.sinceSeconds !== undefined && raw.sinceTime !== undefined) return INVALID;
  if (!STREAMS.includes(stream)) return INVALID;
  if (stream === "All") return undefined;
  if (raw.tailLines !== undefined) return INVALID;
  return {
    status: 400,
    text: `unable to return the given log stream: "${stream}". Please enable PodLogsQuerySplitStreams feature gate in kubelet`,
  };
}

/** Go's conversion: present and neither false nor 0. */
function parseBool(params: URLSearchParams, name: string): boolean {
  const value = params.get(name);
  return value !== null && !["false", "0"].includes(value.toLowerCase());
}

function parseInteger(text: string | null): number | undefined {
  if (text === null || text === "") return undefined;
  if (!/^[+-]?\d{1,18}$/.test(text)) throw new DecodeError(text);
  return Number(text);
}

function parseTime(text: string | null): string | undefined {
  if (text === null || text === "") return undefined;
  const shape = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
  if (!shape.test(text)) throw new DecodeError(text);
  return toNanoTime(text);
}

/** Any RFC 3339 time → UTC with exactly nine digits, so that times compare as text. */
function toNanoTime(text: string): string {
  const fraction = /\.(\d+)/.exec(text)?.[1] ?? "";
  const whole = new Date(text.replace(/\.\d+/, ""));
  if (Number.isNaN(whole.getTime())) throw new DecodeError(text);
  return `${whole.toISOString().slice(0, 19)}.${fraction.slice(0, 9).padEnd(9, "0")}Z`;
}
