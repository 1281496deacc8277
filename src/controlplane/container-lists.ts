/**
 * The three lists of containers of a pod and what each allows: hooks and probes only for containers that keep running
 * (regular ones and sidecars), nearly nothing for ephemeral ones, names unique over all. In upstream's words; pure;
 * problems are collected. Called by pod-validation.ts.
 */

import { type VolumeNames, validateContainer } from "./container-validation.ts";
import {
  checkEnum,
  checkObject,
  child,
  duplicate,
  type Field,
  forbiddenField,
  integerOf,
  itemsOf,
  notFoundValue,
  objectsOf,
  type Problems,
  required,
  textOf,
  tooMany,
} from "./field-errors.ts";
import { type PodFacts, PROBES, validateLifecycle, validateProbes } from "./hook-validation.ts";
import { isObject } from "./objects.ts";
import { validateResizePolicy } from "./resize-validation.ts";

const MAX_RULES = 20;
const MAX_EXIT_CODES = 255;
/** Upstream's list of what an ephemeral container may have; all else is refused, new fields too. */
const EPHEMERAL_FIELDS: ReadonlySet<string> = new Set([
  "name",
  "targetContainerName",
  "image",
  "command",
  "args",
  "workingDir",
  "envFrom",
  "env",
  "volumeMounts",
  "volumeDevices",
  "terminationMessagePath",
  "terminationMessagePolicy",
  "imagePullPolicy",
  "securityContext",
  "stdin",
  "stdinOnce",
  "tty",
]);

export function validateContainers(spec: Field, volumes: VolumeNames, problems: Problems): void {
  const grace = child(spec, "terminationGracePeriodSeconds").value;
  const os = child(child(spec, "os"), "name").value;
  const pod: PodFacts = {
    graceSeconds: typeof grace === "number" ? grace : undefined,
    os: typeof os === "string" ? os : "",
  };
  const names = new Set<unknown>();
  const restartPolicy = child(spec, "restartPolicy").value;
  const each = (list: string, validate: (container: Field) => void): void => {
    for (const container of objectsOf(child(spec, list), problems)) {
      validateContainer(container, volumes, problems);
      if (list !== "ephemeralContainers")
        validateResizePolicy(child(container, "resizePolicy"), restartPolicy, problems);
      validate(container);
      const name = child(container, "name");
      if (typeof name.value === "string" && names.has(name.value)) problems.push(duplicate(name));
      names.add(name.value);
    }
  };
  const containers = child(spec, "containers");
  const isEmpty = Array.isArray(containers.value) && containers.value.length === 0;
  if (containers.value === undefined || isEmpty) problems.push(required(containers));
  each("containers", (container) => validateRunning(container, pod, problems));
  each("initContainers", (container) => validateInit(container, pod, problems));
  const targets = new Set(names);
  each("ephemeralContainers", (container) => validateEphemeral(container, targets, problems));
}

function validateRunning(container: Field, pod: PodFacts, problems: Problems): void {
  validateRestartPolicy(container, problems);
  validateProbes(container, pod, problems);
  validateLifecycle(child(container, "lifecycle"), pod, problems);
}

function validateInit(container: Field, pod: PodFacts, problems: Problems): void {
  if (child(container, "restartPolicy").value === "Always") {
    validateRunning(container, pod, problems);
    return;
  }
  validateRestartPolicy(container, problems);
  const rule = "may not be set for init containers without restartPolicy=Always";
  for (const name of ["lifecycle", ...PROBES]) {
    const field = child(container, name);
    if (field.value !== undefined) problems.push(forbiddenField(field, rule));
  }
}

function validateRestartPolicy(container: Field, problems: Problems): void {
  const policy = child(container, "restartPolicy");
  const list = child(container, "restartPolicyRules");
  checkEnum(policy, ["Always", "Never", "OnFailure"], problems);
  const rules = itemsOf(list, problems);
  if (policy.value === undefined && rules.length > 0)
    problems.push(required(policy, "must specify restartPolicy when restart rules are used"));
  if (rules.length > MAX_RULES) problems.push(tooMany(list, rules.length, MAX_RULES));
  for (const rule of rules) {
    if (checkObject(rule, problems)) validateRestartRule(rule, problems);
  }
}

function validateRestartRule(rule: Field, problems: Problems): void {
  const action = child(rule, "action");
  if (action.value === undefined) problems.push(required(action));
  checkEnum(action, ["Restart", "RestartAllContainers"], problems);
  const exitCodes = child(rule, "exitCodes");
  if (exitCodes.value === undefined) problems.push(required(exitCodes, "must be specified"));
  if (exitCodes.value === undefined || !checkObject(exitCodes, problems)) return;
  const operator = child(exitCodes, "operator");
  if (operator.value === undefined) problems.push(required(operator));
  checkEnum(operator, ["In", "NotIn"], problems);
  const values = child(exitCodes, "values");
  const codes = itemsOf(values, problems);
  for (const code of codes) integerOf(code, problems);
  if (codes.length > MAX_EXIT_CODES) problems.push(tooMany(values, codes.length, MAX_EXIT_CODES));
}

function validateEphemeral(
  container: Field,
  targets: ReadonlySet<unknown>,
  problems: Problems,
): void {
  const target = child(container, "targetContainerName");
  const name = textOf(target, problems) ?? "";
  if (name !== "" && !targets.has(name)) problems.push(notFoundValue(target));
  const refuse = (field: Field) =>
    problems.push(forbiddenField(field, "cannot be set for an Ephemeral Container"));
  const fields = isObject(container.value) ? Object.keys(container.value) : [];
  for (const field of fields.filter((it) => !EPHEMERAL_FIELDS.has(it))) {
    const given = child(container, field);
    if (!isZero(given.value)) refuse(given);
  }
  for (const mount of objectsOf(child(container, "volumeMounts"), [])) {
    for (const field of [child(mount, "subPath"), child(mount, "subPathExpr")])
      if (!isZero(field.value)) refuse(field);
  }
}

/** What Go's decoder cannot tell from an absent field. */
function isZero(value: unknown): boolean {
  if (value === undefined || value === "") return true;
  if (Array.isArray(value)) return value.length === 0;
  return isObject(value) && Object.keys(value).length === 0;
}
