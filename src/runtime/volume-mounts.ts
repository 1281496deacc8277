/**
 * What a container's volumeMounts come to: their place, and with recursiveReadOnly whether what is mounted below a
 * read-only volume is read-only too. Pure; the kubelet's rules. Asked by container-config.ts for the mounts and by pods/
 * for what the status says of them.
 */

import { posix } from "node:path";
import type { Container, ContainerStatus } from "../api/types.ts";
import { LongshoreError } from "../core/errors.ts";

type VolumeMount = NonNullable<Container["volumeMounts"]>[number];
type VolumeMountStatus = NonNullable<ContainerStatus["volumeMounts"]>[number];

/** A relative path is one below the container's root. */
export function containerPathOf({ mountPath }: Pick<VolumeMount, "mountPath">): string {
  return posix.resolve("/", mountPath);
}

/** Throws ContainerConfigInvalid in the kubelet's words. */
export function resolveRecursiveReadOnly(
  { name, readOnly, mountPropagation = "None", recursiveReadOnly }: VolumeMount,
  isSupported: boolean,
): boolean {
  const refuse = (why: string): never => {
    const message = `volume "${name}" requested recursive read-only mode, but it is ${why}`;
    throw new LongshoreError(
      "ContainerConfigInvalid",
      `failed to resolve recursive read-only mode: ${message}`,
    );
  };
  if (recursiveReadOnly === undefined || recursiveReadOnly === "Disabled") return false;
  if (readOnly !== true) refuse("not read-only");
  if (mountPropagation !== "None") refuse(`not compatible with propagation "${mountPropagation}"`);
  if (recursiveReadOnly === "Enabled" && !isSupported) refuse("not supported by the runtime");
  return isSupported;
}

/** What the status tells of each mount of the spec. */
export function computeVolumeMountStatuses(
  { volumeMounts = [] }: Pick<Container, "volumeMounts">,
  isSupported: boolean,
): VolumeMountStatus[] {
  return volumeMounts.map((mount) => {
    const { name, mountPath, readOnly } = mount;
    if (readOnly !== true) return { name, mountPath };
    const recursiveReadOnly = isRecursive(mount, isSupported) ? "Enabled" : "Disabled";
    return { name, mountPath, readOnly, recursiveReadOnly };
  });
}

function isRecursive(mount: VolumeMount, isSupported: boolean): boolean {
  const isRefused = mount.recursiveReadOnly === "Enabled" && !isSupported;
  const isAlone = (mount.mountPropagation ?? "None") === "None";
  return !isRefused && isAlone && resolveRecursiveReadOnly(mount, isSupported);
}
