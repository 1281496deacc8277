/**
 * subPath and subPathExpr of a container's mounts: expanded from its environment, judged, and bound to places of ours.
 * Called by starter.ts before each start, so that an edit of what the environment shows counts from the next start on.
 */

import type { Container, Pod } from "../api/types.ts";
import { LongshoreError } from "../core/errors.ts";
import type { MountedVolume, PodVolumes } from "../volumes/volumes.ts";
import { expandReferences } from "./expand.ts";

type VolumeMount = NonNullable<Container["volumeMounts"]>[number];

/** "" = the whole volume. Throws ContainerConfigInvalid in the kubelet's words. */
export function resolveSubPath(
  mount: Pick<VolumeMount, "subPath" | "subPathExpr">,
  variables: ReadonlyMap<string, string>,
): string {
  const path = mount.subPathExpr ? expand(mount.subPathExpr, variables) : (mount.subPath ?? "");
  if (path.startsWith("/")) refuse(`error SubPath \`${path}\` must not be an absolute path`);
  if (path.split("/").includes(".."))
    refuse(`unable to provision SubPath \`${path}\`: must not contain '..'`);
  return path;
}

function expand(expression: string, variables: ReadonlyMap<string, string>): string {
  const missing = new Set<string>();
  const path = expandReferences(expression, (name) => {
    const value = variables.get(name) ?? "";
    if (value === "") missing.add(name);
    return value;
  });
  if (missing.size > 0) refuse(`missing value for ${[...missing].sort().join(", ")}`);
  return path;
}

function refuse(message: string): never {
  throw new LongshoreError("ContainerConfigInvalid", message);
}

export interface SubPathInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly variables: ReadonlyMap<string, string>;
  readonly mounted: ReadonlyMap<string, MountedVolume>;
}

/** By index of the mount, the host's path of each that shows a part of its volume. */
export async function bindSubPaths(
  volumes: Pick<PodVolumes, "bindSubPath">,
  { pod, container, variables, mounted }: SubPathInput,
  signal: AbortSignal,
): Promise<ReadonlyMap<number, string>> {
  const bound = new Map<number, string>();
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    const subPath = resolveSubPath(mount, variables);
    const volume = mounted.get(mount.name);
    if (subPath === "" || volume === undefined) continue;
    const request = { podUid: pod.metadata.uid, volume, subPath, container: container.name, index };
    bound.set(index, await volumes.bindSubPath(request, signal));
  }
  return bound;
}
