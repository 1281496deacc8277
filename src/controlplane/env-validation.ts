/**
 * The environment of a container and the downward API, of volumes too, in upstream's words. Pure; problems are
 * collected. Called by container-validation.ts and, for volumes, by pod-validation.ts.
 */

import {
  checkObject,
  child,
  type Field,
  forbiddenField,
  invalidValue,
  notFoundValue,
  objectsOf,
  type Problems,
  required,
  textOf,
  tooLong,
  unsupported,
} from "./field-errors.ts";
import { checkQualifiedName } from "./metadata-validation.ts";
import { comparableQuantity } from "./quantity.ts";

const NAME_RULE =
  "a valid environment variable name must consist only of printable ASCII characters other than '='";
const NAME = /^[ -<>-~]+$/;
const MAX_FILE_KEY = 128;

/** What may be told of a pod. */
interface Downward {
  readonly fields: readonly string[];
  readonly isVolume: boolean;
}

const ENV: Downward = {
  fields: [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
  ],
  isVolume: false,
};
const VOLUME: Downward = {
  fields: [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
  ],
  isVolume: true,
};
/** Fields that the API knows as downward ones and refuses in one place or both. */
const CONVERTIBLE = new Set([
  ...ENV.fields,
  ...VOLUME.fields,
  ...["spec.restartPolicy", "spec.schedulerName", "status.phase"],
]);
const RESOURCES = ["cpu", "ephemeral-storage", "memory"].flatMap((name) => [
  `limits.${name}`,
  `requests.${name}`,
]);
const UNITS = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei".split(", ");

export function validateEnv(env: Field, problems: Problems): void {
  for (const variable of objectsOf(env, problems)) {
    const name = child(variable, "name");
    const text = textOf(name, problems);
    if (name.value === undefined || text === "") problems.push(required(name));
    else if (text !== undefined && !NAME.test(text)) problems.push(invalidValue(name, NAME_RULE));
    const value = textOf(child(variable, "value"), problems) ?? "";
    const source = child(variable, "valueFrom");
    if (source.value === undefined || !checkObject(source, problems)) continue;
    if (value !== "") {
      const field = { path: source.path, value: "" };
      problems.push(invalidValue(field, "may not be specified when `value` is not empty"));
    }
    validateSource(source, problems);
  }
}

const SOURCES: Readonly<Record<string, (ref: Field, problems: Problems) => void>> = {
  fieldRef: (ref, problems) => validateFieldRef(ref, ENV, problems),
  resourceFieldRef: (ref, problems) => validateResourceRef(ref, ENV, problems),
  configMapKeyRef: validateKeyRef,
  secretKeyRef: validateKeyRef,
  fileKeyRef: validateFileRef,
};

function validateSource(source: Field, problems: Problems): void {
  const kinds = Object.keys(SOURCES);
  const given = kinds.filter((kind) => child(source, kind).value !== undefined);
  for (const kind of given) {
    const ref = child(source, kind);
    if (checkObject(ref, problems)) SOURCES[kind]?.(ref, problems);
  }
  if (given.length === 1) return;
  const rule =
    given.length === 0
      ? `must specify one of: ${kinds.map((kind) => `\`${kind}\``).join(", ")}`
      : "may not have more than one field specified at a time";
  problems.push(invalidValue(source, rule));
}

function validateKeyRef(ref: Field, problems: Problems): void {
  requireText(child(ref, "key"), problems);
  textOf(child(ref, "name"), problems);
}

function validateFileRef(ref: Field, problems: Problems): void {
  for (const name of ["volumeName", "path", "key"]) requireText(child(ref, name), problems);
  const path = child(ref, "path");
  const steps = typeof path.value === "string" ? path.value.split("/") : [];
  if (steps[0] === "" && steps.length > 1)
    problems.push(invalidValue(path, "must be a relative path"));
  if (steps.includes("..")) problems.push(invalidValue(path, "must not contain '..'"));
  const key = child(ref, "key");
  if (typeof key.value !== "string" || key.value === "") return;
  if (key.value.length > MAX_FILE_KEY) problems.push(tooLong(key, MAX_FILE_KEY));
  else if (!NAME.test(key.value)) problems.push(invalidValue(key, NAME_RULE));
}

export function validateEnvFrom(envFrom: Field, problems: Problems): void {
  for (const source of objectsOf(envFrom, problems)) {
    const prefix = child(source, "prefix");
    const text = textOf(prefix, problems) ?? "";
    if (text !== "" && !NAME.test(text)) problems.push(invalidValue(prefix, NAME_RULE));
    const given = ["configMapRef", "secretRef"].map((kind) => child(source, kind));
    const present = given.filter(({ value }) => value !== undefined);
    for (const ref of present) {
      if (checkObject(ref, problems)) requireText(child(ref, "name"), problems);
    }
    if (present.length !== 1)
      problems.push(invalidValue(source, "must specify one of: `configMapRef` or `secretRef`"));
  }
}

/** A file of variables must be in an emptyDir: `volumes` are the names of those. */
export function validateFileVolumes(
  env: Field,
  volumes: ReadonlySet<unknown>,
  problems: Problems,
): void {
  for (const variable of objectsOf(env, [])) {
    const volume = child(child(child(variable, "valueFrom"), "fileKeyRef"), "volumeName");
    if (typeof volume.value !== "string" || volume.value === "" || volumes.has(volume.value))
      continue;
    problems.push(notFoundValue(volume));
  }
}

/** The items of a downwardAPI volume or projection. */
export function validateDownwardItems(items: Field, problems: Problems): void {
  for (const item of objectsOf(items, problems)) {
    requireText(child(item, "path"), problems);
    const [field, resource] = [child(item, "fieldRef"), child(item, "resourceFieldRef")];
    const given = [field, resource].filter(({ value }) => value !== undefined);
    if (given.length === 0) {
      problems.push(required(item, "one of fieldRef and resourceFieldRef is required"));
      continue;
    }
    if (!given.every((ref) => checkObject(ref, problems))) continue;
    if (field.value !== undefined) validateFieldRef(field, VOLUME, problems);
    else validateResourceRef(resource, VOLUME, problems);
    if (given.length > 1) {
      const rule = "fieldRef and resourceFieldRef can not be specified simultaneously";
      problems.push(forbiddenField(item, rule));
    }
  }
}

function validateFieldRef(ref: Field, { fields }: Downward, problems: Problems): void {
  const field = child(ref, "fieldPath");
  const path = requireText(field, problems);
  if (path === undefined) return;
  const subscript = /^metadata\.(labels|annotations)\['(.*)'\]$/s.exec(path);
  if (subscript !== null) {
    const [, map, key = ""] = subscript;
    const value = map === "annotations" ? key.toLowerCase() : key;
    checkQualifiedName({ path: field.path, value }, problems);
  } else if (!CONVERTIBLE.has(path)) {
    const rule = `error converting fieldPath: field label not supported: ${path}`;
    problems.push(invalidValue(field, rule));
  } else if (!fields.includes(path)) problems.push(unsupported(field, fields));
}

function validateResourceRef(ref: Field, { isVolume }: Downward, problems: Problems): void {
  const container = child(ref, "containerName");
  textOf(container, problems);
  if (isVolume && !container.value) problems.push(required(container));
  const resource = child(ref, "resource");
  const name = requireText(resource, problems);
  if (name === undefined) return;
  const isHuge = /^(limits|requests)\.hugepages-./.test(name);
  if (!RESOURCES.includes(name) && !isHuge)
    return void problems.push(unsupported(resource, RESOURCES.toSorted()));
  const divisor = child(ref, "divisor");
  const size = comparableQuantity(divisor.value ?? "0");
  if (size === 0n) return;
  const short = isHuge ? "hugepages" : name.split(".").slice(1).join(".");
  const allowed = short === "cpu" ? ["1m", "1"] : UNITS;
  if (allowed.some((unit) => comparableQuantity(unit) === size)) return;
  const list = short === "cpu" ? "1m and 1" : UNITS.join(", ");
  const what = short === "ephemeral-storage" ? "local ephemeral storage" : short;
  const rule = `only divisor's values ${list} are supported with the ${what} resource`;
  problems.push(invalidValue({ path: divisor.path, value: name }, rule));
}

/** The text; undefined, with its problem, when it is missing, empty or no text. */
function requireText(field: Field, problems: Problems): string | undefined {
  const text = textOf(field, problems);
  if (field.value === undefined || text === "") problems.push(required(field));
  return text === "" ? undefined : text;
}
