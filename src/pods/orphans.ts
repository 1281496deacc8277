/**
 * Pods that have no API object any more: what the labels of their containers and their directories tell is made into a
 * Pod good enough to be ended by the ordinary worker. Pure; used by manager.ts.
 */

import type { Pod } from "../api/types.ts";
import { GRACE_ANNOTATION } from "../runtime/container-config.ts";
import type { Container, PodIdentity, RuntimeState } from "../runtime/runtime.ts";

/** For containers that do not tell their pod's grace period; the kubelet gives every orphan just this. */
const UNKNOWN_GRACE_SECONDS = 1;

export function findOrphans(
  state: RuntimeState,
  directories: readonly string[],
  isKnown: (podUid: string) => boolean,
): readonly Pod[] {
  const orphans = new Map<string, Pod>();
  const unnamed = directories.map((uid): PodIdentity => ({ uid, namespace: "", name: uid }));
  const identities = [...state.sandboxes, ...state.containers].map(({ pod }) => pod);
  for (const identity of [...identities, ...unnamed]) {
    if (isKnown(identity.uid) || orphans.has(identity.uid)) continue;
    orphans.set(identity.uid, toPod(identity, state));
  }
  return [...orphans.values()];
}

function toPod({ namespace, name, uid }: PodIdentity, state: RuntimeState): Pod {
  const own = state.containers.filter(({ pod, kind }) => pod.uid === uid && kind === "app");
  const names = [...new Set(own.map((container) => container.name))];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      namespace,
      name,
      uid,
      resourceVersion: "0",
      deletionGracePeriodSeconds: graceOf(own),
    },
    spec: { containers: names.map((container) => ({ name: container })) },
  };
}

function graceOf(containers: readonly Container[]): number {
  const told = containers.map(({ annotations }) => Number(annotations[GRACE_ANNOTATION]));
  return Math.max(UNKNOWN_GRACE_SECONDS, ...told.filter((seconds) => Number.isInteger(seconds)));
}
