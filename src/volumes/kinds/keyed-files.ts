/**
 * Files out of an object with keys, the part that configMap and secret volumes have in common: all keys under their
 * own names, or the listed items under the given paths and modes. Pure.
 */

import { LongshoreError } from "../../core/errors.ts";
import type { FileContent } from "../payload.ts";

export interface KeyToPath {
  readonly key: string;
  readonly path: string;
  readonly mode?: number | undefined;
}

export interface KeyedSource {
  /** As upstream's errors name it: `configmap` or `secret`. */
  readonly what: "configmap" | "secret";
  readonly items: readonly KeyToPath[] | undefined;
  readonly defaultMode: number;
  readonly optional: boolean;
}

export type NamedFile = readonly [path: string, content: FileContent];

export const DEFAULT_MODE = 0o644;

export function computeKeyedFiles(
  source: KeyedSource,
  content: ReadonlyMap<string, Buffer>,
): readonly NamedFile[] {
  const { items, defaultMode } = source;
  if (items === undefined || items.length === 0)
    return [...content].map(([key, data]) => [key, { data, mode: defaultMode }]);
  const files: NamedFile[] = [];
  for (const item of items) {
    const data = content.get(item.key);
    if (data !== undefined) files.push([item.path, { data, mode: item.mode ?? defaultMode }]);
    else if (!source.optional)
      throw new LongshoreError(
        "VolumeNotReady",
        source.what === "secret"
          ? `references non-existent secret key: ${item.key}`
          : `configmap references non-existent config key: ${item.key}`,
      );
  }
  return files;
}
