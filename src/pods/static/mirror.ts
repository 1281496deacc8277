/**
 * A static pod on the API server: its mirror pod, which shows it there and never makes anything run. Pure: what a
 * mirror looks like, whether one is that of a static pod, and what to do about the name. Used by pod-sources.ts and
 * mirror-loop.ts.
 */

import { keyOf } from "../../api/store.ts";
import type { Node, Pod, PodStatus } from "../../api/types.ts";
import { isTerminalPhase } from "../status.ts";
import { CONFIG_HASH, CONFIG_MIRROR } from "./manifest.ts";

/** True for what shows a static pod, or claims to. */
export function isMirror(pod: Pod): boolean {
  return pod.metadata.annotations?.[CONFIG_MIRROR] !== undefined;
}

/** True when `stored` is the mirror of just this static pod and is to stay. */
export function isMirrorOf(stored: Pod | undefined, pod: Pod): stored is Pod {
  return (
    stored !== undefined &&
    keyOf(stored) === keyOf(pod) &&
    stored.metadata.deletionTimestamp === undefined &&
    stored.metadata.annotations?.[CONFIG_MIRROR] === pod.metadata.annotations?.[CONFIG_HASH]
  );
}

/** The static pod with the status that its mirror has, so that only what differs is written. */
export function withStatusOf(mirror: Pod | undefined, pod: Pod): Pod {
  if (mirror === undefined) return pod;
  const { resourceVersion } = mirror.metadata;
  const status = trustedStatus(mirror.status ?? {});
  return { ...pod, metadata: { ...pod.metadata, resourceVersion }, status };
}

/** Whether a static pod has ended is for its containers to say: nobody ends one by writing to its mirror. */
function trustedStatus(status: PodStatus): PodStatus {
  if (!isTerminalPhase(status.phase)) return status;
  const { phase: _phase, startTime: _startTime, ...rest } = status;
  return rest;
}

/** Body of the POST that makes the mirror. */
export function toMirror(pod: Pod, node: Node): object {
  const { name, namespace, labels, annotations } = pod.metadata;
  const { name: nodeName, uid } = node.metadata;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace,
      ...(labels === undefined ? {} : { labels }),
      annotations: { ...annotations, [CONFIG_MIRROR]: annotations?.[CONFIG_HASH] },
      ownerReferences: [{ apiVersion: "v1", kind: "Node", name: nodeName, uid, controller: true }],
    },
    spec: pod.spec,
  };
}

export type MirrorStep =
  | { readonly kind: "none" }
  | { readonly kind: "create"; readonly body: object }
  | { readonly kind: "delete"; readonly uid: string };

export interface MirrorView {
  /** The static pod of this name that runs or shall run. */
  readonly pod: Pod | undefined;
  /** The pod of this name on the API server. */
  readonly stored: Pod | undefined;
  /** A static pod of this name is ending, or one may exist that has not been read yet: its mirror stays so long. */
  readonly isHeld: boolean;
  readonly node: Node;
}

export function planMirror({ pod, stored, isHeld, node }: MirrorView): MirrorStep {
  if (stored === undefined)
    return pod === undefined ? { kind: "none" } : { kind: "create", body: toMirror(pod, node) };
  // The name belongs to somebody else.
  if (!isMirror(stored)) return { kind: "none" };
  if (pod === undefined ? isHeld : isMirrorOf(stored, pod)) return { kind: "none" };
  return { kind: "delete", uid: stored.metadata.uid };
}
