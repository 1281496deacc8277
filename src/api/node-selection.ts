/**
 * Does a pod's nodeSelector and required node affinity, or a volume's, allow a node? Pure. The control plane asks it when
 * it places a pod, the agent when it takes one on and when it mounts a PersistentVolume.
 */

import { meetsRequirement, type Requirement } from "./label-selector.ts";
import type { Pod } from "./types.ts";

interface NodeIdentity {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
}

interface NodeSelector {
  readonly nodeSelectorTerms: readonly {
    readonly matchExpressions?: readonly Requirement[];
    readonly matchFields?: readonly Requirement[];
  }[];
}

export function matchesNodeSelection(spec: Pod["spec"], node: NodeIdentity): boolean {
  const labels = node.labels ?? {};
  const wanted = Object.entries(spec.nodeSelector ?? {});
  if (!wanted.every(([key, value]) => labels[key] === value)) return false;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required === undefined || matchesNodeSelector(required, node);
}

/** True where one of its terms is met. */
export function matchesNodeSelector(required: NodeSelector, node: NodeIdentity): boolean {
  const labels = node.labels ?? {};
  const fields = { "metadata.name": node.name };
  return required.nodeSelectorTerms.some((term) => {
    const expressions = term.matchExpressions ?? [];
    const fieldRequirements = term.matchFields ?? [];
    if (expressions.length + fieldRequirements.length === 0) return false;
    return (
      expressions.every((requirement) => meetsRequirement(requirement, labels)) &&
      fieldRequirements.every((requirement) => meetsRequirement(requirement, fields))
    );
  });
}
