/**
 * Which pods this node takes. Pure: the predicates of this folder in the kubelet's order, the first that refuses is
 * told. A refused pod becomes Failed with the verdict's reason and a Warning event; it is never half-run. Called by
 * manager.ts once in a pod's life.
 */

import type { Pod } from "../../api/types.ts";
import type { NodeFacts } from "../node-facts.ts";
import type { Verdict } from "../snapshot.ts";
import { computeAppArmorVerdict } from "./app-armor.ts";
import { describeShortage, findShortages } from "./fit.ts";
import {
  computeAffinityVerdict,
  computePortsVerdict,
  computeTaintVerdict,
} from "./node-predicates.ts";
import { computeOsVerdict } from "./operating-system.ts";
import { planPreemption } from "./preemption.ts";
import { computeSysctlVerdict } from "./sysctls.ts";
import { findUnsupportedFields } from "./unsupported.ts";

/** `allocatable` has the number of pods too. */
type AdmittingNode = { readonly name: string } & Pick<
  NodeFacts,
  "labels" | "taints" | "allocatable" | "hasAppArmor" | "allowedUnsafeSysctls"
>;

export interface AdmissionInput {
  readonly pod: Pod;
  readonly node: AdmittingNode;
  /** Pods of this node that have not ended, without this one. */
  readonly active: readonly Pod[];
}

export type Admission =
  | { readonly kind: "refused"; readonly verdict: Verdict }
  /** `preempted` are to end for it. */
  | { readonly kind: "taken"; readonly preempted: readonly Pod[] };

export function computeAdmission(input: AdmissionInput): Admission {
  const { pod, node, active } = input;
  const { spec } = pod;
  const before =
    computeSupportVerdict(pod) ??
    computeSysctlVerdict(spec, node.allowedUnsafeSysctls) ??
    computeOsVerdict(spec);
  if (before !== undefined) return { kind: "refused", verdict: before };
  const shortages = findShortages(pod, active, node.allocatable);
  const preempted = shortages.length === 0 ? [] : planPreemption(pod, active, shortages);
  const verdict =
    (preempted === undefined && shortages[0] ? describeShortage(shortages[0]) : undefined) ??
    computeAffinityVerdict(pod, node) ??
    computePortsVerdict(pod, active) ??
    computeTaintVerdict(pod, node.taints) ??
    computeAppArmorVerdict(spec, node.hasAppArmor);
  return verdict === undefined
    ? { kind: "taken", preempted: preempted ?? [] }
    : { kind: "refused", verdict };
}

function computeSupportVerdict({ spec }: Pod): Verdict | undefined {
  const fields = findUnsupportedFields(spec);
  if (fields.length === 0) return undefined;
  const message = `this version of Longshore does not support: ${fields.join(", ")}`;
  return { reason: "UnsupportedPodSpec", message };
}
