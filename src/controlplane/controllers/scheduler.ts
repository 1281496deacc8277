/**
 * The scheduler of the embedded control plane: gives every waiting pod a node, or says in PodScheduled and an event
 * why there is none. A pod without a node is looked at again when a node changes or a pod goes. The choice itself is
 * placement.ts. Started by install.ts.
 */

import type { Node, Pod } from "../../api/types.ts";
import { formatTime } from "../../core/clock.ts";
import type { KubeObject } from "../objects.ts";
import { NODES, PODS } from "../registry.ts";
import type { StoreEvent } from "../store.ts";
import { type Condition, withCondition } from "./conditions.ts";
import { recordEvent } from "./events.ts";
import { type Controller, type ControllerContext, createLoop, keyOf, splitKey } from "./loop.ts";
import { computePlacement, isWaiting } from "./placement.ts";

const COMPONENT = "default-scheduler";

export function createScheduler(context: ControllerContext): Controller {
  const waiting = (): string[] =>
    context.store.list(PODS, undefined, (pod) => isWaiting(asPod(pod))).items.map(keyOf);
  return createLoop(context, {
    name: "scheduler",
    types: [PODS, NODES],
    initialKeys: waiting,
    keysOf: (event) => {
      if (event.resource === NODES || freesRoom(event)) return waiting();
      return isWaiting(asPod(event.object)) ? [keyOf(event.object)] : [];
    },
    sync: (key) => syncPod(context, key),
  });
}

/** A pod that ends or goes may make room for one that waits. */
function freesRoom({ type, object }: StoreEvent): boolean {
  const phase = asPod(object).status?.phase;
  return type === "DELETED" || phase === "Succeeded" || phase === "Failed";
}

function syncPod(context: ControllerContext, key: string): undefined {
  const { store } = context;
  const { namespace, name } = splitKey(key);
  const pod = store.get(PODS, namespace, name);
  if (pod === undefined || !isWaiting(asPod(pod))) return;
  const nodes = store.list(NODES).items as unknown as readonly Node[];
  const pods = store.list(PODS).items as unknown as readonly Pod[];
  const placement = computePlacement(asPod(pod), nodes, pods);
  if (placement.kind === "bound") {
    bind(context, pod, placement.nodeName);
    return;
  }
  const { message } = placement;
  const next = setScheduled(context, pod, { status: "False", reason: "Unschedulable", message });
  if (next === pod) return;
  recordEvent(context, COMPONENT, pod, { type: "Warning", reason: "FailedScheduling", message });
}

function bind(context: ControllerContext, pod: KubeObject, nodeName: string): void {
  setScheduled(context, pod, { status: "True" }, nodeName);
  context.log.info({ pod: keyOf(pod), node: nodeName }, "pod bound");
  recordEvent(context, COMPONENT, pod, {
    type: "Normal",
    reason: "Scheduled",
    message: `Successfully assigned ${keyOf(pod)} to ${nodeName}`,
  });
}

function setScheduled(
  { store, clock }: ControllerContext,
  pod: KubeObject,
  condition: Omit<Condition, "type">,
  nodeName?: string,
): KubeObject {
  const { namespace, name } = pod.metadata;
  return store.update(PODS, namespace, name, (current) => {
    const { spec, status } = asPod(current);
    const conditions = withCondition(
      (status?.conditions ?? []) as readonly Condition[],
      { type: "PodScheduled", ...condition },
      formatTime(clock.now()),
    );
    return {
      ...current,
      spec: nodeName === undefined ? spec : { ...spec, nodeName },
      status: { phase: "Pending", ...status, conditions },
    };
  });
}

function asPod(object: KubeObject): Pod {
  return object as unknown as Pod;
}
