/**
 * A file of the program's own, for root alone, that is whole or as it was before at every moment, also when the machine loses
 * power: written beside its place as PATH.tmp, on the disk before it takes the place. A kill may leave the draft, which
 * the next call replaces.
 */

import { renameSync, rmSync, writeFileSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";

/** Always a new file: the mode is not that of a draft left behind, and no link is followed. */
const DRAFT = { mode: 0o600, flag: "wx", flush: true } as const;

/** Two calls for one path must not overlap. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const draft = `${path}.tmp`;
  await rm(draft, { force: true });
  await writeFile(draft, text, DRAFT);
  await rename(draft, path);
}

export function replaceFileSync(path: string, text: string): void {
  const draft = `${path}.tmp`;
  rmSync(draft, { force: true });
  writeFileSync(draft, text, DRAFT);
  renameSync(draft, path);
}
