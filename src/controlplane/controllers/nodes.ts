/**
 * The life of Node objects: a podCIDR for each, conditions Unknown for one that has not renewed its Lease nor posted
 * its status for the grace period, and the end of its Lease with it. What a node did last is judged by our own clock
 * from when we saw it, so that clocks need not agree and a restart starts the grace anew. Started by install.ts.
 */

import type { Node } from "../../api/types.ts";
import { formatTime } from "../../core/clock.ts";
import { freeSubnet24, parseRange } from "../ipv4-range.ts";
import type { KubeObject } from "../objects.ts";
import { LEASES, NODES, PODS } from "../registry.ts";
import type { StoreEvent } from "../store.ts";
import { type Condition, withCondition } from "./conditions.ts";
import { recordEvent } from "./events.ts";
import { type Controller, type ControllerContext, createLoop } from "./loop.ts";
import { isReady } from "./placement.ts";

export interface NodeControllerOptions {
  readonly clusterCidr: string;
  /** Milliseconds without a sign of life until a node is Unknown. */
  readonly gracePeriodMs: number;
}

const LEASE_NAMESPACE = "kube-node-lease";
const JUDGED = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

interface LastSeen {
  readonly sign: string;
  readonly at: number;
}

export function createNodeController(
  context: ControllerContext,
  options: NodeControllerOptions,
): Controller {
  const { store, clock } = context;
  const lastSeen = new Map<string, LastSeen>();
  return createLoop(context, {
    name: "node",
    types: [NODES, LEASES],
    initialKeys: () => store.list(NODES).items.map((it) => it.metadata.name),
    keysOf: nodesOf,
    sync: (name) => {
      const node = store.get(NODES, undefined, name);
      if (node === undefined) {
        lastSeen.delete(name);
        removeLease(context, name);
        return undefined;
      }
      assignPodCidr(context, node, options.clusterCidr);
      const sign = signOfLife(context, node);
      const seen = lastSeen.get(name);
      const now = clock.monotonic();
      if (seen === undefined || seen.sign !== sign) {
        lastSeen.set(name, { sign, at: now });
        return options.gracePeriodMs;
      }
      const remaining = seen.at + options.gracePeriodMs - now;
      if (remaining > 0) return remaining;
      markUnknown(context, node);
      // Our own write must not look like a sign of life.
      const marked = store.get(NODES, undefined, name) ?? node;
      lastSeen.set(name, { sign: signOfLife(context, marked), at: seen.at });
      return undefined;
    },
  });
}

function nodesOf({ resource, object }: StoreEvent): string[] {
  if (resource === NODES) return [object.metadata.name];
  return object.metadata.namespace === LEASE_NAMESPACE ? [object.metadata.name] : [];
}

/** Text that differs after every Lease renewal and every status heartbeat. */
function signOfLife({ store }: ControllerContext, node: KubeObject): string {
  const lease = store.get(LEASES, LEASE_NAMESPACE, node.metadata.name);
  const conditions = (node as unknown as Node).status?.conditions ?? [];
  const heartbeats = conditions.map((it) => `${it.type}=${it.lastHeartbeatTime}/${it.status}`);
  return `${lease?.metadata.resourceVersion ?? "none"} ${heartbeats.join(" ")}`;
}

function assignPodCidr(context: ControllerContext, node: KubeObject, clusterCidr: string): void {
  const { store } = context;
  const podCidrOf = (it: KubeObject) => (it as unknown as Node).spec?.podCIDR;
  if (podCidrOf(node)) return;
  const taken = new Set(store.list(NODES).items.flatMap((it) => podCidrOf(it) ?? []));
  const podCIDR = freeSubnet24(parseRange(clusterCidr), taken);
  if (podCIDR === undefined) {
    const message = `Node ${node.metadata.name} status is now: CIDRNotAvailable`;
    recordEvent(context, "cidrAllocator", node, {
      type: "Normal",
      reason: "CIDRNotAvailable",
      message,
    });
    return;
  }
  store.update(NODES, undefined, node.metadata.name, (current) => ({
    ...current,
    spec: { ...(current.spec as object | undefined), podCIDR, podCIDRs: [podCIDR] },
  }));
}

function markUnknown(context: ControllerContext, node: KubeObject): void {
  const { store, clock } = context;
  const now = formatTime(clock.now());
  const { name } = node.metadata;
  const wasReady = isReady(node as unknown as Node);
  store.update(NODES, undefined, name, (current) => {
    const status = (current as unknown as Node).status ?? {};
    const before = (status.conditions ?? []) as readonly Condition[];
    return { ...current, status: { ...status, conditions: JUDGED.reduce(unknown(now), before) } };
  });
  if (!wasReady) return;
  context.log.warn({ node: name }, "node stopped posting its status");
  const message = `Node ${name} status is now: NodeNotReady`;
  recordEvent(context, "node-controller", node, {
    type: "Normal",
    reason: "NodeNotReady",
    message,
  });
  markPodsNotReady(context, name, now);
}

/** So that services stop sending to pods nobody can vouch for. */
function markPodsNotReady({ store }: ControllerContext, nodeName: string, now: string): void {
  const onNode = (it: KubeObject) => (it.spec as { nodeName?: string }).nodeName === nodeName;
  for (const { metadata } of store.list(PODS, undefined, onNode).items) {
    store.update(PODS, metadata.namespace, metadata.name, (current) => {
      const status = (current.status ?? {}) as { conditions?: readonly Condition[] };
      const ready = status.conditions?.find((it) => it.type === "Ready");
      if (ready?.status !== "True") return current;
      const condition = { ...ready, status: "False", reason: "NodeNotReady" };
      const conditions = withCondition(status.conditions ?? [], condition, now);
      return { ...current, status: { ...status, conditions } };
    });
  }
}

function unknown(now: string) {
  return (conditions: readonly Condition[], type: string): readonly Condition[] => {
    const previous = conditions.find((it) => it.type === type);
    if (previous?.status === "Unknown") return conditions;
    const reason = previous === undefined ? "NodeStatusNeverUpdated" : "NodeStatusUnknown";
    const message =
      previous === undefined
        ? "Kubelet never posted node status."
        : "Kubelet stopped posting node status.";
    return withCondition(
      conditions,
      { ...previous, type, status: "Unknown", reason, message },
      now,
    );
  };
}

function removeLease({ store }: ControllerContext, name: string): void {
  const lease = store.get(LEASES, LEASE_NAMESPACE, name);
  const isOfNode = lease?.metadata.ownerReferences?.some((it) => it.kind === "Node") === true;
  if (isOfNode) store.delete(LEASES, LEASE_NAMESPACE, name);
}
