/**
 * The downward API for environment variables: fieldRef and resourceFieldRef to text. Pure. Throws ContainerConfigInvalid
 * for a path that does not exist. Used by env.ts.
 */

import { parseQuantity } from "../api/quantity.ts";
import type { Container, Pod } from "../api/types.ts";
import { LongshoreError } from "../core/errors.ts";
import type { PodFacts } from "../volumes/volumes.ts";

/** The text of `fieldPath` for this pod. */
export function resolveField(pod: Pod, facts: PodFacts, fieldPath: string): string {
  const { metadata, spec } = pod;
  const subscript = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(fieldPath);
  if (subscript !== null)
    return metadata[subscript[1] as "labels" | "annotations"]?.[subscript[2] ?? ""] ?? "";
  switch (fieldPath) {
    case "metadata.name":
      return metadata.name;
    case "metadata.namespace":
      return metadata.namespace;
    case "metadata.uid":
      return metadata.uid;
    case "spec.nodeName":
      return facts.nodeName;
    case "spec.serviceAccountName":
      return spec.serviceAccountName ?? "";
    case "status.hostIP":
      return facts.hostIps[0] ?? "";
    case "status.hostIPs":
      return facts.hostIps.join(",");
    case "status.podIP":
      return facts.podIps[0] ?? "";
    case "status.podIPs":
      return facts.podIps.join(",");
    default:
      throw new LongshoreError("ContainerConfigInvalid", `unsupported fieldPath: ${fieldPath}`);
  }
}

/** Limits or requests of a container in units of `divisor`, rounded up; the node's allocatable where no limit is. */
export function resolveResource(
  container: Container,
  facts: PodFacts,
  resource: string,
  divisor: string | number | undefined,
): string {
  const [kind, ...rest] = resource.split(".");
  const name = rest.join(".");
  if ((kind !== "limits" && kind !== "requests") || name === "")
    throw new LongshoreError(
      "ContainerConfigInvalid",
      `unsupported container resource : ${resource}`,
    );
  const { limits, requests } = container.resources ?? {};
  const set = kind === "limits" ? limits?.[name] : (requests?.[name] ?? limits?.[name]);
  const amount = parseQuantity(set ?? nodeDefault(facts, kind, name));
  const asked = parseQuantity(divisor ?? 0);
  const unit = asked === 0n ? parseQuantity(1) : asked;
  return String((amount + unit - 1n) / unit);
}

function nodeDefault(facts: PodFacts, kind: "limits" | "requests", name: string): string {
  const allocatable = kind === "requests" ? 0 : (facts.allocatable[name] ?? 0);
  return name === "cpu" ? `${allocatable}m` : String(allocatable);
}
