/**
 * The environment of a container, in order and expanded: services, envFrom, env. Reads ConfigMaps and Secrets through
 * ObjectSource; what is missing and not optional throws ContainerConfigInvalid in the kubelet's words, which becomes
 * CreateContainerConfigError. Called by starter.ts before each start; values are never logged.
 */

import type { Container, EnvVar, Pod, Service } from "../api/types.ts";
import { LongshoreError } from "../core/errors.ts";
import type { ObjectSource, PodFacts } from "../volumes/volumes.ts";
import { expandReferences } from "./expand.ts";
import { resolveField, resolveResource } from "./field-ref.ts";
import { computeServiceEnv } from "./service-env.ts";

export interface EnvInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly facts: PodFacts;
  readonly services: readonly Service[];
  readonly objects: ObjectSource;
}

export interface ContainerEnv {
  readonly variables: ReadonlyMap<string, string>;
  readonly command: readonly string[] | undefined;
  readonly args: readonly string[] | undefined;
}

type ObjectKind = "ConfigMap" | "Secret";
type Data = Readonly<Record<string, string>>;

/** Environment, command and args of the container, ready to be handed to the runtime. */
export async function resolveEnv(input: EnvInput, signal: AbortSignal): Promise<ContainerEnv> {
  const { container } = input;
  const variables = new Map<string, string>();
  for (const [name, value] of await readEnvFrom(input, signal)) variables.set(name, value);
  const services = computeServiceEnv(input.pod, input.services);
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
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = valueFrom;
  if (fieldRef !== undefined) return resolveField(input.pod, input.facts, fieldRef.fieldPath);
  if (resourceFieldRef !== undefined) {
    const { containerName, resource, divisor } = resourceFieldRef;
    return resolveResource(findContainer(input, containerName), input.facts, resource, divisor);
  }
  const ref = configMapKeyRef ?? secretKeyRef;
  if (ref?.name === undefined)
    throw new LongshoreError(
      "ContainerConfigInvalid",
      `environment variable ${variable.name} has a source that is not supported`,
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

function findContainer(input: EnvInput, name: string | undefined): Container {
  if (name === undefined || name === "") return input.container;
  const { containers, initContainers = [] } = input.pod.spec;
  const found = [...containers, ...initContainers].find((container) => container.name === name);
  if (found !== undefined) return found;
  throw new LongshoreError("ContainerConfigInvalid", `container ${name} not found`);
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
