/** GET /pods: the pods of this node as a v1 PodList, each with the status the worker knows. Pure. */

import type { PodView } from "../pods/directory.ts";

export function computePodList(views: readonly PodView[]): object {
  return {
    kind: "PodList",
    apiVersion: "v1",
    metadata: {},
    items: views.map(({ pod, status }) => ({ ...pod, status })),
  };
}
