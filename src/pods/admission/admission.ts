/**
 * Which pods this node takes. Pure: the predicates of this folder in the kubelet's order, the first that refuses is
 * told. A refused pod becomes Failed with the verdict's reason and a Warning event; it is never half-run. Called by
 * manager.ts once in a pod's life.
 */

import { matchesNodeSelection } from "../../api/node-selection.ts";
import type { Pod } from "../../api/types.ts";
import type { Verdict } from "../snapshot.ts";
import { computeAppArmorVerdict } from "./app-armor.ts";
import { computeOsVerdict } from "./operating-system.ts";
import { computeSysctlVerdict } from "./sysctls.ts";
import { findUnsupportedFields } from "./unsupported.ts";

export interface AdmissionInput {
  readonly pod: Pod;
  readonly nodeName: string;
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** Pods of this node that have not ended, without this one. */
  readonly activePods: number;
  readonly maxPods: number;
  readonly hasAppArmor: boolean;
  /** Names and `beginnings*` of namespaced kernel parameters that the operator allows besides the safe ones. */
  readonly allowedUnsafeSysctls: readonly string[];
}

/** undefined = the pod may run. */
export function computeAdmission(input: AdmissionInput): Verdict | undefined {
  const { spec } = input.pod;
  return (
    computeSupportVerdict(input) ??
    computeSysctlVerdict(spec, input.allowedUnsafeSysctls) ??
    computeOsVerdict(spec) ??
    computeCountVerdict(input) ??
    computeAffinityVerdict(input) ??
    computeAppArmorVerdict(spec, input.hasAppArmor)
  );
}

function computeSupportVerdict({ pod }: AdmissionInput): Verdict | undefined {
  const fields = findUnsupportedFields(pod.spec);
  if (fields.length === 0) return undefined;
  const message = `this version of Longshore does not support: ${fields.join(", ")}`;
  return { reason: "UnsupportedPodSpec", message };
}

function computeCountVerdict({ activePods, maxPods }: AdmissionInput): Verdict | undefined {
  if (activePods < maxPods) return undefined;
  return {
    reason: "OutOfpods",
    message: `Node didn't have enough resource: pods, requested: 1, used: ${activePods}, capacity: ${maxPods}`,
  };
}

function computeAffinityVerdict(input: AdmissionInput): Verdict | undefined {
  const node = { name: input.nodeName, labels: input.nodeLabels };
  if (matchesNodeSelection(input.pod.spec, node)) return undefined;
  return {
    reason: "NodeAffinity",
    message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
  };
}
