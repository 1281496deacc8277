/** nfs: a directory of a server, mounted below the pod's directory by the node's mount.nfs. Pure. */

import type { Volume } from "../../api/types.ts";
import { LongshoreError } from "../../core/errors.ts";
import type { DesiredVolume } from "../plan.ts";

type NfsSource = NonNullable<Volume["nfs"]>;

/** `options` are those of a PersistentVolume; what is refused would be read as options of mount.nfs or lead elsewhere. */
export function computeNfs(
  name: string,
  path: string,
  { server, path: exported, readOnly }: NfsSource,
  options: readonly string[] = [],
): Extract<DesiredVolume, { readonly kind: "nfs" }> {
  if (!/^[^-/\s\0][^/\s\0]*$/.test(server))
    throw new LongshoreError("VolumeInvalid", `nfs server ${JSON.stringify(server)} is no host`);
  if (!exported.startsWith("/") || exported.includes("\0"))
    throw new LongshoreError(
      "VolumeInvalid",
      `nfs path ${JSON.stringify(exported)} is not absolute`,
    );
  const isReadOnly = readOnly === true;
  const host = server.includes(":") && !server.startsWith("[") ? `[${server}]` : server;
  return {
    ...{ kind: "nfs", name, path, source: `${host}:${exported}`, readOnly: isReadOnly },
    options: [...new Set([...options, ...(isReadOnly ? ["ro"] : [])])].sort(),
  };
}
