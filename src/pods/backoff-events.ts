/**
 * BackOff events in the kubelet's words: one for each container that begins to wait, for its restart or its image.
 * Called by worker.ts with each new status.
 */

import { type EventSink, involvedPod } from "../api/events.ts";
import type { PodStatus } from "../api/types.ts";
import { fieldPathOf, specOf } from "./containers.ts";
import type { PodRecord } from "./record.ts";
import { containerStatusesOf, describePod } from "./snapshot.ts";

/** `record` has the new status, `before` is the one it had. */
export function recordBackoffs(events: EventSink, record: PodRecord, before: PodStatus): void {
  const { pod, status } = record;
  const old = waitsOf(before);
  for (const [name, { reason, restartCount }] of waitsOf(status)) {
    const previous = old.get(name);
    if (previous?.reason === reason && previous?.restartCount === restartCount) continue;
    const message = messageOf(record, name, reason);
    if (message === undefined) continue;
    const isImage = reason === "ImagePullBackOff";
    const about = involvedPod(pod, fieldPathOf(pod, name));
    events.record(about, isImage ? "Normal" : "Warning", "BackOff", message);
    if (isImage) events.record(about, "Warning", "Failed", `Error: ${reason}`);
  }
}

interface Wait {
  readonly reason: string | undefined;
  readonly restartCount: number;
}

function waitsOf(status: PodStatus): ReadonlyMap<string, Wait> {
  return new Map(
    containerStatusesOf(status).map(({ name, state, restartCount }) => [
      name,
      { reason: state?.waiting?.reason, restartCount },
    ]),
  );
}

function messageOf(
  { pod }: PodRecord,
  name: string,
  reason: string | undefined,
): string | undefined {
  if (reason === "CrashLoopBackOff")
    return `Back-off restarting failed container ${name} in pod ${describePod(pod)}`;
  if (reason === "ImagePullBackOff")
    return `Back-off pulling image "${specOf(pod, name)?.image ?? ""}"`;
  return undefined;
}
