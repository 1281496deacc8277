/** hostPath: a path of the host's, checked or created as its type says and never removed or emptied. Pure. */

import type { Volume } from "../../api/types.ts";
import { LongshoreError } from "../../core/errors.ts";
import type { DesiredVolume, HostPathType } from "../plan.ts";

const TYPES: ReadonlySet<string> = new Set<HostPathType>([
  "",
  "DirectoryOrCreate",
  "Directory",
  "FileOrCreate",
  "File",
  "Socket",
  "CharDevice",
  "BlockDevice",
]);

function isHostPathType(type: string): type is HostPathType {
  return TYPES.has(type);
}

export function computeHostPath(
  name: string,
  source: NonNullable<Volume["hostPath"]>,
): Extract<DesiredVolume, { readonly kind: "host-path" }> {
  const { path, type = "" } = source;
  if (!path.startsWith("/") || path.includes("\0"))
    throw new LongshoreError("VolumeInvalid", `hostPath ${JSON.stringify(path)} is not absolute`);
  if (path.split("/").includes(".."))
    throw new LongshoreError("VolumeInvalid", `hostPath ${JSON.stringify(path)} contains '..'`);
  if (!isHostPathType(type))
    throw new LongshoreError("VolumeInvalid", `hostPath type ${JSON.stringify(type)} is unknown`);
  return { kind: "host-path", name, path, type };
}
