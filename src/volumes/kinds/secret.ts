/** secret volumes and projections: the object's keys, decoded, as files. What it returns goes to a tmpfs only. Pure. */

import type { Secret } from "../../api/types.ts";
import { LongshoreError } from "../../core/errors.ts";
import { computeKeyedFiles, type KeyedSource, type NamedFile } from "./keyed-files.ts";

export function computeSecretFiles(
  source: Omit<KeyedSource, "what">,
  name: string,
  secret: Pick<Secret, "data"> | undefined,
): readonly NamedFile[] {
  if (secret === undefined) {
    if (source.optional) return [];
    throw new LongshoreError("VolumeNotReady", `secret "${name}" not found`);
  }
  const content = new Map<string, Buffer>();
  for (const [key, base64] of Object.entries(secret.data ?? {}))
    content.set(key, Buffer.from(base64, "base64"));
  return computeKeyedFiles({ ...source, what: "secret" }, content);
}
