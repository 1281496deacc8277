/** A container's mounts and devices in the Engine's words. Pure. Called by containers.ts. */

import type Docker from "dockerode";
import type { Device, Mount } from "../runtime.ts";

/** What Engines before 25 do not know, they pass over; they make only the mount itself read-only. */
interface BindOptions {
  readonly Propagation?: "rprivate" | "rslave" | "rshared";
  readonly ReadOnlyNonRecursive?: true;
  readonly ReadOnlyForceRecursive?: true;
}

export function computeMount(mount: Mount): Docker.MountConfig[number] {
  const options = computeBindOptions(mount);
  return {
    Type: "bind",
    Source: mount.hostPath,
    Target: mount.containerPath,
    ReadOnly: mount.readOnly,
    ...(options === undefined
      ? {}
      : { BindOptions: options as Docker.MountSettings["BindOptions"] }),
  } as Docker.MountConfig[number];
}

function computeBindOptions(mount: Mount): BindOptions | undefined {
  const { readOnly, propagation, isRecursivelyReadOnly } = mount;
  if (readOnly && isRecursivelyReadOnly === true)
    return { ReadOnlyForceRecursive: true, Propagation: "rprivate" };
  // Unsaid it is recursive where the Engine can.
  const flat = readOnly ? { ReadOnlyNonRecursive: true as const } : {};
  // Unsaid it is private, but slave where the Engine insists: for / and what is below its own directory.
  if (propagation === "private") return readOnly ? flat : undefined;
  return { ...flat, Propagation: propagation };
}

/** The kubelet's permissions: mknod, read, write. */
export function computeDevice({ hostPath, containerPath, readOnly }: Device): Docker.DeviceMapping {
  return {
    PathOnHost: hostPath,
    PathInContainer: containerPath,
    CgroupPermissions: readOnly ? "r" : "mrw",
  };
}
