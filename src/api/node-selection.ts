/**
 * Does a pod's nodeSelector and required node affinity, or a volume's, allow a node? Pure. The control plane asks it when
 * it places a pod, the agent when it takes one on and when it mounts a PersistentVolume.
 */

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

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
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
      expressions.every((requirement) => isMet(requirement, labels)) &&
      fieldRequirements.every((requirement) => isMet(requirement, fields))
    );
  });
}

function isMet(requirement: Requirement, labels: Readonly<Record<string, string>>): boolean {
  const value = labels[requirement.key];
  const values = requirement.values ?? [];
  switch (requirement.operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return value !== undefined && Number(value) > Number(values[0]);
    case "Lt":
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}
