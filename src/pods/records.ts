/**
 * The pods of this node, one record per UID: what a change of an object, its loss, or a sandbox without an object makes of
 * them. Kept by manager.ts, which decides when to look at one; admission and the chores read it.
 */

import type { StoreChange } from "../api/store.ts";
import type { Pod } from "../api/types.ts";
import type { Clock } from "../core/clock.ts";
import { type CheckpointData, EMPTY_CHECKPOINT } from "./checkpoint.ts";
import type { PodView } from "./directory.ts";
import { createRecord, isAtLeast, type PodRecord, updateRecord } from "./record.ts";
import { toSoundPod } from "./shape.ts";
import { isEcho } from "./status-patch.ts";

/** What is older than this may be of a clock that was set back. */
const LATE_EVENT_MS = 5_000;

export interface PodRecordsOptions {
  readonly clock: Clock;
  /** Before a pod that was not known is among the others. */
  readonly onNew: (record: PodRecord, problem: string | undefined) => void;
}

export class PodRecords extends Map<string, PodRecord> {
  readonly #options: PodRecordsOptions;
  #restored = EMPTY_CHECKPOINT;

  constructor(options: PodRecordsOptions) {
    super();
    this.#options = options;
  }

  /** What an agent before this one knew of pods that are taken on from now. */
  restore(checkpoint: CheckpointData): void {
    this.#restored = checkpoint;
  }

  /** The UIDs of pods to look at. */
  change(change: StoreChange<Pod>): readonly string[] {
    const previous = change.previous?.metadata.uid;
    const current = change.kind === "applied" ? change.object.metadata.uid : undefined;
    const isLost = previous !== undefined && previous !== current;
    return [
      ...(isLost ? this.#lose(previous, change.previous) : []),
      ...(change.kind === "applied" ? this.accept(change.object, hasGoneBack(change)) : []),
    ];
  }

  /** @returns as `change`. */
  accept(received: Pod, wentBack = false): readonly string[] {
    const sound = toSoundPod(received);
    const { pod, problem } = sound;
    const { uid } = pod.metadata;
    const known = this.get(uid);
    if (known !== undefined) {
      const isOurs = known.phase === "sync" && !known.isApiGone;
      const isEchoed = isOurs && isEcho(known.desired, pod, known.status);
      known.isApiGone = false;
      updateRecord(known, received, { sound, wentBack });
      return isEchoed ? [] : [uid];
    }
    const { backoff, allocated, replaced } = this.#restored;
    const now = this.#options.clock.now();
    const record = createRecord(pod, now, backoff[uid] ?? {}, allocated[uid]);
    for (const id of replaced[uid] ?? []) record.replaced.add(id);
    this.#options.onNew(record, problem);
    this.set(uid, record);
    return [uid];
  }

  /** No object tells of it: what is left of it ends. */
  acceptOrphan(pod: Pod): void {
    const record = createRecord(pod, this.#options.clock.now(), {});
    record.isApiGone = true;
    this.set(record.uid, record);
  }

  /** The object is gone from the API server: what is left of the pod ends. */
  #lose(podUid: string, last: Pod | undefined): readonly string[] {
    const record = this.get(podUid);
    if (record === undefined) return [];
    if (last !== undefined) updateRecord(record, last);
    const { metadata } = record.pod;
    // We had not finished: somebody deleted it by force, and waits for nothing any more.
    if (metadata.deletionTimestamp !== undefined)
      record.pod = { ...record.pod, metadata: { ...metadata, deletionGracePeriodSeconds: 0 } };
    record.isApiGone = true;
    return [podUid];
  }

  /** What the pod's worker does itself comes back as events, which are older than its last look. */
  hasSeen(podUid: string, at = Number.POSITIVE_INFINITY): boolean {
    const observedAt = this.get(podUid)?.observedAt ?? 0;
    return at < observedAt && observedAt - at < LATE_EVENT_MS;
  }

  find(namespace: string, name: string): PodView | undefined {
    const named = [...this.values()].filter(
      ({ pod }) => pod.metadata.namespace === namespace && pod.metadata.name === name,
    );
    const record = named.find(({ isApiGone }) => !isApiGone) ?? named[0];
    return record === undefined ? undefined : viewOf(record);
  }

  list(): readonly PodView[] {
    return [...this.values()].map(viewOf);
  }
}

/** The API server was restored from an older copy: what it says now counts, though its version is lower. */
function hasGoneBack({
  object,
  previous,
}: Extract<StoreChange<Pod>, { kind: "applied" }>): boolean {
  if (previous === undefined) return false;
  return !isAtLeast(object.metadata.resourceVersion, previous.metadata.resourceVersion);
}

function viewOf({ pod, status, observed }: PodRecord): PodView {
  return { pod, status, containers: observed.containers };
}
