/**
 * What the agent remembers of one pod between the turns of its worker. Owned by the worker of that UID: manager.ts
 * makes and forgets it and hands it new versions of the object; apply.ts notes outcomes in it. Everything here can be
 * lost: a fresh record made from the API object and the runtime goes on where the old one was.
 */

import type { Pod, PodStatus } from "../api/types.ts";
import type { Container, RuntimeState } from "../runtime/runtime.ts";
import type { MountedVolume } from "../volumes/volumes.ts";
import type { PodPlan } from "./actions.ts";
import { NO_OOM_KILLS, type OomRecord } from "./oom-kills.ts";
import { applyAllocation } from "./resize/allocation.ts";
import { nextBackoff } from "./restart.ts";
import { type SoundPod, toSoundPod } from "./shape.ts";
import {
  type Allocation,
  type BackoffEntry,
  endedAt,
  type ResizeFailure,
  type ResizePending,
  type StartFailure,
  type Verdict,
  type VolumesState,
  type WorkerPhase,
} from "./snapshot.ts";

export interface PodRecord {
  readonly uid: string;
  /** The newest version of the object with the resources that are allocated to it, or what the runtime's labels tell. */
  pod: Pod;
  /** The newest version of the object as it came. */
  desired: Pod;
  /** What is wrong with the spec of the newest version, in whose place the last sound one counts. */
  problem: string | undefined;
  /** The event about it was recorded. */
  isProblemTold: boolean;
  /** Undefined until the first look at the runtime. */
  allocation: Allocation | undefined;
  /** Why the resources of `desired` are not allocated. */
  resizePending: ResizePending | undefined;
  /** Why what is allocated is not what the containers have. */
  resizeFailure: ResizeFailure | undefined;
  phase: WorkerPhase;
  status: PodStatus;
  /** Milliseconds since the epoch. */
  readonly startTime: number;
  verdict: Verdict | undefined;
  observed: RuntimeState;
  oomKills: OomRecord;
  /** `observed` has everything that happened before this time; milliseconds since the epoch. */
  observedAt: number;
  volumes: VolumesState;
  mounted: ReadonlyMap<string, MountedVolume>;
  /** True once this agent has made all volumes present. */
  isMounted: boolean;
  readonly startFailures: Map<string, StartFailure>;
  readonly backoff: Map<string, BackoffEntry>;
  readonly replaced: Set<string>;
  /** Termination messages by container ID. */
  readonly messages: Map<string, string>;
  sandboxRetryAt: number;
  /** The sandbox that this run of the agent has joined to the network. */
  plumbedSandboxId: string | undefined;
  isApiGone: boolean;
  isDeleteSent: boolean;
  /** When the pod as a whole was first told to end with its present grace period, in milliseconds since the epoch. */
  endingSince: number | undefined;
  /** With the time at which it was made, in milliseconds since the epoch. */
  lastPlan: (PodPlan & { readonly at: number }) | undefined;
}

const NOTHING: RuntimeState = { sandboxes: [], containers: [] };

export function createRecord(
  pod: Pod,
  now: number,
  backoff: Readonly<Record<string, BackoffEntry>>,
  allocation?: Allocation,
): PodRecord {
  const startTime = pod.status?.startTime;
  return {
    uid: pod.metadata.uid,
    pod: applyAllocation(pod, allocation),
    desired: pod,
    problem: undefined,
    isProblemTold: false,
    allocation,
    resizePending: undefined,
    resizeFailure: undefined,
    phase: "sync",
    status: pod.status ?? {},
    startTime: startTime === undefined ? now : Date.parse(startTime),
    verdict: undefined,
    observed: NOTHING,
    oomKills: NO_OOM_KILLS,
    observedAt: 0,
    volumes: { kind: "ready" },
    mounted: new Map(),
    isMounted: false,
    startFailures: new Map(),
    backoff: new Map(Object.entries(backoff)),
    replaced: new Set(),
    messages: new Map(),
    sandboxRetryAt: 0,
    plumbedSandboxId: undefined,
    isApiGone: false,
    isDeleteSent: false,
    endingSince: undefined,
    lastPlan: undefined,
  };
}

/** True when `version` is not older than `other`; resource versions are decimal numbers of any length. */
export function isAtLeast(version: string, other: string): boolean {
  return version.length === other.length ? version >= other : version.length > other.length;
}

interface Update {
  /** Of the received pod, where the caller has it. */
  readonly sound?: SoundPod;
  /** The API server's version is older than what it said before, and counts. */
  readonly wentBack?: boolean;
}

/**
 * Takes a newer version of the object. What may have been wrong with the old spec is tried again at once, and a new
 * grace period counts from now. What runs is not ended by a spec that nobody can read: the last sound one counts on.
 */
export function updateRecord(
  record: PodRecord,
  received: Pod,
  { sound = toSoundPod(received), wentBack = false }: Update = {},
): void {
  const { problem } = sound;
  const before = record.pod.metadata;
  if (!wentBack && !isAtLeast(received.metadata.resourceVersion, before.resourceVersion)) return;
  const pod = problem === undefined ? sound.pod : { ...received, spec: record.desired.spec };
  if (problem !== record.problem) record.isProblemTold = false;
  record.problem = problem;
  record.desired = pod;
  record.pod = applyAllocation(pod, record.allocation);
  if (
    pod.metadata.generation !== before.generation ||
    JSON.stringify(pod.metadata.annotations) !== JSON.stringify(before.annotations)
  )
    record.startFailures.clear();
  const hasOtherGrace =
    pod.metadata.deletionGracePeriodSeconds !== before.deletionGracePeriodSeconds;
  if (hasOtherGrace || pod.metadata.deletionTimestamp !== before.deletionTimestamp)
    record.endingSince = undefined;
}

/** A start after this end moves the crash back-off of its container on. */
export function countRestart(
  record: PodRecord,
  dead: Container,
  { now, maxMs }: { readonly now: number; readonly maxMs: number },
): void {
  if (record.replaced.has(dead.id)) return;
  const times = { ended: endedAt(dead), now, maxMs };
  const entry = nextBackoff(record.backoff.get(dead.name), times);
  record.backoff.set(dead.name, entry);
}

/** Nothing of it is left anywhere. */
export function isForgettable({ isApiGone, phase, observed, volumes }: PodRecord): boolean {
  return (
    isApiGone &&
    phase === "terminated" &&
    volumes.kind === "torn-down" &&
    observed.sandboxes.length === 0 &&
    observed.containers.length === 0
  );
}
