/**
 * The downward API for environment variables: a fieldRef to text. Volumes have fewer fields, in
 * volumes/kinds/downward-api.ts. Pure; throws for a path that does not exist. Used by env.ts.
 */

import type { Pod } from "../api/types.ts";
import { fieldText } from "../volumes/kinds/downward-api.ts";
import type { PodFacts } from "../volumes/volumes.ts";

/** The text of `fieldPath` for this pod. */
export function resolveField(pod: Pod, facts: PodFacts, fieldPath: string): string {
  switch (fieldPath) {
    case "spec.nodeName":
      return facts.nodeName;
    case "spec.serviceAccountName":
      return pod.spec.serviceAccountName ?? "";
    case "status.hostIP":
      return facts.hostIps[0] ?? "";
    case "status.hostIPs":
      return facts.hostIps.join(",");
    case "status.podIP":
      return facts.podIps[0] ?? "";
    case "status.podIPs":
      return facts.podIps.join(",");
    default:
      return fieldText(pod, fieldPath);
  }
}
