/** configMap volumes and projections: the object's text and binary keys as files. Pure. */

import type { ConfigMap } from "../../api/types.ts";
import { LongshoreError } from "../../core/errors.ts";
import { computeKeyedFiles, type KeyedSource, type NamedFile } from "./keyed-files.ts";

export function computeConfigMapFiles(
  source: Omit<KeyedSource, "what">,
  name: string,
  configMap: Pick<ConfigMap, "data" | "binaryData"> | undefined,
): readonly NamedFile[] {
  if (configMap === undefined) {
    if (source.optional) return [];
    throw new LongshoreError("VolumeNotReady", `configmap "${name}" not found`);
  }
  const content = new Map<string, Buffer>();
  for (const [key, text] of Object.entries(configMap.data ?? {}))
    content.set(key, Buffer.from(text));
  for (const [key, base64] of Object.entries(configMap.binaryData ?? {}))
    content.set(key, Buffer.from(base64, "base64"));
  return computeKeyedFiles({ ...source, what: "configmap" }, content);
}
