/**
 * Lets go of the pages of the program's own file that its start has touched: the kernel maps sixteen around each that is
 * read, and all of them count as the program's memory although most are never read again. What is needed comes back from
 * the page cache at once. Only through node:ffi; without it nothing happens. Called by release-memory.ts.
 */

import { readFileSync } from "node:fs";

export interface PageRange {
  readonly start: bigint;
  /** Bytes. */
  readonly length: bigint;
}

const MADV_DONTNEED = 4;
const HEADER = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ +(\S.*)$/;

/** Mappings of the file that the program has not written to, by the text of /proc/self/smaps. Pure. */
export function findCleanMappings(smaps: string, file: string): readonly PageRange[] {
  const mappings = smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings.flatMap((mapping): readonly PageRange[] => {
    const [, from, to, rights, path] = HEADER.exec(mapping.split("\n")[0] ?? "") ?? [];
    const isClean = /^Private_Dirty: +0 kB$/m.test(mapping) && /^Anonymous: +0 kB$/m.test(mapping);
    // Without the right to write, and private: only then is the file what the memory has.
    if (path !== file || !isClean || (rights !== "r-xp" && rights !== "r--p")) return [];
    const start = BigInt(`0x${from}`);
    return [{ start, length: BigInt(`0x${to}`) - start }];
  });
}

/** Failure costs nothing but the memory that stays. */
export function releaseProgramPages(): void {
  const ffi = process.getBuiltinModule("node:ffi");
  if (ffi === undefined || process.platform !== "linux") return;
  const { functions } = ffi.dlopen(null, {
    madvise: { arguments: ["uint64", "uint64", "int32"], return: "int32" },
  });
  const smaps = readFileSync("/proc/self/smaps", "utf8");
  for (const { start, length } of findCleanMappings(smaps, process.execPath))
    functions.madvise(start, length, MADV_DONTNEED);
}
