/**
 * What the node agent reads from its host: small files, file system sizes, interfaces. An interface, so that tests
 * give a made-up host; `createHostReader` is the real one. Called by capacity.ts and node-info.ts only.
 */

import { readdir, readFile, statfs } from "node:fs/promises";
import { arch, networkInterfaces } from "node:os";

export interface HostReader {
  /** As Go spells it: amd64, arm64. */
  readonly architecture: string;
  /** Text of a file; undefined when it does not exist or may not be read. */
  readText(path: string): Promise<string | undefined>;
  /** Names in a directory; empty when it does not exist. */
  readDir(path: string): Promise<readonly string[]>;
  /** Size in bytes of the file system that holds `path`. */
  fsCapacityBytes(path: string): Promise<number>;
  /** Interface name → its addresses, without link-local ones. */
  interfaces(): Readonly<Record<string, readonly string[]>>;
}

const ABSENT: readonly unknown[] = ["ENOENT", "EACCES", "EPERM", "ENOTDIR", "EINVAL", "EIO"];

const GO_ARCH: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };

export function createHostReader(): HostReader {
  return {
    architecture: GO_ARCH[arch()] ?? arch(),
    readText: (path) => orAbsent(readFile(path, "utf8"), undefined),
    readDir: (path) => orAbsent(readdir(path), []),
    async fsCapacityBytes(path) {
      const { bsize, blocks } = await statfs(path);
      return bsize * blocks;
    },
    interfaces: readInterfaces,
  };
}

async function orAbsent<T, A>(read: Promise<T>, absent: A): Promise<T | A> {
  try {
    return await read;
  } catch (error) {
    if (ABSENT.includes((error as NodeJS.ErrnoException).code)) return absent;
    throw error;
  }
}

function readInterfaces(): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(
    Object.entries(networkInterfaces()).map(([name, addresses]) => [
      name,
      (addresses ?? [])
        .map(({ address }) => address)
        .filter((address) => !/^(fe80:|169\.254\.)/i.test(address)),
    ]),
  );
}
