/**
 * Whether the host can confine the containers as their AppArmor profiles ask. Pure; the kubelet's reason and messages.
 * Called by admission.ts.
 */

import type { PodSpec } from "../../api/types.ts";
import type { Verdict } from "../snapshot.ts";

export function computeAppArmorVerdict(spec: PodSpec, hasAppArmor: boolean): Verdict | undefined {
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const profiles = [spec, ...containers].flatMap(
    ({ securityContext }) => securityContext?.appArmorProfile ?? [],
  );
  const asked = profiles.filter(({ type }) => type !== "Unconfined");
  if (asked.length === 0) return undefined;
  if (!hasAppArmor) return refuse("AppArmor is not enabled on the host");
  const isNameless = asked.some(
    ({ type, localhostProfile }) => type === "Localhost" && !localhostProfile?.trim(),
  );
  return isNameless ? refuse('invalid AppArmor profile name: ""') : undefined;
}

function refuse(why: string): Verdict {
  return { reason: "AppArmor", message: `Cannot enforce AppArmor: ${why}` };
}
