/**
 * Deletes, without grace, pods bound to a node that does not exist: nobody is left to end them. A node that is only
 * registered anew within the quarantine keeps its pods (kube-controller-manager waits the same 40 s).
 * Started by install.ts.
 */

import type { Pod } from "../../api/types.ts";
import { deleteObject } from "../deletion.ts";
import type { KubeObject } from "../objects.ts";
import { NODES, PODS } from "../registry.ts";
import type { StoreEvent } from "../store.ts";
import { type Controller, type ControllerContext, createLoop, keyOf } from "./loop.ts";

export function createPodGc(
  context: ControllerContext,
  options: { readonly quarantineMs: number },
): Controller {
  const { store } = context;
  const isOrphan = (pod: KubeObject): boolean => {
    const node = nodeOf(pod);
    return node !== "" && store.get(NODES, undefined, node) === undefined;
  };
  const missingSince = new Map<string, number>();
  return createLoop(context, {
    name: "pod-gc",
    types: [PODS, NODES],
    initialKeys: () => store.list(PODS, undefined, isOrphan).items.map(nodeOf),
    keysOf: ({ resource, type, object }: StoreEvent) => {
      if (resource === NODES) return type === "DELETED" ? [object.metadata.name] : [];
      return type !== "DELETED" && isOrphan(object) ? [nodeOf(object)] : [];
    },
    sync: (nodeName) => {
      const orphans = store.list(PODS, undefined, (pod) => nodeOf(pod) === nodeName).items;
      if (store.get(NODES, undefined, nodeName) !== undefined || orphans.length === 0) {
        missingSince.delete(nodeName);
        return undefined;
      }
      const now = context.clock.monotonic();
      const since = missingSince.get(nodeName) ?? now;
      missingSince.set(nodeName, since);
      const remaining = since + options.quarantineMs - now;
      if (remaining > 0) return remaining;
      for (const pod of orphans) collect(context, pod);
      return undefined;
    },
  });
}

function collect(context: ControllerContext, pod: KubeObject): void {
  const { namespace, name } = pod.metadata;
  context.log.info({ pod: keyOf(pod), node: nodeOf(pod) }, "deleting pod of a node that is gone");
  const target = { type: PODS, name, ...(namespace === undefined ? {} : { namespace }) };
  deleteObject(context, target, { gracePeriodSeconds: 0 });
}

function nodeOf(pod: KubeObject): string {
  return (pod as unknown as Pod).spec.nodeName ?? "";
}
