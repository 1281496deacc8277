/**
 * The downward API: facts of the pod and its containers' resources as text, in the kubelet's formats (maps as sorted
 * `key="value"` lines with Go's quoting; resources rounded up to the divisor), and as files of volumes. Pure. Called
 * by volume-manager.ts and, for the environment, by pods/env.ts and pods/field-ref.ts.
 */

import { milliValue, value } from "../../api/quantity.ts";
import type { Container, Pod } from "../../api/types.ts";
import { LongshoreError } from "../../core/errors.ts";
import type { PodFacts } from "../volumes.ts";
import type { NamedFile } from "./keyed-files.ts";

export interface DownwardItem {
  readonly path: string;
  readonly mode?: number | undefined;
  readonly fieldRef?: { readonly fieldPath: string } | undefined;
  readonly resourceFieldRef?: ResourceFieldRef | undefined;
}

export interface ResourceFieldRef {
  readonly containerName?: string | undefined;
  readonly resource: string;
  readonly divisor?: string | number | undefined;
}

export function computeDownwardFiles(
  items: readonly DownwardItem[],
  defaultMode: number,
  pod: Pod,
  facts: Pick<PodFacts, "allocatable">,
): readonly NamedFile[] {
  return items.map((item) => {
    const text = itemText(item, pod, facts);
    return [item.path, { data: Buffer.from(text), mode: item.mode ?? defaultMode }];
  });
}

function itemText(item: DownwardItem, pod: Pod, facts: Pick<PodFacts, "allocatable">): string {
  if (item.fieldRef !== undefined) return fieldText(pod, item.fieldRef.fieldPath);
  const ref = item.resourceFieldRef;
  if (ref === undefined)
    throw new LongshoreError("VolumeInvalid", `item ${item.path} has no fieldRef`);
  return resourceText(ref, { pod, allocatable: facts.allocatable });
}

/** A container whose resources may be shown; ephemeral ones have none. */
function findContainer(pod: Pod, name: string | undefined): Container {
  const containers = [...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])];
  const found = containers.find((container) => container.name === name);
  if (found !== undefined) return found;
  throw new LongshoreError("ContainerConfigInvalid", `container ${name} not found`);
}

/** What volumes may show of a pod, and its environment too. */
export function fieldText(pod: Pod, fieldPath: string): string {
  const { labels = {}, annotations = {}, name, namespace, uid } = pod.metadata;
  const subscript = /^metadata\.(labels|annotations)\['(.+)'\]$/s.exec(fieldPath);
  if (subscript !== null)
    return (subscript[1] === "labels" ? labels : annotations)[subscript[2] ?? ""] ?? "";
  switch (fieldPath) {
    case "metadata.labels":
      return formatMap(labels);
    case "metadata.annotations":
      return formatMap(annotations);
    case "metadata.name":
      return name;
    case "metadata.namespace":
      return namespace;
    case "metadata.uid":
      return uid;
    default:
      throw new LongshoreError("VolumeInvalid", `unsupported fieldPath: ${fieldPath}`);
  }
}

function formatMap(map: Readonly<Record<string, string>>): string {
  return Object.keys(map)
    .sort()
    .map((key) => `${key}=${goQuote(map[key] ?? "")}`)
    .join("\n");
}

const GO_ESCAPES: Readonly<Record<string, string>> = {
  "\u0007": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
  '"': '\\"',
};

/** What Go's %q prints. */
function goQuote(text: string): string {
  let quoted = "";
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (GO_ESCAPES[char] !== undefined) quoted += GO_ESCAPES[char];
    else if (/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u.test(char)) quoted += char;
    else if (code < 0x80) quoted += `\\x${code.toString(16).padStart(2, "0")}`;
    else if (code < 0x10000) quoted += `\\u${code.toString(16).padStart(4, "0")}`;
    else quoted += `\\U${code.toString(16).padStart(8, "0")}`;
  }
  return `"${quoted}"`;
}

const RESOURCES = /^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)$/;

/** Whose resources are shown. */
export interface ResourceOwner {
  readonly pod: Pod;
  /** The one that asks, for a reference that names no container. */
  readonly container?: Container;
  /** Of the node. */
  readonly allocatable: Readonly<Record<string, number>>;
}

/**
 * A limit that is not set shows the pod's as a whole or the node's allocatable (not of huge pages, which are never
 * overcommitted), a request that is not set shows 0.
 */
export function resourceText(ref: ResourceFieldRef, owner: ResourceOwner): string {
  const { pod, allocatable } = owner;
  const [, side, resource] = RESOURCES.exec(ref.resource) ?? [];
  if (resource === undefined || (side !== "limits" && side !== "requests"))
    throw new LongshoreError("VolumeInvalid", `unsupported container resource : ${ref.resource}`);
  const amount = resource === "cpu" ? milliValue : value;
  const amountOf = (set: string | number | undefined) => (set === undefined ? 0 : amount(set));
  const container = ref.containerName ? findContainer(pod, ref.containerName) : owner.container;
  const isOvercommitted = side === "limits" && !resource.startsWith("hugepages-");
  const shown =
    amountOf(container?.resources?.[side]?.[resource]) ||
    (isOvercommitted && amountOf(pod.spec.resources?.limits?.[resource])) ||
    (isOvercommitted && allocatable[resource]) ||
    0;
  const divisor = amountOf(ref.divisor) || amount("1");
  return String(Math.ceil(shown / divisor));
}
