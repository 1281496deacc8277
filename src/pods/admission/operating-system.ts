/** Whether the pod is for the operating system of this node. Pure; the kubelet's reasons and messages. */

import type { PodSpec } from "../../api/types.ts";
import type { Verdict } from "../snapshot.ts";

export function computeOsVerdict(spec: PodSpec): Verdict | undefined {
  const selected = spec.nodeSelector?.["kubernetes.io/os"];
  if (selected !== undefined && selected !== "linux")
    return {
      reason: "PodOSSelectorNodeLabelDoesNotMatch",
      message: "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
    };
  const os = spec.os?.name;
  if (os !== undefined && os !== "" && os !== "linux")
    return {
      reason: "PodOSNotSupported",
      message: "Failed to admit pod as the OS field doesn't match node OS",
    };
  return undefined;
}
