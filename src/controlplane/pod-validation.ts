/**
 * Pod specs on create, and what of a pod an update may change, in upstream's words. Pure; problems are collected.
 * Called by validation.ts.
 */

import { isDeepStrictEqual } from "node:util";
import { checkTexts, validateContainer } from "./container-validation.ts";
import {
  checkBoolean,
  checkEnum,
  checkObject,
  checkUnique,
  child,
  duplicate,
  type Field,
  forbiddenField,
  integerOf,
  invalidValue,
  objectsOf,
  type Problems,
  required,
  textOf,
} from "./field-errors.ts";
import { checkFormat, DNS_LABEL, DNS_SUBDOMAIN, validateLabels } from "./metadata-validation.ts";
import { at, isObject, type KubeObject, listAt } from "./objects.ts";
import { MIRROR_ANNOTATION } from "./pod-references.ts";

const DNS_POLICIES = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const EFFECTS = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
const FLAGS = [
  "automountServiceAccountToken",
  "enableServiceLinks",
  "hostIPC",
  "hostNetwork",
  "hostPID",
  "hostUsers",
  "setHostnameAsFQDN",
  "shareProcessNamespace",
];
const CONTAINER_LISTS = ["initContainers", "containers", "ephemeralContainers"] as const;

export function validatePod(spec: Field, problems: Problems): void {
  if (!checkObject(spec, problems)) return;
  const volumes = validateVolumes(child(spec, "volumes"), problems);
  validateContainers(spec, volumes, problems);
  checkEnum(child(spec, "restartPolicy"), ["Always", "OnFailure", "Never"], problems);
  checkEnum(child(spec, "dnsPolicy"), DNS_POLICIES, problems);
  for (const flag of FLAGS) checkBoolean(child(spec, flag), problems);
  for (const name of ["nodeName", "serviceAccountName"]) {
    const field = child(spec, name);
    if (field.value !== "") checkFormat(field, DNS_SUBDOMAIN, problems);
  }
  for (const name of ["hostname", "subdomain"]) {
    const field = child(spec, name);
    if (field.value !== "") checkFormat(field, DNS_LABEL, problems);
  }
  for (const name of ["schedulerName", "priorityClassName", "runtimeClassName"])
    textOf(child(spec, name), problems);
  integerOf(child(spec, "priority"), problems);
  validateDurations(spec, problems);
  validateLabels(child(spec, "nodeSelector"), problems);
  validateTolerations(child(spec, "tolerations"), problems);
  validatePodSecurity(child(spec, "securityContext"), problems);
  checkObject(child(spec, "affinity"), problems);
  checkObject(child(spec, "dnsConfig"), problems);
  for (const list of ["imagePullSecrets", "readinessGates"]) objectsOf(child(spec, list), problems);
  for (const alias of objectsOf(child(spec, "hostAliases"), problems)) {
    textOf(child(alias, "ip"), problems);
    checkTexts(child(alias, "hostnames"), problems);
  }
}

function validateContainers(spec: Field, volumes: ReadonlySet<unknown>, problems: Problems): void {
  const containers = child(spec, "containers");
  const isEmpty = Array.isArray(containers.value) && containers.value.length === 0;
  if (containers.value === undefined || isEmpty) problems.push(required(containers));
  const names = new Set<unknown>();
  for (const list of CONTAINER_LISTS) {
    for (const container of objectsOf(child(spec, list), problems)) {
      validateContainer(container, volumes, problems);
      const name = child(container, "name");
      if (typeof name.value === "string" && names.has(name.value)) problems.push(duplicate(name));
      names.add(name.value);
    }
  }
}

function validateVolumes(volumes: Field, problems: Problems): ReadonlySet<unknown> {
  const list = objectsOf(volumes, problems);
  for (const volume of list) {
    const name = child(volume, "name");
    if (name.value === undefined || name.value === "") problems.push(required(name));
    else checkFormat(name, DNS_LABEL, problems);
    if (!isObject(volume.value)) continue;
    const sources = Object.keys(volume.value).filter((field) => field !== "name");
    for (const source of sources) checkObject(child(volume, source), problems);
    for (const extra of sources.slice(1)) {
      const rule = "may not specify more than 1 volume type";
      problems.push(forbiddenField(child(volume, extra), rule));
    }
    validateSources(volume, problems);
  }
  const names = list.map((volume) => child(volume, "name"));
  checkUnique(names, problems);
  return new Set(names.map(({ value }) => value));
}

function validateSources(volume: Field, problems: Problems): void {
  const needed = [
    child(child(volume, "hostPath"), "path"),
    child(child(volume, "secret"), "secretName"),
    child(child(volume, "configMap"), "name"),
    child(child(volume, "persistentVolumeClaim"), "claimName"),
  ];
  for (const field of needed) {
    const source = field.path.split(".").at(-2) ?? "";
    if (child(volume, source).value === undefined) continue;
    if (!textOf(field, problems)) problems.push(required(field));
  }
  for (const source of ["secret", "configMap", "downwardAPI", "projected"]) {
    const mode = child(child(volume, source), "defaultMode");
    const number = integerOf(mode, problems);
    if (number !== undefined && (number < 0 || number > 0o777))
      problems.push(
        invalidValue(mode, "must be a number between 0 and 0777 (octal), both inclusive"),
      );
    objectsOf(child(child(volume, source), "items"), problems);
  }
  objectsOf(child(child(volume, "projected"), "sources"), problems);
}

function validateDurations(spec: Field, problems: Problems): void {
  const grace = child(spec, "terminationGracePeriodSeconds");
  if ((integerOf(grace, problems) ?? 0) < 0)
    problems.push(invalidValue(grace, "must be greater than or equal to 0"));
  const deadline = child(spec, "activeDeadlineSeconds");
  const seconds = integerOf(deadline, problems);
  if (seconds !== undefined && (seconds < 1 || seconds > 2_147_483_647))
    problems.push(invalidValue(deadline, "must be between 1 and 2147483647, inclusive"));
}

function validateTolerations(tolerations: Field, problems: Problems): void {
  for (const toleration of objectsOf(tolerations, problems)) {
    const operator = child(toleration, "operator");
    if (operator.value !== "") checkEnum(operator, ["Equal", "Exists"], problems);
    const effect = child(toleration, "effect");
    if (effect.value !== "") checkEnum(effect, EFFECTS, problems);
    for (const name of ["key", "value"]) textOf(child(toleration, name), problems);
    if (!child(toleration, "key").value && operator.value !== "Exists") {
      const rule =
        'operator must be Exists when `key` is empty, which means "match all values and all keys"';
      problems.push(invalidValue(operator, rule));
    }
    const seconds = integerOf(child(toleration, "tolerationSeconds"), problems);
    if (seconds !== undefined && effect.value !== "NoExecute")
      problems.push(
        invalidValue(effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"),
      );
  }
}

function validatePodSecurity(context: Field, problems: Problems): void {
  if (!checkObject(context, problems)) return;
  for (const id of ["runAsUser", "runAsGroup", "fsGroup"]) {
    const field = child(context, id);
    const number = integerOf(field, problems);
    if (number !== undefined && (number < 0 || number > 2_147_483_647))
      problems.push(invalidValue(field, "must be between 0 and 2147483647, inclusive"));
  }
  checkBoolean(child(context, "runAsNonRoot"), problems);
  for (const sysctl of objectsOf(child(context, "sysctls"), problems)) {
    for (const name of ["name", "value"]) textOf(child(sysctl, name), problems);
  }
}

/** What an update of the pod itself (not of its status) may not change. */
export function validatePodUpdate(pod: KubeObject, old: KubeObject, problems: Problems): void {
  const [after, before] = [pod.spec, old.spec];
  if (!isObject(after) || !isObject(before)) return;
  validateMirrorUpdate(pod, old, problems);
  validateDeadlineUpdate(after, before, problems);
  const kept = listAt(before, "tolerations");
  const given = listAt(after, "tolerations");
  const isKept = kept.every((toleration) =>
    given.some((other) => isDeepStrictEqual(withoutSeconds(other), withoutSeconds(toleration))),
  );
  if (!isKept) {
    const rule = "existing toleration can not be modified except its tolerationSeconds";
    problems.push(forbiddenField({ path: "spec.tolerations", value: given }, rule));
  }
  if (isDeepStrictEqual(fixedPart(after, before), fixedPart(before, before))) return;
  const rule =
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
  problems.push(forbiddenField({ path: "spec", value: after }, rule));
}

/** A pod is born a mirror pod or is none. */
function validateMirrorUpdate(pod: KubeObject, old: KubeObject, problems: Problems): void {
  const after = at(pod, "metadata", "annotations", MIRROR_ANNOTATION);
  const before = at(old, "metadata", "annotations", MIRROR_ANNOTATION);
  if (after === before) return;
  const path = `metadata.annotations[${MIRROR_ANNOTATION}]`;
  const what = before === undefined ? "add" : "remove or update";
  problems.push(forbiddenField({ path, value: after }, `may not ${what} mirror pod annotation`));
}

function withoutSeconds(toleration: unknown): unknown {
  return isObject(toleration) ? { ...toleration, tolerationSeconds: undefined } : toleration;
}

/** The spec with what may change taken from `before`. */
function fixedPart(
  spec: Readonly<Record<string, unknown>>,
  before: Readonly<Record<string, unknown>>,
): unknown {
  const { tolerations, activeDeadlineSeconds, ...rest } = spec;
  const grace = before.terminationGracePeriodSeconds;
  const isRepair =
    typeof grace === "number" && grace < 0 && rest.terminationGracePeriodSeconds === 1;
  return {
    ...rest,
    ...(isRepair ? { terminationGracePeriodSeconds: grace } : {}),
    containers: withoutImages(spec.containers),
    initContainers: withoutImages(spec.initContainers),
  };
}

function withoutImages(containers: unknown): unknown {
  if (!Array.isArray(containers)) return containers;
  return containers.map((container: unknown) =>
    isObject(container) ? { ...container, image: undefined } : container,
  );
}

function validateDeadlineUpdate(
  after: Readonly<Record<string, unknown>>,
  before: Readonly<Record<string, unknown>>,
  problems: Problems,
): void {
  const field = { path: "spec.activeDeadlineSeconds", value: after.activeDeadlineSeconds };
  const was = before.activeDeadlineSeconds;
  if (typeof was !== "number" || field.value === was) return;
  if (field.value === undefined)
    problems.push(invalidValue(field, "must not update from a positive integer to nil value"));
  else if (typeof field.value === "number" && field.value > was)
    problems.push(invalidValue(field, `must be less than or equal to previous value ${was}`));
}
