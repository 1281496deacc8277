/** Errors of the Engine → LongshoreError. The Engine's own words are kept: people search for them. */

import { type ErrorCode, LongshoreError } from "../../core/errors.ts";

interface RawError {
  readonly statusCode?: number;
  readonly code?: string;
  readonly json?: { readonly message?: string };
  readonly message?: string;
}

const UNREACHABLE = ["ECONNREFUSED", "ENOENT", "EACCES", "ECONNRESET", "EPIPE", "ENOTSOCK"];

/** The Engine's words without dockerode's "(HTTP code 404) no such container - ". */
export function engineWords(cause: unknown): string {
  const raw = cause as RawError;
  return (raw.json?.message ?? raw.message ?? String(cause))
    .replace(/^\(HTTP code \d+\) [^-]*- /, "")
    .trim();
}

/** HTTP status of an Engine error, raw or translated. */
export function statusOf(cause: unknown): number | undefined {
  return cause instanceof LongshoreError ? cause.status : (cause as RawError).statusCode;
}

/** What the failure of `what` on the socket is called. Errors of ours pass unchanged. */
export function engineError(
  what: string,
  socketPath: string,
  cause: unknown,
  signal: AbortSignal,
): LongshoreError {
  if (cause instanceof LongshoreError) return cause;
  if (signal.aborted)
    return new LongshoreError("Aborted", `stopped while asking the Engine to ${what}`);
  const raw = cause as RawError;
  if (raw.statusCode === undefined) {
    const isUnreachable = UNREACHABLE.includes(raw.code ?? "");
    const how = isUnreachable ? `cannot be reached (${raw.code}); is it running?` : raw.message;
    return new LongshoreError(
      isUnreachable ? "EngineUnreachable" : "EngineServerError",
      `could not ${what}: the Docker Engine at ${socketPath} ${how}`,
      { cause },
    );
  }
  return new LongshoreError(codeOf(raw.statusCode), `could not ${what}: ${engineWords(cause)}`, {
    cause,
    status: raw.statusCode,
  });
}

function codeOf(status: number): ErrorCode {
  if (status === 404) return "EngineNotFound";
  if (status === 409) return "EngineConflict";
  return status >= 500 ? "EngineServerError" : "EngineInvalid";
}
