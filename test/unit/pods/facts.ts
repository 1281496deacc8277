/** What the manager knows of one pod, for the tests of what people are told: a pod that runs as it should. */

import type { PodStatus } from "../../../src/api/types.ts";
import type { PodFacts } from "../../../src/pods/explain.ts";
import { createRecord, type PodRecord } from "../../../src/pods/record.ts";
import { makeContainer, makePod, makeSandbox, NOW } from "./support.ts";

export type Change = Partial<Omit<PodFacts, "record">> & { readonly record?: Partial<PodRecord> };

const STARTED = "2026-01-01T00:09:10Z";
export const RUNNING = {
  name: "web",
  ready: true,
  restartCount: 0,
  image: "web:1",
  imageID: "",
  state: { running: { startedAt: STARTED } },
};
export const waiting = (reason: string, message?: string): PodStatus => ({
  phase: "Pending",
  containerStatuses: [
    { ...RUNNING, ready: false, state: { waiting: { reason, ...(message && { message }) } } },
  ],
});

/** A pod that runs as it should, last looked at 30 seconds ago. */
export function makeFacts({ record = {}, ...facts }: Change = {}): PodFacts {
  const pod = record.pod ?? makePod();
  return {
    record: {
      ...createRecord(pod, NOW, {}),
      status: { phase: "Running", containerStatuses: [RUNNING] },
      observed: { sandboxes: [makeSandbox()], containers: [makeContainer()] },
      lastPlan: { actions: [], waitMs: undefined, why: "web runs", at: NOW - 30_000 },
      ...record,
    },
    now: NOW,
    imageOf: () => ({ kind: "unknown" }),
    ignored: [],
    probes: [],
    statusWrite: { state: "written" },
    turn: { isRunning: false, dueInMs: 30_000 },
    failure: undefined,
    ...facts,
  };
}
