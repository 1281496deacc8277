/** A container's mounts and devices in the Engine's words. Pure. Called by containers.ts. */

import type Docker from "dockerode";
import type { Device, Mount } from "../runtime.ts";

/** More than dockerode knows of. */
interface BindOptions {
  readonly Propagation?: "rprivate" | "rslave" | "rshared";
  readonly ReadOnlyNonRecursive?: true;
  readonly ReadOnlyForceRecursive?: true;
}

export function computeMount(mount: Mount): Docker.MountConfig[number] {
  return {
    Type: "bind",
    Source: mount.hostPath,
    Target: mount.containerPath,
    ReadOnly: mount.readOnly,
    BindOptions: computeBindOptions(mount) as Docker.MountSettings["BindOptions"],
  };
}

function computeBindOptions(mount: Mount): BindOptions {
  const { readOnly, propagation, isRecursivelyReadOnly } = mount;
  if (readOnly && isRecursivelyReadOnly === true)
    return { ReadOnlyForceRecursive: true, Propagation: "rprivate" };
  return {
    // Unsaid it is private, but slave where the Engine insists: for / and what is below its own directory.
    ...(propagation === "private" ? {} : { Propagation: propagation }),
    // Unsaid it is recursive where the Engine can; those before 25 cannot, and pass over what they do not know.
    ...(readOnly ? { ReadOnlyNonRecursive: true } : {}),
  };
}

/** The kubelet's permissions: mknod, read, write. */
export function computeDevice({ hostPath, containerPath, readOnly }: Device): Docker.DeviceMapping {
  return {
    PathOnHost: hostPath,
    PathInContainer: containerPath,
    CgroupPermissions: readOnly ? "r" : "mrw",
  };
}
