/**
 * GET /pods: the pods of this node as a v1 PodList, each with the status the worker knows; and /runningpods: those of
 * the runtime. Pure.
 */

import type { PodView } from "../pods/directory.ts";
import type { Container } from "../runtime/runtime.ts";

export function computePodList(views: readonly PodView[]): object {
  return {
    kind: "PodList",
    apiVersion: "v1",
    metadata: {},
    items: views.map(({ pod, status }) => ({ ...pod, status })),
  };
}

export function computeRunningPods(containers: readonly Container[]): object {
  const byPod = Map.groupBy(
    containers.filter(({ state }) => state === "running"),
    ({ pod }) => pod.uid,
  );
  const items = [...byPod.values()].flatMap((own) => {
    const [first] = own;
    if (first === undefined) return [];
    const { name, namespace, uid } = first.pod;
    const specs = own.map((container) => ({ name: container.name, image: container.image }));
    return [{ metadata: { name, namespace, uid }, spec: { containers: specs }, status: {} }];
  });
  return { kind: "PodList", apiVersion: "v1", metadata: {}, items };
}
