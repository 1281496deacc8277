/**
 * The executors: one per action kind, dumb. Each makes its action true or throws; what is already so is success. The
 * table is a mapped type over the union, so a new action without an executor does not compile. Called by worker.ts.
 */

import type { ApiClient } from "../api/client.ts";
import { type EventSink, involvedPod } from "../api/events.ts";
import { PODS } from "../api/resources.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode } from "../core/errors.ts";
import type { PodNetwork } from "../network/network.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { PodVolumes } from "../volumes/volumes.ts";
import type { ActionKind, PodAction } from "./actions.ts";
import { fieldPathOf, specOf } from "./containers.ts";
import { ensureImages, takeImages } from "./image-volumes.ts";
import type { ImageManager } from "./images.ts";
import type { LifecycleHooks } from "./lifecycle-hooks.ts";
import type { Operations } from "./operations.ts";
import { countRestart, type PodRecord } from "./record.ts";
import type { Resizer } from "./resize/resizer.ts";
import { Slots } from "./slots.ts";
import type { Starter } from "./starter.ts";

export interface ApplyOptions {
  readonly client: Pick<ApiClient, "delete">;
  readonly runtime: Runtime;
  readonly network: PodNetwork;
  readonly volumes: PodVolumes;
  readonly events: EventSink;
  readonly images: ImageManager;
  readonly operations: Operations;
  readonly starter: Starter;
  readonly hooks: LifecycleHooks;
  readonly resizer: Resizer;
  /** The longest crash back-off. */
  readonly maxContainerRestartPeriodMs: number;
  readonly clock: Clock;
  /** Resolves when what is noted in the records is on disk. */
  readonly saveCheckpoint: () => Promise<void>;
}

/** The engine is bound by the processor: more at once only lengthens each (facts: 4 and 8 take the same time). */
const PARALLEL_STARTS = 8;

type Executors = {
  readonly [K in ActionKind]: (
    record: PodRecord,
    action: Extract<PodAction, { kind: K }>,
    signal: AbortSignal,
  ) => Promise<void>;
};

export type ApplyAction = (
  record: PodRecord,
  action: PodAction,
  signal: AbortSignal,
) => Promise<void>;

export function createApply(options: ApplyOptions): ApplyAction {
  const executors = createExecutors(options);
  return (record, action, signal) => {
    const execute = executors[action.kind] as ApplyAction;
    return execute(record, action, signal);
  };
}

function createExecutors(options: ApplyOptions): Executors {
  const { runtime, images, starter } = options;
  const starts = new Slots(PARALLEL_STARTS);
  return {
    "create-sandbox": (record, { attempt }, signal) =>
      starts.run(() => starter.createSandbox(record, attempt, signal)),
    "stop-sandbox": async (record, { id }, signal) => {
      const sandbox = record.observed.sandboxes.find((other) => other.id === id);
      await runtime.stopSandbox(id, signal);
      if (sandbox !== undefined && !sandbox.hostNetwork)
        await options.network.detach(sandbox, signal);
    },
    "remove-sandbox": (_record, { id }, signal) => runtime.removeSandbox(id, signal),
    "ensure-image": async (record, { name }, signal) => {
      const spec = specOf(record.pod, name);
      if (spec !== undefined) await ensureImages(images, record.pod, spec, signal);
    },
    "start-container": async (record, action, signal) => {
      const spec = specOf(record.pod, action.name);
      if (spec === undefined) return;
      // Whatever comes of it, the next start looks for the images again.
      const volumeImages = takeImages(images, record.pod, spec);
      const start = { ...action, volumeImages };
      const id = await starts.run(() => starter.startContainer(record, start, signal));
      if (id !== undefined) options.hooks.beginPostStart(record, action.name, id);
    },
    "run-pre-stop": async (record, action) => {
      await announceKill(options, record, action);
      options.hooks.beginPreStop(record, action);
    },
    "kill-container": async (record, action) => {
      if (!action.isAnnounced) await announceKill(options, record, action);
      beginStop(options, record, action);
    },
    "remove-container": async (record, { id, countsAsRestart }, signal) => {
      const last = record.observed.containers.find((container) => container.id === id);
      if (countsAsRestart && last !== undefined)
        countRestart(record, last, {
          now: options.clock.now(),
          maxMs: options.maxContainerRestartPeriodMs,
        });
      await runtime.removeContainer(id, signal);
      record.messages.delete(id);
      record.replaced.delete(id);
    },
    "resize-container": (record, action, signal) =>
      options.resizer.resizeContainer(record, action, signal),
    "finish-resize": (record, _action, signal) => options.resizer.finish(record, signal),
    "fail-pod": async (record, { reason, message }) => {
      record.verdict = { reason, message };
      options.events.record(involvedPod(record.pod), "Normal", reason, message);
    },
    "teardown-volumes": async (record, _action, signal) => {
      await options.volumes.teardown(record.uid, signal);
      record.volumes = { kind: "torn-down" };
    },
    "delete-object": (record, _action, signal) => deleteObject(options, record, signal),
  };
}

/** Not for anything the container did. */
const REPLACING: readonly Kill["reason"][] = ["definition-changed", "resize"];

type Kill = Extract<PodAction, { kind: "run-pre-stop" | "kill-container" }>;

async function announceKill(
  { events, saveCheckpoint }: ApplyOptions,
  record: PodRecord,
  action: Kill,
): Promise<void> {
  const about = involvedPod(record.pod, fieldPathOf(record.pod, action.name));
  events.record(about, "Normal", "Killing", action.message);
  if (!REPLACING.includes(action.reason)) return;
  record.replaced.add(action.id);
  // Before the kill: an agent that dies after it must still know that this was no crash.
  await saveCheckpoint();
}

/** The stop goes on apart from the turn, because it takes up to a grace period. */
function beginStop(
  { runtime, operations, clock }: ApplyOptions,
  { uid }: PodRecord,
  { id, graceSeconds }: Kill,
): void {
  for (const hook of ["post-start", "pre-stop"] as const) operations.cancel(uid, id, hook);
  operations.begin({
    ...{ podUid: uid, containerId: id, kind: "stop", now: clock.now(), graceSeconds },
    run: async (signal) => {
      await runtime.stopContainer(id, graceSeconds, signal);
      return "done";
    },
  });
}

/** Deletes the object for good; one that went before, or gave its name to another pod, is gone. */
async function deleteObject(
  { client }: ApplyOptions,
  record: PodRecord,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name } = record.pod.metadata;
  try {
    await client.delete(PODS, { namespace, name, uid: record.uid, gracePeriodSeconds: 0 }, signal);
    record.isDeleteSent = true;
  } catch (error) {
    if (!hasCode(error, "ApiNotFound", "ApiConflict")) throw error;
    record.isApiGone = true;
  }
}
