/**
 * Does a pod's nodeSelector and required node affinity allow a node? Pure. The control plane asks it when it places a
 * pod, the agent when it takes one on.
 */

import type { Pod } from "./types.ts";

interface NodeIdentity {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
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
  if (required === undefined) return true;
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
