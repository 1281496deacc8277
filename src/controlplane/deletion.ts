/**
 * How objects go away, for every caller: preconditions, finalizers, the grace period of pods, and the phase of
 * namespaces. REST's delete and the controllers (namespace content, pod GC) call `deleteObject`; the namespace
 * controller calls `finishNamespace` when nothing is left inside.
 */

import { type Clock, formatTime } from "../core/clock.ts";
import { at, type KubeObject, textAt, withMeta } from "./objects.ts";
import { NAMESPACES, PODS, type ResourceType } from "./registry.ts";
import { notFound } from "./status-error.ts";
import { checkPrecondition, type Precondition, type Store } from "./store.ts";

export interface DeleteTarget {
  readonly type: ResourceType;
  readonly namespace?: string;
  readonly name: string;
}

export interface DeleteChoices {
  readonly gracePeriodSeconds?: number;
  readonly precondition?: Precondition;
}

export interface Deletion {
  readonly object: KubeObject;
  /** False while a grace period, finalizers or a namespace's content hold the object. */
  readonly isGone: boolean;
}

/** One step of a deletion; asking again is harmless and may shorten a pod's grace. Throws 404 and 409. */
export function deleteObject(
  context: { readonly store: Store; readonly clock: Clock },
  target: DeleteTarget,
  choices: DeleteChoices = {},
): Deletion {
  const { store, clock } = context;
  const { type, namespace, name } = target;
  const current = store.get(type, namespace, name);
  if (current === undefined) throw notFound(type, name);
  checkPrecondition(type, current, choices.precondition ?? {});
  const marked = markDeleted(type, current, clock.now(), choices.gracePeriodSeconds);
  if (marked === undefined) {
    // As upstream, so that the node learns from the last version that nobody waits for the containers.
    if (type === PODS)
      store.update(type, namespace, name, () =>
        withMeta(current, {
          deletionTimestamp: current.metadata.deletionTimestamp ?? formatTime(clock.now()),
          deletionGracePeriodSeconds: 0,
        }),
      );
    return { object: store.delete(type, namespace, name), isGone: true };
  }
  return { object: store.update(type, namespace, name, () => marked), isGone: false };
}

/** After an update: removes the object when the update took away the last thing that held it. */
export function isReleased(type: ResourceType, object: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds, finalizers } = object.metadata;
  if (deletionTimestamp === undefined || (finalizers?.length ?? 0) > 0) return false;
  if (type === PODS) return (deletionGracePeriodSeconds ?? 0) === 0;
  if (type === NAMESPACES) return !holdsNamespace(object);
  return true;
}

/** Takes the finalizer "kubernetes" off a terminating namespace, which removes it. */
export function finishNamespace(store: Store, name: string): void {
  const next = store.update(NAMESPACES, undefined, name, (current) => ({
    ...current,
    spec: { finalizers: [] },
  }));
  if (isReleased(NAMESPACES, next)) store.delete(NAMESPACES, undefined, name);
}

function holdsNamespace(object: KubeObject): boolean {
  const finalizers = at(object, "spec", "finalizers");
  return Array.isArray(finalizers) && finalizers.length > 0;
}

/** The object marked for deletion, or undefined when it goes at once. Pure. */
export function markDeleted(
  type: ResourceType,
  current: KubeObject,
  now: number,
  requestedGrace?: number,
): KubeObject | undefined {
  const isHeld = (current.metadata.finalizers?.length ?? 0) > 0;
  if (type === PODS) return markPodDeleted(current, now, requestedGrace, isHeld);
  if (type === NAMESPACES && holdsNamespace(current)) {
    return { ...markNow(current, now), status: { ...statusOf(current), phase: "Terminating" } };
  }
  return isHeld ? markNow(current, now) : undefined;
}

function markNow(current: KubeObject, now: number): KubeObject {
  if (current.metadata.deletionTimestamp !== undefined) return current;
  return withMeta(current, { deletionTimestamp: formatTime(now), deletionGracePeriodSeconds: 0 });
}

function markPodDeleted(
  pod: KubeObject,
  now: number,
  requestedGrace: number | undefined,
  isHeld: boolean,
): KubeObject | undefined {
  const grace = podGrace(pod, requestedGrace);
  const { deletionTimestamp, deletionGracePeriodSeconds: before } = pod.metadata;
  if (grace === 0 && !isHeld) return undefined;
  if (deletionTimestamp !== undefined && before !== undefined) {
    if (grace >= before) return pod;
    // The clock of a shortened deletion starts where the first one did, as upstream has it.
    const askedAt = Date.parse(deletionTimestamp) - before * 1000;
    return withMeta(pod, {
      deletionTimestamp: formatTime(askedAt + grace * 1000),
      deletionGracePeriodSeconds: grace,
    });
  }
  return withMeta(pod, {
    deletionTimestamp: formatTime(now + grace * 1000),
    deletionGracePeriodSeconds: grace,
    generation: (pod.metadata.generation ?? 0) + 1,
  });
}

function podGrace(pod: KubeObject, requestedGrace: number | undefined): number {
  const phase = textAt(pod, "status", "phase");
  const isTerminal = phase === "Succeeded" || phase === "Failed";
  if (textAt(pod, "spec", "nodeName") === "" || isTerminal) return 0;
  const { deletionGracePeriodSeconds } = pod.metadata;
  const wanted = at(pod, "spec", "terminationGracePeriodSeconds");
  const grace = requestedGrace ?? deletionGracePeriodSeconds ?? wanted;
  if (typeof grace !== "number") return 30;
  return grace < 0 ? 1 : grace;
}

function statusOf(object: KubeObject): object {
  const status = at(object, "status");
  return status !== null && typeof status === "object" ? status : {};
}
