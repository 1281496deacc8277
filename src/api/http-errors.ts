/**
 * HTTP statuses and metav1.Status → our codes, and back-off asked for by the server. Pure. Called by http-client.ts
 * and watch-decoder.ts.
 */

import { type ErrorCode, LongshoreError } from "../core/errors.ts";

/** What we read of metav1.Status. */
export interface MetaStatus {
  readonly kind?: string;
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
}

/** The Status in a response body, or undefined when it is something else (a proxy's HTML page…). */
export function parseStatus(body: string): MetaStatus | undefined {
  try {
    const parsed = JSON.parse(body) as MetaStatus | null;
    return parsed?.kind === "Status" ? parsed : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function codeOf(httpStatus: number, reason: string | undefined): ErrorCode {
  if (httpStatus === 409) return reason === "AlreadyExists" ? "ApiAlreadyExists" : "ApiConflict";
  if (httpStatus === 401) return "ApiUnauthorized";
  if (httpStatus === 403) return "ApiForbidden";
  if (httpStatus === 404) return "ApiNotFound";
  if (httpStatus === 410) return "ApiExpired";
  if (httpStatus === 408 || httpStatus === 429 || httpStatus >= 500) return "ApiServerError";
  return "ApiInvalid";
}

/** @param doing e.g. "GET /api/v1/pods" */
export function statusError(
  httpStatus: number,
  status: MetaStatus | undefined,
  doing: string,
): LongshoreError {
  const words = status?.message || status?.reason || `HTTP status ${httpStatus}`;
  return new LongshoreError(codeOf(httpStatus, status?.reason), `${doing}: ${words}`, {
    status: httpStatus,
  });
}

/** Longest wait a server may ask of one call. */
const MAX_RETRY_AFTER_MS = 5_000;

/** Milliseconds to wait before the same call is worth another try, or undefined for not at all. */
export function retryAfterMs(httpStatus: number, header: string | undefined): number | undefined {
  if (httpStatus !== 429 && httpStatus < 500) return undefined;
  if (header === undefined || !/^\d{1,9}$/.test(header)) return undefined;
  const ms = Number(header) * 1000;
  return ms > MAX_RETRY_AFTER_MS ? undefined : ms;
}
