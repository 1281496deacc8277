/**
 * The kubelet's configuration, as kubeadm and people write it: KubeletConfiguration documents and the kubelet's flags
 * become fields of the agent's (config-fields.ts reads the values), and a sentence for each that has no effect. Pure.
 */

import { LongshoreError } from "../core/errors.ts";
import { entriesOf } from "./config-values.ts";
import { KUBELET_FIELDS, KUBELET_FLAGS, type KubeletField } from "./kubelet-fields.ts";

type Record_ = Readonly<Record<string, unknown>>;

export const KUBELET_KIND = "KubeletConfiguration";
const API = "kubelet.config.k8s.io/v1beta1";

export interface KubeletValues {
  /** By field of the agent. */
  readonly values: Record_;
  /** One sentence each, for what has no effect. */
  readonly warnings: readonly string[];
}

/**
 * Documents merged in order (RFC 7386, as the kubelet merges the files of --config-dir). Throws ConfigInvalid for
 * another API version.
 */
export function mergeKubeletDocuments(
  documents: readonly { readonly file: string; readonly document: Record_ }[],
): Record_ {
  for (const { file, document } of documents)
    if (document.apiVersion !== API)
      throw new LongshoreError(
        "ConfigInvalid",
        `${file}: apiVersion ${JSON.stringify(document.apiVersion)} of ${KUBELET_KIND} is not ${API}`,
      );
  return documents.reduce<Record_>(
    (base, { document }) => mergePatch(base, document) as Record_,
    {},
  );
}

function mergePatch(base: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged: Record<string, unknown> = isObject(base) ? { ...base } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else merged[name] = mergePatch(merged[name], value);
  }
  return merged;
}

/** Unknown fields are warned of and ignored, as by the kubelet's lenient decoding. */
export function readKubeletDocument({
  apiVersion: _,
  kind: _kind,
  ...rest
}: Record_): KubeletValues {
  const found = new Values((path) => `${KUBELET_KIND} field ${path}`);
  const walk = (value: Record_, prefix: string): void => {
    for (const [name, inner] of Object.entries(value)) {
      const path = `${prefix}${name}`;
      const field = KUBELET_FIELDS[path];
      const isParent = Object.keys(KUBELET_FIELDS).some((known) => known.startsWith(`${path}.`));
      if (field !== undefined) {
        if (!isNotGiven(inner, field)) found.add(path, inner, field);
      } else if (isParent && isObject(inner)) walk(inner, `${path}.`);
      else if (!isParent)
        found.warnings.push(`${KUBELET_KIND} field ${path} is unknown, and ignored`);
    }
  };
  walk(rest, "");
  return found;
}

/** How Go writes out what nobody has set. */
function isNotGiven(value: unknown, { zeroCounts }: KubeletField): boolean {
  if (value === null || value === undefined) return true;
  if (Array.isArray(value)) return value.length === 0;
  if (isObject(value)) return Object.keys(value).length === 0;
  return zeroCounts !== true && (value === 0 || value === "" || value === "0s");
}

/** Every flag that the agent does not have itself, in camelCase as commander gives them. */
const FLAGS: ReadonlyMap<string, KubeletField> = new Map(
  [...Object.values(KUBELET_FIELDS), ...KUBELET_FLAGS].flatMap((field) =>
    field.flag === undefined ? [] : [[toCamelCase(field.flag), field] as const],
  ),
);

function toCamelCase(flag: string): string {
  return flag.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** @param flags as commander gives them; those that are not the kubelet's stay as they are. */
export function readKubeletFlags(flags: Record_): KubeletValues {
  const found = new Values((flag) => `flag --${flag}`);
  const others: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(flags)) {
    const field = FLAGS.get(name);
    if (field === undefined) others[name] = value;
    else if (value !== undefined) found.add(field.flag ?? name, value, field);
  }
  return { values: { ...others, ...found.values }, warnings: found.warnings };
}

class Values implements KubeletValues {
  readonly values: Record<string, unknown> = {};
  readonly warnings: string[] = [];
  readonly #nameOf: (key: string) => string;

  constructor(nameOf: (key: string) => string) {
    this.#nameOf = nameOf;
  }

  add(key: string, value: unknown, { to, why, usual = [] }: KubeletField): void {
    if (to === undefined) {
      const given = JSON.stringify(value);
      if (usual.some((one) => JSON.stringify(one) === given)) return;
      const names =
        key === "featureGates" && isObject(value) ? ` (${Object.keys(value).join(", ")})` : "";
      this.#warn(`${this.#nameOf(key)}${names} has no effect: ${why}`);
      return;
    }
    const read = READERS[to];
    const result =
      read === undefined
        ? value
        : read(value, (what) => this.#warn(`${this.#nameOf(key)}: ${what}`));
    if (result !== undefined) this.values[to] = result;
  }

  #warn(sentence: string): void {
    this.warnings.push(sentence);
  }
}

/** By field of the agent: what its own reader would refuse, but the kubelet takes. undefined = not given. */
const READERS: Readonly<Record<string, (value: unknown, warn: (what: string) => void) => unknown>> =
  {
    podPidsLimit: (value) => (Number(value) === -1 ? undefined : value),
    volumeStatsAggPeriod: (value) => (String(value).startsWith("-") ? "off" : value),
    logLevel: (value) => (/^\d+$/.test(String(value)) ? levelOf(Number(value)) : value),
    evictionHard: (value, warn) =>
      onlyKnown(
        value,
        "<",
        { acted: ["memory.available", "nodefs.available"], known: SIGNALS },
        warn,
      ),
    systemReserved: (value, warn) => onlyKnown(value, "=", RESERVED, warn),
    kubeReserved: (value, warn) => onlyKnown(value, "=", RESERVED, warn),
    containerRuntimeEndpoint: (value, warn) => {
      if (!CRI_SOCKET.test(String(value))) return value;
      warn(
        `${value} is a CRI runtime; the Docker Engine is driven itself, at unix:///var/run/docker.sock`,
      );
      return undefined;
    },
  };

const CRI_SOCKET = /\b(containerd|crio|cri-dockerd|dockershim)\.sock$/;
const SIGNALS = [
  ...["allocatableMemory.available", "nodefs.inodesFree", "imagefs.available"],
  ...["imagefs.inodesFree", "containerfs.available", "containerfs.inodesFree", "pid.available"],
];
const RESERVED = { acted: ["cpu", "memory", "ephemeral-storage"], known: ["pid"] };

/** klog's 4 is where the kubelet begins to tell what it does. */
function levelOf(verbosity: number): string {
  return verbosity >= 4 ? "debug" : "info";
}

/** Takes out what the kubelet knows and nobody acts on here; rubbish is left to who reads the value. */
function onlyKnown(
  value: unknown,
  separator: string,
  { acted, known }: { readonly acted: readonly string[]; readonly known: readonly string[] },
  warn: (what: string) => void,
): unknown {
  const entries = entriesOf(value, separator);
  for (const [name, limit] of entries)
    if (known.includes(name) && !/^(0|100)%$/.test(String(limit)))
      warn(`${name} is not acted on, only ${acted.join(", ")}`);
  return Object.fromEntries(entries.filter(([name]) => !known.includes(name)));
}

function isObject(value: unknown): value is Record_ {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
