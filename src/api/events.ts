/** Events as everything that reports to people sees them. The recorder (event-recorder.ts) aggregates repeats. */

import type { StoredObject } from "./types.ts";

export type EventType = "Normal" | "Warning";

/** The object an event is about. */
export interface InvolvedObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  /** e.g. `spec.containers{web}`. */
  readonly fieldPath?: string;
}

export interface EventSink {
  /** Never throws and never waits; what cannot be sent is dropped with a debug line. */
  record(about: InvolvedObject, type: EventType, reason: string, message: string): void;
}

/** The reference to a Pod, or to one of its containers when `fieldPath` is given. */
export function involvedPod(pod: StoredObject, fieldPath?: string): InvolvedObject {
  const { namespace, name, uid, resourceVersion } = pod.metadata;
  return {
    apiVersion: "v1",
    kind: "Pod",
    ...(namespace === undefined ? {} : { namespace }),
    name,
    uid,
    resourceVersion,
    ...(fieldPath === undefined ? {} : { fieldPath }),
  };
}
