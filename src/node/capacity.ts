/**
 * How much the machine has: cores, memory, huge pages and the file system of the root directory, read through a
 * HostReader by pure parsers. Called by the node loop at start and at each status turn.
 */

import { LongshoreError } from "../core/errors.ts";
import type { HostReader } from "./host.ts";
import { type Capacity, formatBinary } from "./quantities.ts";

const HUGE_PAGES_DIR = "/sys/kernel/mm/hugepages";

/** Bytes of MemTotal in /proc/meminfo. */
export function parseMemTotal(meminfo: string): number {
  const match = /^MemTotal:\s+(\d+) kB$/m.exec(meminfo);
  if (match === null)
    throw new LongshoreError(
      "Unsupported",
      "reading /proc/meminfo: it has no MemTotal line; is /proc mounted?",
    );
  return Number(match[1]) * 1024;
}

/** Number of logical processors in /proc/cpuinfo. */
export function parseCpuCount(cpuinfo: string): number {
  const count = cpuinfo.match(/^processor\s*:/gm)?.length ?? 0;
  if (count > 0) return count;
  throw new LongshoreError(
    "Unsupported",
    "reading /proc/cpuinfo: it lists no processor; is /proc mounted?",
  );
}

/** Page size in bytes from a name such as `hugepages-2048kB`; undefined for other names. */
export function parseHugePageSize(name: string): number | undefined {
  const match = /^hugepages-(\d+)kB$/.exec(name);
  return match === null ? undefined : Number(match[1]) * 1024;
}

export async function readCapacity(
  host: HostReader,
  options: { readonly rootDir: string; readonly maxPods: number },
): Promise<Capacity> {
  const [meminfo, cpuinfo, storage, hugePages] = await Promise.all([
    host.readText("/proc/meminfo"),
    host.readText("/proc/cpuinfo"),
    host.fsCapacityBytes(options.rootDir),
    readHugePages(host),
  ]);
  return {
    cpuMillis: parseCpuCount(cpuinfo ?? "") * 1000,
    memoryBytes: parseMemTotal(meminfo ?? ""),
    ephemeralStorageBytes: storage,
    pods: options.maxPods,
    hugePages,
  };
}

async function readHugePages(host: HostReader): Promise<Readonly<Record<string, number>>> {
  const found: Record<string, number> = {};
  for (const name of await host.readDir(HUGE_PAGES_DIR)) {
    const size = parseHugePageSize(name);
    if (size === undefined) continue;
    const count = Number(await host.readText(`${HUGE_PAGES_DIR}/${name}/nr_hugepages`));
    found[formatBinary(size)] = Number.isFinite(count) ? count * size : 0;
  }
  return found;
}
