/**
 * The difference between the status the API server has and the one it should have, as a strategic merge patch of only
 * what this agent owns. Pure; undefined when there is nothing to write. Used by status-writer.ts.
 */

import { isDeepStrictEqual } from "node:util";
import type { Pod, PodStatus } from "../api/types.ts";
import { canonicalJson } from "../core/hash.ts";
import { OWNED_CONDITIONS } from "./conditions.ts";

const OWNED_FIELDS = [
  "observedGeneration",
  "phase",
  "reason",
  "message",
  "hostIP",
  "podIP",
  "startTime",
  "initContainerStatuses",
  "containerStatuses",
  "ephemeralContainerStatuses",
  "qosClass",
  "resources",
  "allocatedResources",
] as const satisfies readonly (keyof PodStatus)[];

function isEqual(a: unknown, b: unknown): boolean {
  // Mostly it is, and to see that costs less than two texts.
  return isDeepStrictEqual(a, b) || canonicalJson(a ?? null) === canonicalJson(b ?? null);
}

/** Body for PATCH pods/status; the uid keeps it from reaching a namesake. */
export function computeStatusPatch(
  pod: Pod,
  current: PodStatus,
  desired: PodStatus,
): object | undefined {
  const status: Record<string, unknown> = {};
  for (const field of OWNED_FIELDS) {
    const wanted = desired[field];
    if (Array.isArray(wanted) && wanted.length === 0 && current[field] === undefined) continue;
    if (!isEqual(current[field], wanted)) status[field] = wanted ?? null;
  }
  const conditions = conditionsPatch(current, desired);
  if (conditions.length > 0) status.conditions = conditions;
  for (const field of ["hostIPs", "podIPs"] as const) {
    const ips = ipsPatch(current[field], desired[field]);
    if (ips.length > 0) status[field] = ips;
  }
  if (Object.keys(status).length === 0) return undefined;
  return { metadata: { uid: pod.metadata.uid }, status };
}

/** True when nothing happened between two versions of a pod but our write of `desired`: nothing needs a look. */
export function isEcho(before: Pod, after: Pod, desired: PodStatus): boolean {
  if (computeStatusPatch(after, after.status ?? {}, desired) !== undefined) return false;
  return isEqual(withoutOwned(before), withoutOwned(after));
}

function withoutOwned({ metadata, status = {}, ...rest }: Pod): object {
  const owned = new Set<string>([...OWNED_FIELDS, "hostIPs", "podIPs", "conditions"]);
  const types = new Set<string | undefined>(OWNED_CONDITIONS);
  return {
    ...rest,
    metadata: { ...metadata, resourceVersion: "", managedFields: [] },
    status: Object.fromEntries(Object.entries(status).filter(([field]) => !owned.has(field))),
    conditions: status.conditions?.filter(({ type }) => !types.has(type)) ?? [],
  };
}

/** Merged by type: null takes away a reason or message that no longer holds, `$patch` a whole condition. */
function conditionsPatch(current: PodStatus, desired: PodStatus): readonly object[] {
  return OWNED_CONDITIONS.flatMap((type): readonly object[] => {
    const wanted = desired.conditions?.find((condition) => condition.type === type);
    const stored = current.conditions?.find((condition) => condition.type === type);
    if (wanted === undefined) return stored === undefined ? [] : [{ type, $patch: "delete" }];
    const { lastProbeTime: _, ...comparable } = stored ?? {};
    if (isEqual(comparable, wanted)) return [];
    return [
      {
        ...wanted,
        ...(stored?.reason !== undefined && wanted.reason === undefined ? { reason: null } : {}),
        ...(stored?.message !== undefined && wanted.message === undefined ? { message: null } : {}),
      },
    ];
  });
}

/** Merged by ip: an address that went must be named to go. */
function ipsPatch(
  before: readonly { readonly ip?: string }[] = [],
  wanted: readonly { readonly ip?: string }[] = [],
): readonly object[] {
  if (isEqual(before, wanted)) return [];
  const gone = before.filter(({ ip }) => !wanted.some((other) => other.ip === ip));
  return [...gone.map(({ ip }) => ({ ip, $patch: "delete" })), ...wanted];
}
