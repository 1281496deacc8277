/**
 * What containers of every kind have: names, images, ports, environment, mounts and resources, in upstream's words.
 * Pure; problems are collected. Called by container-lists.ts.
 */

import { validateEnv, validateEnvFrom, validateFileVolumes } from "./env-validation.ts";
import {
  checkBoolean,
  checkEnum,
  checkObject,
  checkUnique,
  child,
  entriesOf,
  type Field,
  integerOf,
  invalidValue,
  itemsOf,
  notFoundValue,
  objectsOf,
  type Problems,
  required,
  textOf,
} from "./field-errors.ts";
import { checkFormat, DNS_LABEL } from "./metadata-validation.ts";
import { comparableQuantity } from "./quantity.ts";

const FLAGS = ["stdin", "stdinOnce", "tty"];
export const PROTOCOLS = ["SCTP", "TCP", "UDP"];

/** The names of the volumes of a pod. */
export interface VolumeNames {
  readonly all: ReadonlySet<unknown>;
  readonly emptyDirs: ReadonlySet<unknown>;
}

export function validateContainer(
  container: Field,
  volumes: VolumeNames,
  problems: Problems,
): void {
  const name = child(container, "name");
  if (name.value === undefined || name.value === "") problems.push(required(name));
  else checkFormat(name, DNS_LABEL, problems);
  const image = child(container, "image");
  const text = textOf(image, problems);
  if (image.value === undefined || text === "") problems.push(required(image));
  else if (text !== undefined && text.trim() !== text)
    problems.push(invalidValue(image, "must not have leading or trailing whitespace"));
  checkEnum(child(container, "imagePullPolicy"), ["Always", "IfNotPresent", "Never"], problems);
  const messagePolicy = child(container, "terminationMessagePolicy");
  checkEnum(messagePolicy, ["FallbackToLogsOnError", "File"], problems);
  for (const list of ["command", "args"]) checkTexts(child(container, list), problems);
  for (const flag of FLAGS) checkBoolean(child(container, flag), problems);
  for (const path of ["workingDir", "terminationMessagePath"])
    textOf(child(container, path), problems);
  validatePorts(child(container, "ports"), problems);
  validateEnv(child(container, "env"), problems);
  validateEnvFrom(child(container, "envFrom"), problems);
  validateFileVolumes(child(container, "env"), volumes.emptyDirs, problems);
  validateMounts(child(container, "volumeMounts"), volumes.all, problems);
  validateResources(child(container, "resources"), problems);
  validateSecurityContext(child(container, "securityContext"), problems);
}

export function checkTexts(list: Field, problems: Problems): void {
  for (const item of itemsOf(list, problems)) {
    // Go reads null as "" here, but nobody means that.
    if (item.value === null) problems.push(required(item));
    else textOf(item, problems);
  }
}

/** A port number; `isRequired` when 0 and absence are refused too. */
export function checkPort(port: Field, isRequired: boolean, problems: Problems): void {
  const number = integerOf(port, problems);
  if (port.value === undefined) {
    if (isRequired) problems.push(required(port));
    return;
  }
  if (number === undefined || (number === 0 && !isRequired)) return;
  if (number < 1 || number > 65_535)
    problems.push(invalidValue(port, "must be between 1 and 65535, inclusive"));
}

/** A number or the name of a port. */
export function checkPortOrName(port: Field, problems: Problems): void {
  if (port.value === undefined) problems.push(required(port));
  else if (typeof port.value !== "string") checkPort(port, true, problems);
  else if (!isPortName(port.value))
    problems.push(invalidValue(port, "must be a valid port name (IANA_SVC_NAME)"));
}

function isPortName(name: string): boolean {
  const isForm = /^[a-z0-9]+(-[a-z0-9]+)*$/.test(name);
  return isForm && name.length <= 15 && /[a-z]/.test(name);
}

function validatePorts(ports: Field, problems: Problems): void {
  const list = objectsOf(ports, problems);
  for (const port of list) {
    const name = child(port, "name");
    const text = textOf(name, problems) ?? "";
    if (text !== "" && !isPortName(text))
      problems.push(invalidValue(name, "must be a valid port name (IANA_SVC_NAME)"));
    checkPort(child(port, "containerPort"), true, problems);
    checkPort(child(port, "hostPort"), false, problems);
    checkEnum(child(port, "protocol"), PROTOCOLS, problems);
    textOf(child(port, "hostIP"), problems);
  }
  const names = list.map((port) => child(port, "name")).filter(({ value }) => value !== "");
  checkUnique(names, problems);
}

function validateMounts(mounts: Field, volumes: ReadonlySet<unknown>, problems: Problems): void {
  const list = objectsOf(mounts, problems);
  for (const mount of list) {
    const name = child(mount, "name");
    const text = textOf(name, problems);
    if (name.value === undefined || text === "") problems.push(required(name));
    else if (text !== undefined && !volumes.has(text)) problems.push(notFoundValue(name));
    const path = child(mount, "mountPath");
    if (!textOf(path, problems)) problems.push(required(path));
    checkBoolean(child(mount, "readOnly"), problems);
    const [subPath, subPathExpr] = [child(mount, "subPath"), child(mount, "subPathExpr")];
    for (const field of [subPath, subPathExpr]) {
      const inside = textOf(field, problems) ?? "";
      if (inside.startsWith("/")) problems.push(invalidValue(field, "must be a relative path"));
      if (inside.split("/").includes(".."))
        problems.push(invalidValue(field, "must not contain '..'"));
    }
    if (subPath.value && subPathExpr.value)
      problems.push(invalidValue(subPathExpr, "subPathExpr and subPath are mutually exclusive"));
  }
  const paths = list.map((mount) => child(mount, "mountPath"));
  const seen = new Set<unknown>();
  for (const path of paths) {
    if (seen.has(path.value) && path.value !== undefined)
      problems.push(invalidValue(path, "must be unique"));
    seen.add(path.value);
  }
}

export function validateResources(resources: Field, problems: Problems): void {
  if (!checkObject(resources, problems)) return;
  const limits = quantities(child(resources, "limits"), problems);
  const requests = quantities(child(resources, "requests"), problems);
  for (const [name, request] of requests) {
    const limit = limits.get(name);
    if (limit === undefined || request.size <= limit.size) continue;
    const field = { path: `${resources.path}.requests`, value: request.text };
    problems.push(
      invalidValue(field, `must be less than or equal to ${name} limit of ${limit.text}`),
    );
  }
}

interface Amount {
  readonly text: string;
  readonly size: bigint;
}

/** The quantities of a map; others and negative ones are reported. */
export function quantities(map: Field, problems: Problems): ReadonlyMap<string, Amount> {
  const found = new Map<string, Amount>();
  for (const { key, ...field } of entriesOf(map, problems)) {
    const size = comparableQuantity(field.value);
    if (size === undefined) {
      const form = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$";
      problems.push(invalidValue(field, `quantities must match the regular expression '${form}'`));
    } else if (size < 0n) problems.push(invalidValue(field, "must be greater than or equal to 0"));
    else found.set(key, { text: String(field.value), size });
  }
  return found;
}

function validateSecurityContext(context: Field, problems: Problems): void {
  if (!checkObject(context, problems)) return;
  for (const flag of [
    "privileged",
    "readOnlyRootFilesystem",
    "allowPrivilegeEscalation",
    "runAsNonRoot",
  ])
    checkBoolean(child(context, flag), problems);
  for (const id of ["runAsUser", "runAsGroup"]) integerOf(child(context, id), problems);
  const capabilities = child(context, "capabilities");
  if (!checkObject(capabilities, problems)) return;
  for (const list of ["add", "drop"]) checkTexts(child(capabilities, list), problems);
}
