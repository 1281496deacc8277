/**
 * Which node a pod goes to: pure. Honours what a user writes to steer pods (nodeSelector, required node affinity,
 * cordons, taints and tolerations, readiness, host ports, the node's pod limit) and spreads by fewest pods. Resource requests are
 * not weighed: the agent's own admission refuses what does not fit. Called by the scheduler controller.
 */

import { matchesNodeSelection } from "../../api/node-selection.ts";
import type { Node, Pod } from "../../api/types.ts";

export type Placement =
  | { readonly kind: "bound"; readonly nodeName: string }
  | { readonly kind: "unschedulable"; readonly message: string };

const NOT_SCHEDULING = ["NoSchedule", "NoExecute"];

/** True for a pod that waits for this scheduler. */
export function isWaiting(pod: Pod): boolean {
  return (
    !pod.spec.nodeName &&
    (pod.spec.schedulerName ?? "default-scheduler") === "default-scheduler" &&
    (pod.spec.schedulingGates ?? []).length === 0 &&
    pod.metadata.deletionTimestamp === undefined
  );
}

/** @param pods every pod of the cluster; those that ended do not count against a node. */
export function computePlacement(
  pod: Pod,
  nodes: readonly Node[],
  pods: readonly Pod[],
): Placement {
  if (nodes.length === 0)
    return { kind: "unschedulable", message: "no nodes available to schedule pods" };
  const running = pods.filter(({ spec, status }) => spec.nodeName && !hasEnded(status));
  const counts = countPods(running);
  const refusals = new Map<string, number>();
  const fitting: Node[] = [];
  for (const node of nodes) {
    const { name } = node.metadata;
    const refusal =
      refusalOf(pod, node, counts.get(name) ?? 0) ??
      refusalOfPorts(
        pod,
        running.filter(({ spec }) => spec.nodeName === name),
      );
    if (refusal === undefined) fitting.push(node);
    else refusals.set(refusal, (refusals.get(refusal) ?? 0) + 1);
  }
  const best = fitting.toSorted(
    (a, b) =>
      (counts.get(a.metadata.name) ?? 0) - (counts.get(b.metadata.name) ?? 0) ||
      a.metadata.name.localeCompare(b.metadata.name),
  )[0];
  if (best !== undefined) return { kind: "bound", nodeName: best.metadata.name };
  const reasons = [...refusals].map(([reason, count]) => `${count} ${reason}`).sort();
  return {
    kind: "unschedulable",
    message: `0/${nodes.length} nodes are available: ${reasons.join(", ")}.`,
  };
}

function countPods(pods: readonly Pod[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { spec } of pods)
    if (spec.nodeName) counts.set(spec.nodeName, (counts.get(spec.nodeName) ?? 0) + 1);
  return counts;
}

function hasEnded(status: Pod["status"]): boolean {
  return status?.phase === "Succeeded" || status?.phase === "Failed";
}

/** Protocol, port and address of what a pod wants of its node; an empty address is every one. */
function hostPortsOf({ spec }: Pod): readonly { readonly key: string; readonly ip: string }[] {
  const sidecars = (spec.initContainers ?? []).filter((one) => one.restartPolicy === "Always");
  return [...sidecars, ...spec.containers]
    .flatMap(({ ports }) => ports ?? [])
    .filter(({ hostPort = 0 }) => hostPort > 0)
    .map(({ hostPort, protocol = "TCP", hostIP = "" }) => ({
      ...{ key: `${protocol}/${hostPort}`, ip: hostIP === "0.0.0.0" ? "" : hostIP },
    }));
}

function refusalOfPorts(pod: Pod, others: readonly Pod[]): string | undefined {
  const wanted = hostPortsOf(pod);
  if (wanted.length === 0) return undefined;
  const taken = others.flatMap(hostPortsOf);
  const collides = wanted.some(({ key, ip }) =>
    taken.some((other) => other.key === key && (other.ip === ip || !ip || !other.ip)),
  );
  return collides ? "node(s) didn't have free ports for the requested pod ports" : undefined;
}

/** Why the node cannot take the pod, in the scheduler's words, or undefined. */
function refusalOf(pod: Pod, node: Node, podCount: number): string | undefined {
  if (
    node.spec?.unschedulable === true &&
    !tolerates(pod, "node.kubernetes.io/unschedulable", "", "NoSchedule")
  )
    return "node(s) were unschedulable";
  if (!isReady(node) && !tolerates(pod, "node.kubernetes.io/not-ready", "", "NoSchedule"))
    return "node(s) had untolerated taint(s)";
  const taints = (node.spec?.taints ?? []).filter((taint) => NOT_SCHEDULING.includes(taint.effect));
  if (taints.some((taint) => !tolerates(pod, taint.key, taint.value ?? "", taint.effect)))
    return "node(s) had untolerated taint(s)";
  if (!matchesNodeSelection(pod.spec, node.metadata))
    return "node(s) didn't match Pod's node affinity/selector";
  const limit = Number(node.status?.allocatable?.pods ?? Number.NaN);
  if (podCount >= limit) return "Too many pods";
  return undefined;
}

export function isReady(node: Node): boolean {
  return (
    node.status?.conditions?.some((it) => it.type === "Ready" && it.status === "True") === true
  );
}

function tolerates(pod: Pod, key: string, value: string, effect: string): boolean {
  return (pod.spec.tolerations ?? []).some((toleration) => {
    if (toleration.effect && toleration.effect !== effect) return false;
    const exists = toleration.operator === "Exists";
    if (!toleration.key) return exists;
    if (toleration.key !== key) return false;
    return exists || (toleration.value ?? "") === value;
  });
}
