/** emptyDir: a directory of the pod that lives as long as the pod does, on disk or (medium Memory) on a tmpfs. Pure. */

import { value } from "../../api/quantity.ts";
import type { Volume } from "../../api/types.ts";
import { LongshoreError } from "../../core/errors.ts";
import type { DesiredVolume } from "../plan.ts";

export function computeEmptyDir(
  name: string,
  path: string,
  source: NonNullable<Volume["emptyDir"]>,
): DesiredVolume {
  const medium = source.medium ?? "";
  if (medium === "") return { kind: "directory", name, path };
  if (medium !== "Memory")
    throw new LongshoreError(
      "VolumeInvalid",
      `storage medium ${JSON.stringify(medium)} is not supported by this version`,
    );
  const sizeBytes = source.sizeLimit === undefined ? 0 : value(source.sizeLimit);
  return { kind: "memory", name, path, ...(sizeBytes > 0 ? { sizeBytes } : {}) };
}
