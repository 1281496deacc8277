/**
 * Which pods use more of the disk than they may, as the kubelet's local storage eviction decides: an emptyDir over its
 * sizeLimit, a pod over the sum of its containers' limits, a container over its own, in this order, in its words. Pure.
 * An emptyDir in memory is left to its tmpfs. Used by manager.ts.
 */

import { computeLimitSums } from "../api/pod-resources.ts";
import { value, type WireQuantity } from "../api/quantity.ts";
import type { Pod, Volume } from "../api/types.ts";

/** Bytes on disk, by name. */
export interface PodUsage {
  readonly emptyDirs: ReadonlyMap<string, number>;
  /** Writable layer and logs of containers of all kinds. */
  readonly containers: ReadonlyMap<string, number>;
}

const STORAGE = "ephemeral-storage";

export function diskEmptyDirs({ spec }: Pod): readonly Volume[] {
  return (spec.volumes ?? []).filter(
    ({ emptyDir }) => emptyDir !== undefined && (emptyDir.medium ?? "") === "",
  );
}

/** False for pods whose containers nobody needs to measure. */
export function hasStorageLimit({ spec }: Pod): boolean {
  return computeLimitSums(spec)[STORAGE] !== undefined;
}

export function hasSizeLimit(pod: Pod): boolean {
  return diskEmptyDirs(pod).some(({ emptyDir }) => isPositive(emptyDir?.sizeLimit));
}

export interface Eviction {
  /** The kubelet's name for what is too much. */
  readonly signal: string;
  readonly message: string;
}

/** The message of the eviction; undefined = the pod stays. */
export function computeEviction(pod: Pod, usage: PodUsage): Eviction | undefined {
  const problems: readonly (readonly [string, string | undefined])[] = [
    ["emptydirfs.limit", emptyDirProblem(pod, usage)],
    ["ephemeralpodfs.limit", podProblem(pod, usage)],
    ["ephemeralcontainerfs.limit", containerProblem(pod, usage)],
  ];
  for (const [signal, message] of problems) if (message !== undefined) return { signal, message };
  return undefined;
}

function isPositive(limit: WireQuantity | undefined): limit is WireQuantity {
  return limit !== undefined && value(limit) > 0;
}

function emptyDirProblem(pod: Pod, { emptyDirs }: PodUsage): string | undefined {
  for (const { name, emptyDir } of diskEmptyDirs(pod)) {
    const limit = emptyDir?.sizeLimit;
    if (isPositive(limit) && (emptyDirs.get(name) ?? 0) > value(limit))
      return `Usage of EmptyDir volume "${name}" exceeds the limit "${limit}". `;
  }
  return undefined;
}

function podProblem({ spec }: Pod, { emptyDirs, containers }: PodUsage): string | undefined {
  const limit = computeLimitSums(spec)[STORAGE];
  const used = [...emptyDirs.values(), ...containers.values()].reduce((a, b) => a + b, 0);
  if (limit === undefined || used <= limit) return undefined;
  return `Pod ephemeral local storage usage exceeds the total limit of containers ${formatSum(limit)}. `;
}

function containerProblem({ spec }: Pod, { containers }: PodUsage): string | undefined {
  for (const { name, resources } of spec.containers) {
    const limit = resources?.limits?.[STORAGE];
    if (isPositive(limit) && (containers.get(name) ?? 0) > value(limit))
      return `Container ${name} exceeded its local ephemeral storage limit "${limit}". `;
  }
  return undefined;
}

/** The largest unit of which it is a whole number, binary before decimal. */
function formatSum(bytes: number): string {
  for (const [base, units] of [
    [1024, ["Ei", "Pi", "Ti", "Gi", "Mi", "Ki"]],
    [1000, ["E", "P", "T", "G", "M", "k"]],
  ] as const) {
    const at = units.findIndex((_, i) => bytes > 0 && bytes % base ** (units.length - i) === 0);
    const unit = units[at];
    if (unit !== undefined) return `${bytes / base ** (units.length - at)}${unit}`;
  }
  return String(bytes);
}
