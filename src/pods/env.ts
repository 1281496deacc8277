/**
 * The environment of a container, in order and expanded: services, envFrom, env. Waits for the first list of services;
 * reads ConfigMaps and Secrets through ObjectSource, and files of the pod's own; what is missing and not optional throws ContainerConfigInvalid in the kubelet's words, which becomes
 * CreateContainerConfigError. Called by starter.ts before each start; values are never logged.
 */

import type { Store } from "../api/store.ts";
import type { Container, EnvVar, Pod, Service } from "../api/types.ts";
import { withDeadline } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { LongshoreError } from "../core/errors.ts";
import { resourceText } from "../volumes/kinds/downward-api.ts";
import type { MountedVolume, ObjectSource, PodFacts } from "../volumes/volumes.ts";
import { readEnvFile } from "./env-file.ts";
import { expandReferences } from "./expand.ts";
import { resolveField } from "./field-ref.ts";
import { computeServiceEnv } from "./service-env.ts";

export interface EnvInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly facts: PodFacts;
  readonly services: Pick<Store<Service>, "isSynced" | "list" | "waitUntilSynced">;
  readonly objects: ObjectSource;
  /** By name: fileKeyRef reads in them. */
  readonly volumes: ReadonlyMap<string, Pick<MountedVolume, "hostPath">>;
  readonly clock: Clock;
}

export interface ContainerEnv {
  readonly variables: ReadonlyMap<string, string>;
  readonly command: readonly string[] | undefined;
  readonly args: readonly string[] | undefined;
}

/** How long the first list of services may hold up a start. */
const SERVICES_DEADLINE_MS = 5_000;
const SOURCE_ANNOTATION = "kubernetes.io/config.source";

type EnvSource = NonNullable<EnvVar["valueFrom"]>;
type ObjectKind = "ConfigMap" | "Secret";
type Data = Readonly<Record<string, string>>;

/** Environment, command and args of the container, ready to be handed to the runtime. */
export async function resolveEnv(input: EnvInput, signal: AbortSignal): Promise<ContainerEnv> {
  const { container } = input;
  const variables = new Map<string, string>();
  for (const [name, value] of await readEnvFrom(input, signal)) variables.set(name, value);
  const services = computeServiceEnv(input.pod, await readServices(input, signal));
  const lookup = (name: string): string | undefined => variables.get(name) ?? services.get(name);
  for (const variable of container.env ?? []) {
    const value = await readVariable(input, variable, lookup, signal);
    if (value !== undefined) variables.set(variable.name, value);
  }
  // What the pod itself sets wins over what services contribute.
  for (const [name, value] of services) if (!variables.has(name)) variables.set(name, value);
  const expand = (text: string): string => expandReferences(text, (name) => variables.get(name));
  return { variables, command: container.command?.map(expand), args: container.args?.map(expand) };
}

/** Else a pod made right after the agent's start would miss KUBERNETES_SERVICE_HOST. Static pods start without an API. */
async function readServices(
  { pod, services, clock }: EnvInput,
  signal: AbortSignal,
): Promise<readonly Service[]> {
  const isStatic = (pod.metadata.annotations?.[SOURCE_ANNOTATION] ?? "api") !== "api";
  if (!services.isSynced && !isStatic) {
    const message = "services have not yet been read at least once, cannot construct envvars";
    await withDeadline(
      { clock, ms: SERVICES_DEADLINE_MS, signal, code: "ApiTimeout", message },
      (inner) => services.waitUntilSynced(inner),
    );
  }
  return services.list();
}

async function readEnvFrom(input: EnvInput, signal: AbortSignal): Promise<[string, string][]> {
  const pairs: [string, string][] = [];
  for (const { prefix = "", configMapRef, secretRef } of input.container.envFrom ?? []) {
    const kind = configMapRef === undefined ? "Secret" : "ConfigMap";
    const ref = configMapRef ?? secretRef;
    if (ref?.name === undefined) continue;
    const data = await readData(input, kind, ref.name, ref.optional ?? false, signal);
    for (const [key, value] of Object.entries(data ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)))
      pairs.push([prefix + key, value]);
  }
  return pairs;
}

async function readVariable(
  input: EnvInput,
  variable: EnvVar,
  lookup: (name: string) => string | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { valueFrom } = variable;
  if (valueFrom === undefined) return expandReferences(variable.value ?? "", lookup);
  const { fieldRef, resourceFieldRef, fileKeyRef } = valueFrom;
  if (fieldRef !== undefined) return resolveField(input.pod, input.facts, fieldRef.fieldPath);
  if (resourceFieldRef !== undefined)
    return resourceText(resourceFieldRef, { ...input, allocatable: input.facts.allocatable });
  if (fileKeyRef !== undefined) return readFileKey(input, fileKeyRef);
  return readObjectKey(input, variable.name, valueFrom, signal);
}

async function readFileKey(
  { volumes }: EnvInput,
  ref: NonNullable<EnvSource["fileKeyRef"]>,
): Promise<string | undefined> {
  const { volumeName, path, key, optional = false } = ref;
  const volume = volumes.get(volumeName);
  if (volume === undefined)
    throw new LongshoreError(
      "ContainerConfigInvalid",
      `cannot find the volume "${volumeName}" referenced by FileKeyRef`,
    );
  const value = await readEnvFile(volume.hostPath, path, key);
  if (value !== undefined || optional) return value;
  throw new LongshoreError(
    "ContainerConfigInvalid",
    `environment variable key "${key}" not found in file "${path}"`,
  );
}

async function readObjectKey(
  input: EnvInput,
  variable: string,
  { configMapKeyRef, secretKeyRef }: EnvSource,
  signal: AbortSignal,
): Promise<string | undefined> {
  const ref = configMapKeyRef ?? secretKeyRef;
  if (ref?.name === undefined)
    throw new LongshoreError(
      "ContainerConfigInvalid",
      `environment variable ${variable} has a source that is not supported`,
    );
  const kind = configMapKeyRef === undefined ? "Secret" : "ConfigMap";
  const data = await readData(input, kind, ref.name, ref.optional ?? false, signal);
  const value = data?.[ref.key];
  if (value !== undefined || ref.optional === true) return value;
  throw new LongshoreError(
    "ContainerConfigInvalid",
    `couldn't find key ${ref.key} in ${kind} ${input.pod.metadata.namespace}/${ref.name}`,
  );
}

/** The object's text values; undefined when it does not exist and need not. */
async function readData(
  { pod, objects }: EnvInput,
  kind: ObjectKind,
  name: string,
  isOptional: boolean,
  signal: AbortSignal,
): Promise<Data | undefined> {
  const { namespace } = pod.metadata;
  const data =
    kind === "ConfigMap"
      ? await objects
          .getConfigMap(namespace, name, signal)
          .then((found) => found && (found.data ?? {}))
      : await objects
          .getSecret(namespace, name, signal)
          .then((found) => found && decode(found.data));
  if (data !== undefined || isOptional) return data;
  throw new LongshoreError("ContainerConfigInvalid", `${kind.toLowerCase()} "${name}" not found`);
}

function decode(data: Data | undefined): Data {
  return Object.fromEntries(
    Object.entries(data ?? {}).map(([key, value]) => [
      key,
      Buffer.from(value, "base64").toString("utf8"),
    ]),
  );
}
