/** Thresholds of probes, by table. */

import { expect, it } from "vitest";
import type { ProbeKind } from "../../../src/probes/probes.ts";
import {
  computeVerdict,
  initialState,
  type ProbeOutcome,
  type ProbeResult,
} from "../../../src/probes/verdict.ts";

const OUTCOMES: Readonly<Record<string, ProbeOutcome["kind"]>> = {
  s: "success",
  w: "warning",
  f: "failure",
  e: "error",
};

/** s, w, f and e in `outcomes` stand for one run each. */
it.each<readonly [string, ProbeKind, string, number, number, ProbeResult, boolean]>([
  ["liveness begins as passed", "liveness", "", 1, 3, "success", false],
  ["readiness begins as failed", "readiness", "", 1, 3, "failure", false],
  ["startup begins as unknown", "startup", "", 1, 3, "unknown", false],
  ["failures below the threshold change nothing", "liveness", "ff", 1, 3, "success", false],
  ["failures in a row put liveness on hold", "liveness", "fff", 1, 3, "failure", true],
  ["a success in between starts the count again", "liveness", "ffsff", 1, 3, "success", false],
  ["what follows a hold is ignored", "liveness", "fffs", 1, 3, "failure", true],
  ["errors neither count nor interrupt", "liveness", "feef", 1, 2, "failure", true],
  ["one success makes ready", "readiness", "s", 1, 3, "success", false],
  ["a warning is a success", "readiness", "w", 1, 3, "success", false],
  ["a higher success threshold asks for more", "readiness", "ss", 3, 3, "failure", false],
  ["and is met", "readiness", "sfsss", 3, 3, "success", false],
  ["readiness fails and recovers without a hold", "readiness", "sffffs", 1, 3, "success", false],
  ["a startup probe that passed never runs again", "startup", "ffsf", 1, 3, "success", true],
  ["a startup probe that fails for good holds", "startup", "fff", 1, 3, "failure", true],
])("%s", (_name, kind, outcomes, successThreshold, failureThreshold, result, isOnHold) => {
  let state = initialState(kind);
  for (const letter of outcomes) {
    const outcome = { kind: OUTCOMES[letter] ?? "error", message: "why" };
    state = computeVerdict(kind, state, outcome, { successThreshold, failureThreshold });
  }
  expect(state).toMatchObject({ result, isOnHold });
  if (isOnHold && result === "failure") expect(state.message).toBe("why");
});
