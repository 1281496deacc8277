/** The spec of a pod, in upstream's words. Pure; problems are collected. Called by validation.ts. */

import { validateContainers } from "./container-lists.ts";
import { checkTexts, type VolumeNames, validateResources } from "./container-validation.ts";
import { validateDownwardItems } from "./env-validation.ts";
import {
  checkBoolean,
  checkEnum,
  checkObject,
  checkUnique,
  child,
  type Field,
  forbiddenField,
  integerOf,
  invalidValue,
  objectsOf,
  type Problems,
  required,
  textOf,
} from "./field-errors.ts";
import {
  checkFormat,
  checkQualifiedName,
  DNS_LABEL,
  DNS_SUBDOMAIN,
  validateLabels,
} from "./metadata-validation.ts";
import { isObject } from "./objects.ts";
import { validateProjection } from "./projection-validation.ts";

const DNS_POLICIES = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
/** What the kernel takes. */
const MAX_HOSTNAME = 64;
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

export function validatePod(spec: Field, problems: Problems): void {
  if (!checkObject(spec, problems)) return;
  const volumes = validateVolumes(child(spec, "volumes"), problems);
  validateContainers(spec, volumes, problems);
  validateResources(child(spec, "resources"), problems);
  checkEnum(child(spec, "restartPolicy"), ["Always", "OnFailure", "Never"], problems);
  checkEnum(child(spec, "dnsPolicy"), DNS_POLICIES, problems);
  for (const flag of FLAGS) checkBoolean(child(spec, flag), problems);
  for (const name of ["nodeName", "serviceAccountName"]) {
    const field = child(spec, name);
    if (field.value !== "") checkFormat(field, DNS_SUBDOMAIN, problems);
  }
  validateHostnames(spec, problems);
  for (const name of ["schedulerName", "priorityClassName", "runtimeClassName"])
    textOf(child(spec, name), problems);
  integerOf(child(spec, "priority"), problems);
  validateDurations(spec, problems);
  validateLabels(child(spec, "nodeSelector"), problems);
  validateTolerations(child(spec, "tolerations"), problems);
  validatePodSecurity(child(spec, "securityContext"), problems);
  checkObject(child(spec, "affinity"), problems);
  checkObject(child(spec, "dnsConfig"), problems);
  checkObject(child(spec, "os"), problems);
  checkEnum(child(child(spec, "os"), "name"), ["linux", "windows"], problems);
  objectsOf(child(spec, "imagePullSecrets"), problems);
  for (const gate of objectsOf(child(spec, "readinessGates"), problems)) {
    const type = child(gate, "conditionType");
    checkQualifiedName({ path: type.path, value: type.value ?? "" }, problems);
  }
  for (const alias of objectsOf(child(spec, "hostAliases"), problems)) {
    textOf(child(alias, "ip"), problems);
    checkTexts(child(alias, "hostnames"), problems);
  }
}

function validateHostnames(spec: Field, problems: Problems): void {
  for (const name of ["hostname", "subdomain"]) {
    const field = child(spec, name);
    if (field.value !== "") checkFormat(field, DNS_LABEL, problems);
  }
  const override = child(spec, "hostnameOverride");
  if (override.value === undefined) return;
  checkFormat(override, { ...DNS_SUBDOMAIN, limit: MAX_HOSTNAME }, problems);
  for (const name of ["setHostnameAsFQDN", "hostNetwork"]) {
    if (child(spec, name).value === true)
      problems.push(forbiddenField(override, `may not be set when \`${name}\` is true`));
  }
}

function validateVolumes(volumes: Field, problems: Problems): VolumeNames {
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
  const emptyDirs = list.filter((volume) => child(volume, "emptyDir").value !== undefined);
  return {
    all: new Set(names.map(({ value }) => value)),
    emptyDirs: new Set(emptyDirs.map((volume) => child(volume, "name").value)),
  };
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
    if (source !== "downwardAPI") objectsOf(child(child(volume, source), "items"), problems);
  }
  validateDownwardItems(child(child(volume, "downwardAPI"), "items"), problems);
  for (const source of objectsOf(child(child(volume, "projected"), "sources"), problems)) {
    validateDownwardItems(child(child(source, "downwardAPI"), "items"), problems);
    validateProjection(source, problems);
  }
}

function validateDurations(spec: Field, problems: Problems): void {
  // Upstream takes negative ones too, and deletes such pods with 1.
  integerOf(child(spec, "terminationGracePeriodSeconds"), problems);
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
