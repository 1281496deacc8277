/**
 * What an update of a pod, of its ephemeral containers and of its status may change, in upstream's words. Pure;
 * problems are collected. Called by validation.ts.
 */

import { isDeepStrictEqual } from "node:util";
import { forbiddenField, invalidValue, type Problems } from "./field-errors.ts";
import { at, isObject, type KubeObject, listAt, textAt } from "./objects.ts";
import { MIRROR_ANNOTATION } from "./pod-references.ts";

const RESTART_ALL = "RestartAllContainers";

/** What an update of the pod itself (not of its status) may not change. */
export function validatePodUpdate(pod: KubeObject, old: KubeObject, problems: Problems): void {
  const [after, before] = [pod.spec, old.spec];
  if (!isObject(after) || !isObject(before)) return;
  for (const list of ["containers", "initContainers"]) {
    if (listAt(after, list).length === listAt(before, list).length) continue;
    const field = { path: `spec.${list}`, value: undefined };
    return void problems.push(
      forbiddenField(field, "pod updates may not add or remove containers"),
    );
  }
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
  const gates = listAt(before, "schedulingGates").map((gate) => textAt(gate, "name"));
  for (const [index, gate] of listAt(after, "schedulingGates").entries()) {
    const name = textAt(gate, "name");
    if (gates.includes(name)) continue;
    const field = { path: `spec.schedulingGates[${index}].name`, value: name };
    const rule = `only deletion is allowed, but found new scheduling gate '${name}'`;
    problems.push(forbiddenField(field, rule));
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
  const { tolerations, activeDeadlineSeconds, schedulingGates, ...rest } = spec;
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
    problems.push(invalidValue(field, "must be less than or equal to previous value"));
}

/** pods/ephemeralcontainers: what is there stays as it is; the order may change. */
export function validateEphemeralUpdate(
  pod: KubeObject,
  old: KubeObject,
  problems: Problems,
): void {
  const refuse = (path: string, rule: string) =>
    problems.push(forbiddenField({ path, value: undefined }, rule));
  if (at(old, "metadata", "annotations", MIRROR_ANNOTATION) !== undefined)
    return void refuse("", "static pods do not support ephemeral containers");
  const given = listAt(pod, "spec", "ephemeralContainers");
  for (const before of listAt(old, "spec", "ephemeralContainers")) {
    const name = textAt(before, "name");
    const after = given.find((container) => textAt(container, "name") === name);
    if (isDeepStrictEqual(after, before)) continue;
    const verb = after === undefined ? "removed" : "changed";
    refuse(
      "spec.ephemeralContainers",
      `existing ephemeral containers "${name}" may not be ${verb}`,
    );
  }
}

/** Nobody brings back to life what must not run again. */
export function validateStateTransitions(
  pod: KubeObject,
  old: KubeObject,
  problems: Problems,
): void {
  const policy = textAt(old, "spec", "restartPolicy");
  const specs = [...listAt(old, "spec", "containers"), ...listAt(old, "spec", "initContainers")];
  const isExempt = (name: string) =>
    specs.some((spec) => at(spec, "restartPolicy") !== undefined && textAt(spec, "name") === name);
  const areAllRestarted = specs.some((spec) =>
    listAt(spec, "restartPolicyRules").some((rule) => at(rule, "action") === RESTART_ALL),
  );
  const check = (list: string, restartPolicy: string) => {
    if (restartPolicy === "Always") return;
    for (const [index, before] of listAt(old, "status", list).entries()) {
      const exitCode = at(before, "state", "terminated", "exitCode");
      if (exitCode === undefined || (exitCode !== 0 && restartPolicy === "OnFailure")) continue;
      const name = textAt(before, "name");
      if (isExempt(name)) continue;
      const isAlive = listAt(pod, "status", list).some(
        (after) => textAt(after, "name") === name && at(after, "state", "terminated") === undefined,
      );
      const field = { path: `status.${list}[${index}].state`, value: undefined };
      if (isAlive)
        problems.push(forbiddenField(field, "may not be transitioned to non-terminated state"));
    }
  };
  check("ephemeralContainerStatuses", "Never");
  if (areAllRestarted) return;
  check("containerStatuses", policy);
  check("initContainerStatuses", policy);
}
