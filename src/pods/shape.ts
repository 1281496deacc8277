/**
 * A pod as it came over the wire, before anything walks through it: a spec whose lists are no lists is replaced by an
 * empty one, and the problem named, so that no other part needs to mistrust a type. A genuine API server never sends
 * such a pod. Pure; used by records.ts at the door.
 */

import { parseQuantity, type WireQuantity } from "../api/quantity.ts";
import type { Pod } from "../api/types.ts";
import { hasCode } from "../core/errors.ts";

const CONTAINER_KINDS = ["containers", "initContainers", "ephemeralContainers"] as const;
const POD_LISTS = [...CONTAINER_KINDS, "volumes"] as const;
const SECONDS = ["activeDeadlineSeconds", "terminationGracePeriodSeconds"] as const;
const CONTAINER_LISTS = [
  "env",
  "envFrom",
  "ports",
  "volumeMounts",
  "volumeDevices",
  "restartPolicyRules",
  "resizePolicy",
] as const;

export interface SoundPod {
  readonly pod: Pod;
  /** What is wrong with the spec that came; undefined = the pod is as it came. */
  readonly problem?: string;
}

export function toSoundPod(pod: Pod): SoundPod {
  const problem = findProblem(pod.spec);
  return problem === undefined ? { pod } : { pod: { ...pod, spec: { containers: [] } }, problem };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Of a list that is sound; of one that is absent, none. */
function objectsIn(list: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(list) ? list : [];
}

function isListOfObjects(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.every(isObject));
}

function isQuantity(value: unknown): boolean {
  try {
    return parseQuantity(value as WireQuantity) >= 0n;
  } catch (error) {
    if (!hasCode(error, "ApiInvalid")) throw error;
    return false;
  }
}

function isResourceList(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return isObject(value) && Object.values(value).every(isQuantity);
}

/** What one pod requests is added to what the others do: it must be numbers. */
function hasSoundResources({ resources, overhead }: Readonly<Record<string, unknown>>): boolean {
  if (!isResourceList(overhead)) return false;
  if (resources === undefined || resources === null) return true;
  return (
    isObject(resources) && isResourceList(resources.requests) && isResourceList(resources.limits)
  );
}

function hasSoundRules({ restartPolicyRules }: Readonly<Record<string, unknown>>): boolean {
  return objectsIn(restartPolicyRules).every(
    ({ exitCodes = {} }) => isObject(exitCodes) && Array.isArray(exitCodes.values ?? []),
  );
}

function findProblem(spec: unknown): string | undefined {
  if (!isObject(spec)) return "spec is no object";
  if (!Array.isArray(spec.containers)) return "spec.containers is no list";
  if (!hasSoundResources(spec)) return "spec: resources or overhead are no quantities";
  const odd = SECONDS.find((field) => spec[field] !== undefined && !Number.isFinite(spec[field]));
  if (odd !== undefined) return `spec.${odd} is no number`;
  const broken = POD_LISTS.find((list) => !isListOfObjects(spec[list]));
  if (broken !== undefined) return `spec.${broken} is no list of objects`;
  for (const list of POD_LISTS) {
    const items = objectsIn(spec[list]);
    if (items.some(({ name }) => typeof name !== "string"))
      return `spec.${list}: a name is no text`;
    if (list === "volumes") continue;
    if (items.some(({ image = "" }) => typeof image !== "string"))
      return `spec.${list}: an image is no text`;
    if (!items.every(hasSoundResources)) return `spec.${list}: resources are no quantities`;
    const part = CONTAINER_LISTS.find((key) => items.some((item) => !isListOfObjects(item[key])));
    if (part !== undefined) return `spec.${list}: ${part} is no list of objects`;
    if (!items.every(hasSoundRules)) return `spec.${list}: the exit codes of a rule are no list`;
  }
  const names = CONTAINER_KINDS.flatMap((list) => objectsIn(spec[list]).map(({ name }) => name));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  return twice === undefined ? undefined : `spec: two containers are named ${twice}`;
}
