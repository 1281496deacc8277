/**
 * What a pod's spec asks for and its host cannot give, but which keeps no pod from running, as with the kubelet. Pure.
 * Told in `longshore explain pod`, and once in the log (admission/admitter.ts).
 */

import type { PodSpec } from "../api/types.ts";
import { containersOf } from "./containers.ts";
import type { NodeFacts } from "./node-facts.ts";

/** One sentence for each, for people. */
export function findIgnored(
  spec: PodSpec,
  { hasSeLinux }: Pick<NodeFacts, "hasSeLinux">,
): readonly string[] {
  const parts = [spec, ...containersOf(spec).map((container) => container.spec)];
  const asksForSeLinux = parts.some(
    ({ securityContext }) => securityContext?.seLinuxOptions !== undefined,
  );
  if (!asksForSeLinux || hasSeLinux) return [];
  return ["seLinuxOptions: SELinux is not enabled in this node's Engine"];
}
