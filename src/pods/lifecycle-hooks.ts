/**
 * Begins the hooks of containers as operations apart from the worker's turns, and notes how they ended: an event and,
 * for postStart, the waiting reason that the restart of its container shows. Called by apply.ts; what a handler does is
 * probes' business, handed in as HookRunner.
 */

import { type EventSink, involvedPod } from "../api/events.ts";
import type { Container as ContainerSpec, Pod } from "../api/types.ts";
import { withDeadline } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { HookRunner, HookTarget } from "../probes/hooks.ts";
import type { PodAction } from "./actions.ts";
import { fieldPathOf, specOf } from "./containers.ts";
import type { NodeFacts } from "./node-facts.ts";
import type { Operations } from "./operations.ts";
import type { PodRecord } from "./record.ts";
import { reachableIps } from "./snapshot.ts";

export interface LifecycleHooksOptions {
  readonly hooks: HookRunner;
  readonly operations: Operations;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly node: () => Pick<NodeFacts, "hostIps">;
}

export class LifecycleHooks {
  readonly #options: LifecycleHooksOptions;

  constructor(options: LifecycleHooksOptions) {
    this.#options = options;
  }

  /** Does nothing for a container without the hook. */
  beginPostStart(record: PodRecord, name: string, containerId: string): void {
    const { hooks, operations, clock } = this.#options;
    const container = specOf(record.pod, name);
    const handler = container?.lifecycle?.postStart;
    if (container === undefined || handler === undefined) return;
    const target = this.#targetOf(record, container, containerId);
    operations.begin({
      ...{ podUid: record.uid, containerId, kind: "post-start", now: clock.now(), graceSeconds: 0 },
      run: async (signal) => {
        try {
          await hooks.run(handler, target, signal);
          return "done";
        } catch (error) {
          if (signal.aborted) throw error;
          const message = messageOf(error);
          record.startFailures.set(name, { reason: "PostStartHookError", message, retryAt: 0 });
          this.#warn(record.pod, name, "FailedPostStartHook", "PostStartHook failed");
          return "failed";
        }
      },
    });
  }

  /** At most `leftMs`; then the hook is given up, and the container is stopped all the same. */
  beginPreStop(
    record: PodRecord,
    { id, name, graceSeconds, leftMs }: Extract<PodAction, { kind: "run-pre-stop" }>,
  ): void {
    const { hooks, operations, clock } = this.#options;
    const container = specOf(record.pod, name);
    const handler = container?.lifecycle?.preStop;
    if (container === undefined || handler === undefined) return;
    const target = this.#targetOf(record, container, id);
    operations.begin({
      ...{ podUid: record.uid, containerId: id, kind: "pre-stop", now: clock.now(), graceSeconds },
      run: async (signal) => {
        const message = `the preStop hook of ${name} took longer than the grace period`;
        try {
          await withDeadline({ clock, ms: leftMs, signal, code: "HookFailed", message }, (inner) =>
            hooks.run(handler, target, inner),
          );
          return "done";
        } catch (error) {
          if (signal.aborted) throw error;
          // Without the hook's own words: they may hold what the program says of its secrets.
          this.#warn(record.pod, name, "FailedPreStopHook", "PreStopHook failed");
          return "failed";
        }
      },
    });
  }

  #targetOf(record: PodRecord, container: ContainerSpec, containerId: string): HookTarget {
    const [podIp = ""] = reachableIps(record.observed, this.#options.node().hostIps);
    return { pod: record.pod, container, containerId, podIp };
  }

  #warn(pod: Pod, name: string, reason: string, message: string): void {
    const about = involvedPod(pod, fieldPathOf(pod, name));
    this.#options.events.record(about, "Warning", reason, message);
  }
}
