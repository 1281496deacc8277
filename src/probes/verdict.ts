/**
 * Thresholds of probes. Pure: the state of one probe of one container instance and the outcome of one run in, the
 * new state out. A result changes only after as many equal outcomes in a row as its threshold says; a liveness or
 * startup probe that failed for good goes on hold, because its container is about to be killed. Used by worker.ts.
 */

import type { Probe } from "../api/types.ts";
import type { ProbeKind } from "./probes.ts";

/** `warning` counts as success; `error` means that the probe could not be run and says nothing. */
export interface ProbeOutcome {
  readonly kind: "success" | "warning" | "failure" | "error";
  readonly message: string;
}

export type ProbeResult = "success" | "failure" | "unknown";

export interface ProbeState {
  readonly result: ProbeResult;
  /** The last outcome that counted, and how often it came in a row. */
  readonly last: "success" | "failure" | undefined;
  readonly streak: number;
  /** Never run again for this container instance. */
  readonly isOnHold: boolean;
  /** Words of the failure that put it on hold; else empty. */
  readonly message: string;
}

const INITIAL_RESULT: Readonly<Record<ProbeKind, ProbeResult>> = {
  liveness: "success",
  readiness: "failure",
  startup: "unknown",
};

/** `hasPassed`: the instance is known to have passed this probe before; a startup probe is then done with. */
export function initialState(kind: ProbeKind, hasPassed = false): ProbeState {
  return {
    result: hasPassed ? "success" : INITIAL_RESULT[kind],
    last: undefined,
    streak: 0,
    isOnHold: hasPassed && kind === "startup",
    message: "",
  };
}

export function computeVerdict(
  kind: ProbeKind,
  state: ProbeState,
  outcome: ProbeOutcome,
  probe: Pick<Probe, "successThreshold" | "failureThreshold">,
): ProbeState {
  if (state.isOnHold || outcome.kind === "error") return state;
  const last = outcome.kind === "failure" ? "failure" : "success";
  const streak = state.last === last ? state.streak + 1 : 1;
  const threshold =
    last === "failure" ? (probe.failureThreshold ?? 3) : (probe.successThreshold ?? 1);
  if (streak < threshold) return { ...state, last, streak };
  const isOnHold = kind === "startup" || (kind === "liveness" && last === "failure");
  const message = last === "failure" && kind !== "readiness" ? outcome.message : "";
  return { result: last, last, streak, isOnHold, message };
}
