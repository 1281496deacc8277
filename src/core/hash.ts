/** Stable hashes of values: labels that identify a spec, chain names. Leaf; no state. */

import { hash } from "node:crypto";

/** JSON with the keys of every object sorted, so that equal values give equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
}

/** First 16 hexadecimal digits of the SHA-256 of the canonical JSON. */
export function hashValue(value: unknown): string {
  return hash("sha256", canonicalJson(value)).slice(0, 16);
}

export function sha256(text: string): Buffer {
  return hash("sha256", text, "buffer");
}
