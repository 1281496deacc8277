/**
 * Whether pod and node suit each other, besides what is left of the node: labels, host ports, taints that do not let
 * pods run. Pure; the kubelet's reasons and messages. Called by admission.ts.
 */

import { matchesNodeSelection } from "../../api/node-selection.ts";
import type { Pod, PodSpec } from "../../api/types.ts";
import type { HostPort } from "../../runtime/runtime.ts";
import { hostPortsOf } from "../host-ports.ts";
import type { Taint } from "../node-facts.ts";
import type { Verdict } from "../snapshot.ts";

type Toleration = NonNullable<PodSpec["tolerations"]>[number];

function failed(predicate: string, why: string): Verdict {
  return { reason: predicate, message: `Predicate ${predicate} failed: ${why}` };
}

export function computeAffinityVerdict(
  { spec }: Pod,
  node: { readonly name: string; readonly labels: Readonly<Record<string, string>> },
): Verdict | undefined {
  if (matchesNodeSelection(spec, node)) return undefined;
  return failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
}

function collide(a: HostPort, b: HostPort): boolean {
  if (a.hostPort !== b.hostPort || a.protocol !== b.protocol) return false;
  return a.hostIp === b.hostIp || a.hostIp === "" || b.hostIp === "";
}

export function computePortsVerdict(pod: Pod, active: readonly Pod[]): Verdict | undefined {
  const wanted = hostPortsOf(pod.spec);
  const taken = active.flatMap(({ spec }) => hostPortsOf(spec));
  if (!wanted.some((port) => taken.some((other) => collide(port, other)))) return undefined;
  return failed("NodePorts", "node(s) didn't have free ports for the requested pod ports");
}

function isTolerated(taint: Taint, { key, operator, value, effect }: Toleration): boolean {
  if (effect && effect !== taint.effect) return false;
  if (key && key !== taint.key) return false;
  if (operator === "Exists") return true;
  return (key ?? "") !== "" && (value ?? "") === (taint.value ?? "");
}

/** Only of taints that end what runs: the others are the scheduler's. Static pods run whatever the taints. */
export function computeTaintVerdict(
  { metadata, spec }: Pod,
  taints: readonly Taint[],
): Verdict | undefined {
  const source = metadata.annotations?.["kubernetes.io/config.source"] ?? "api";
  if (source !== "api") return undefined;
  const tolerations = spec.tolerations ?? [];
  const isRefused = taints.some(
    (taint) => taint.effect === "NoExecute" && !tolerations.some((one) => isTolerated(taint, one)),
  );
  if (!isRefused) return undefined;
  return failed("TaintToleration", "node(s) had taints that the pod didn't tolerate");
}
