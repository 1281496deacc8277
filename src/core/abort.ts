/**
 * Waiting that can be given up. Every function here takes an AbortSignal, removes its listener on each path, and
 * rejects with code `Aborted` (or the code of the deadline) so that callers can tell giving up from failing.
 */

import type { Clock } from "./clock.ts";
import { type ErrorCode, LongshoreError } from "./errors.ts";

function aborted(): LongshoreError {
  return new LongshoreError("Aborted", "stopped while waiting");
}

/** Resolves after `ms` milliseconds of `clock`. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(aborted());
    const onAbort = (): void => {
      timer.cancel();
      reject(aborted());
    };
    const timer = clock.after(ms, () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** Waits for work that others also wait for: giving up here does not stop it. */
export function orAborted<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(aborted());
    const onAbort = (): void => reject(aborted());
    signal.addEventListener("abort", onAbort, { once: true });
    shared.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

export interface Deadline {
  readonly clock: Clock;
  readonly ms: number;
  readonly signal: AbortSignal;
  /** Code and message of the error when the time is up. */
  readonly code: ErrorCode;
  readonly message: string;
}

/** Runs `work` with a signal that fires at the deadline or when the outer signal does, whichever is first. */
export async function withDeadline<T>(
  deadline: Deadline,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(aborted());
  if (deadline.signal.aborted) throw aborted();
  deadline.signal.addEventListener("abort", onAbort, { once: true });
  let timer = { cancel(): void {} };
  const gaveUp = new Promise<never>((_, reject) => {
    controller.signal.addEventListener("abort", () => reject(controller.signal.reason), {
      once: true,
    });
    timer = deadline.clock.after(deadline.ms, () =>
      controller.abort(new LongshoreError(deadline.code, deadline.message)),
    );
  });
  try {
    return await Promise.race([work(controller.signal), gaveUp]);
  } finally {
    timer.cancel();
    deadline.signal.removeEventListener("abort", onAbort);
  }
}
