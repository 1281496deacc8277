/**
 * Time as a parameter. Everything that waits or stamps takes a Clock, so that tests turn time by hand.
 * Nothing outside core/ and main.ts may call Date.now or setTimeout (scripts/check-imports checks it).
 */

export interface Timer {
  /** Idempotent; after it the callback never runs. */
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds that never go backwards; only differences mean anything. */
  monotonic(): number;
  /** Runs the callback once after `ms` milliseconds. Does not keep the process alive. */
  after(ms: number, callback: () => void): Timer;
}

/** Node runs a timer longer than this at once; grace periods, probes and deadlines may be longer (int32 seconds). */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    let handle: NodeJS.Timeout;
    const arm = (left: number): void => {
      const part = Math.min(left, MAX_TIMER_MS);
      handle = setTimeout(() => (left > part ? arm(left - part) : callback()), part);
      handle.unref();
    };
    arm(ms);
    return { cancel: () => clearTimeout(handle) };
  },
};

/** RFC 3339 with seconds, the form of metav1.Time. */
export function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** RFC 3339 with microseconds, the form of metav1.MicroTime (Lease.renewTime, Event.eventTime). */
export function formatMicroTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 23)}000Z`;
}
