/**
 * The downward API for environment variables: fieldRef and resourceFieldRef to text. Pure. Throws ContainerConfigInvalid
 * for a path that does not exist. Used by env.ts.
 */

import type { Container, Pod } from "../api/types.ts";
import { LongshoreError } from "../core/errors.ts";
import type { PodFacts } from "../volumes/volumes.ts";

const SUFFIXES: Readonly<Record<string, number>> = {
  "": 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

function parseQuantity(quantity: string | number): number {
  const match = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)$/.exec(String(quantity));
  const factor = SUFFIXES[match?.[2] ?? ""];
  if (match === null || factor === undefined)
    throw new LongshoreError("ContainerConfigInvalid", `"${quantity}" is not a quantity`);
  return Number(match[1]) * factor;
}

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
  const value = set === undefined ? nodeDefault(facts, kind, name) : parseQuantity(set);
  const unit = divisor === undefined || parseQuantity(divisor) === 0 ? 1 : parseQuantity(divisor);
  // Floating point must not push 0.25 / 0.001 over the next integer.
  return String(Math.ceil(Number((value / unit).toPrecision(12))));
}

function nodeDefault(facts: PodFacts, kind: "limits" | "requests", name: string): number {
  if (kind === "requests") return 0;
  const allocatable = facts.allocatable[name] ?? 0;
  return name === "cpu" ? allocatable / 1000 : allocatable;
}
