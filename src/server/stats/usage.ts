/**
 * What a cgroup has used, from its files, for both versions; and what an interface has carried. Pure but for the
 * reader it is given. A file that is not there leaves its field out. Called by collector.ts.
 */

import { type BlockIo, parseBlkio, parseIoStat } from "./block-io.ts";
import { type Pressures, readPressures } from "./pressure.ts";
import type { ReadText } from "./read-text.ts";

export interface Usage {
  readonly cpuNanos: number;
  readonly userNanos?: number;
  readonly systemNanos?: number;
  readonly periods?: number;
  readonly throttledPeriods?: number;
  readonly throttledNanos?: number;
  readonly memoryBytes: number;
  /** Without what the kernel could take back at once. */
  readonly workingSetBytes: number;
  readonly rssBytes: number;
  readonly cacheBytes: number;
  readonly mappedBytes: number;
  readonly swapBytes: number;
  readonly pageFaults: number;
  readonly majorPageFaults: number;
  /** Absent = none. */
  readonly memoryLimitBytes?: number;
  readonly memoryFailures?: number;
  readonly maxMemoryBytes?: number;
  /** How often the kernel ended a process for want of memory. */
  readonly oomKills?: number;
  readonly swapAvailableBytes?: number;
  readonly processes?: number;
  readonly threads?: number;
  readonly cpuShares?: number;
  readonly cpuPeriodMicros?: number;
  /** Absent = none. */
  readonly cpuQuotaMicros?: number;
  readonly io?: readonly BlockIo[];
  readonly pressures?: Pressures;
}

/** Where a process is, by controller; the name of version 2 is empty. */
export type CgroupPaths = ReadonlyMap<string, string>;

const ROOT = "/sys/fs/cgroup";
/** A limit in pages that no machine has: none. */
const NO_LIMIT = 2 ** 62;

/** /proc/PID/cgroup. */
export function parseCgroupPaths(text: string): CgroupPaths {
  const paths = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, names, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (names === undefined || path === undefined) continue;
    for (const name of names.split(",")) paths.set(name, path);
  }
  return paths;
}

/** undefined when the cgroup is gone. @param isBrief only what costs few files: processor and memory. */
export function readUsage(paths: CgroupPaths, read: ReadText, isBrief = false): Usage | undefined {
  return (paths.has("memory") ? readVersion1 : readVersion2)(paths, read, isBrief);
}

function readVersion1(paths: CgroupPaths, read: ReadText, isBrief: boolean): Usage | undefined {
  const file = (controller: string, name: string): string | undefined =>
    read(`${ROOT}/${controller}${paths.get(controller) ?? "/"}/${name}`);
  const cpuNanos = toNumber(file("cpuacct", "cpuacct.usage"));
  const memoryBytes = toNumber(file("memory", "memory.usage_in_bytes"));
  if (cpuNanos === undefined || memoryBytes === undefined) return undefined;
  const memory = parseKeyed(file("memory", "memory.stat"));
  const cpu = parseKeyed(file("cpu", "cpu.stat"));
  return withoutAbsent({
    cpuNanos,
    userNanos: toNumber(file("cpuacct", "cpuacct.usage_user")),
    systemNanos: toNumber(file("cpuacct", "cpuacct.usage_sys")),
    periods: cpu.get("nr_periods"),
    throttledPeriods: cpu.get("nr_throttled"),
    throttledNanos: cpu.get("throttled_time"),
    memoryBytes,
    workingSetBytes: Math.max(0, memoryBytes - (memory.get("total_inactive_file") ?? 0)),
    rssBytes: memory.get("total_rss") ?? 0,
    cacheBytes: memory.get("total_cache") ?? 0,
    mappedBytes: memory.get("total_mapped_file") ?? 0,
    swapBytes: memory.get("total_swap") ?? 0,
    pageFaults: memory.get("total_pgfault") ?? 0,
    majorPageFaults: memory.get("total_pgmajfault") ?? 0,
    memoryLimitBytes: toLimit(file("memory", "memory.limit_in_bytes")),
    ...(isBrief ? {} : readDetails1(file, read)),
  });
}

function readVersion2(paths: CgroupPaths, read: ReadText, isBrief: boolean): Usage | undefined {
  const file = (name: string): string | undefined => read(`${ROOT}${paths.get("") ?? "/"}/${name}`);
  const cpu = parseKeyed(file("cpu.stat"));
  const memory = parseKeyed(file("memory.stat"));
  const memoryBytes = toNumber(file("memory.current"));
  const usage = nanosOf(cpu.get("usage_usec"));
  if (usage === undefined || memoryBytes === undefined) return undefined;
  return withoutAbsent({
    cpuNanos: usage,
    userNanos: nanosOf(cpu.get("user_usec")),
    systemNanos: nanosOf(cpu.get("system_usec")),
    periods: cpu.get("nr_periods"),
    throttledPeriods: cpu.get("nr_throttled"),
    throttledNanos: nanosOf(cpu.get("throttled_usec")),
    memoryBytes,
    workingSetBytes: Math.max(0, memoryBytes - (memory.get("inactive_file") ?? 0)),
    rssBytes: memory.get("anon") ?? 0,
    cacheBytes: memory.get("file") ?? 0,
    mappedBytes: memory.get("file_mapped") ?? 0,
    swapBytes: toNumber(file("memory.swap.current")) ?? 0,
    pageFaults: memory.get("pgfault") ?? 0,
    majorPageFaults: memory.get("pgmajfault") ?? 0,
    memoryLimitBytes: toLimit(file("memory.max")),
    ...(isBrief ? {} : readDetails2(file, read)),
  });
}

type Details = Optional<
  Pick<
    Usage,
    | ("memoryFailures" | "maxMemoryBytes" | "oomKills" | "processes" | "threads" | "io")
    | ("cpuShares" | "cpuPeriodMicros" | "cpuQuotaMicros" | "pressures")
  >
>;

function readDetails1(
  file: (controller: string, name: string) => string | undefined,
  read: ReadText,
): Partial<Details> {
  return {
    memoryFailures: toNumber(file("memory", "memory.failcnt")),
    maxMemoryBytes: toNumber(file("memory", "memory.max_usage_in_bytes")),
    oomKills: parseKeyed(file("memory", "memory.oom_control")).get("oom_kill"),
    processes: countLines(file("memory", "cgroup.procs")),
    threads: toNumber(file("pids", "pids.current")),
    cpuShares: toNumber(file("cpu", "cpu.shares")),
    cpuPeriodMicros: toNumber(file("cpu", "cpu.cfs_period_us")),
    cpuQuotaMicros: toNumber(file("cpu", "cpu.cfs_quota_us")),
    io: parseBlkio(
      file("blkio", "blkio.throttle.io_service_bytes"),
      file("blkio", "blkio.throttle.io_serviced"),
      read,
    ),
  };
}

function readDetails2(
  file: (name: string) => string | undefined,
  read: ReadText,
): Partial<Details> {
  const events = parseKeyed(file("memory.events"));
  const max = file("cpu.max") ?? "";
  return {
    memoryFailures: events.get("max"),
    maxMemoryBytes: toNumber(file("memory.peak")),
    oomKills: events.get("oom_kill"),
    processes: countLines(file("cgroup.procs")),
    threads: toNumber(file("pids.current")),
    cpuShares: sharesOf(toNumber(file("cpu.weight"))),
    cpuPeriodMicros: toNumber(/ (\d+)/.exec(max)?.[1]),
    cpuQuotaMicros: toNumber(/^\d+/.exec(max)?.[0]),
    io: parseIoStat(file("io.stat"), read),
    pressures: readPressures((resource) => file(`${resource}.pressure`)),
  };
}

type Optional<T> = { readonly [K in keyof T]: T[K] | undefined };

function withoutAbsent(usage: Optional<Usage>): Usage {
  return Object.fromEntries(
    Object.entries(usage).filter(([, value]) => value !== undefined),
  ) as unknown as Usage;
}

/** The whole machine: /proc/stat in hundredths of a second, and /proc/meminfo. */
export function readNodeUsage(read: ReadText): Usage | undefined {
  const cpu = /^cpu +(.*)$/m
    .exec(read("/proc/stat") ?? "")?.[1]
    ?.split(" ")
    .map(Number);
  const memory = parseMeminfo(read("/proc/meminfo") ?? "");
  if (cpu === undefined || !memory.has("MemTotal")) return undefined;
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = cpu;
  const of = (name: string): number => memory.get(name) ?? 0;
  const memoryBytes = of("MemTotal") - of("MemFree");
  const faults = parseKeyed(read("/proc/vmstat"));
  const pressures = readPressures((resource) => read(`/proc/pressure/${resource}`));
  return {
    cpuNanos: (user + nice + system + irq + softirq + steal) * 1e7,
    memoryBytes,
    workingSetBytes: Math.max(0, memoryBytes - of("Inactive(file)")),
    rssBytes: of("AnonPages"),
    cacheBytes: of("Cached"),
    mappedBytes: of("Mapped"),
    swapBytes: of("SwapTotal") - of("SwapFree"),
    swapAvailableBytes: of("SwapFree"),
    pageFaults: faults.get("pgfault") ?? 0,
    majorPageFaults: faults.get("pgmajfault") ?? 0,
    memoryLimitBytes: of("MemTotal"),
    ...(pressures === undefined ? {} : { pressures }),
  };
}

/** Bytes by name. */
export function parseMeminfo(text: string): ReadonlyMap<string, number> {
  const lines = [...text.matchAll(/^(\S+):\s+(\d+)( kB)?$/gm)];
  return new Map(
    lines.map(([, name = "", value, unit]) => [name, Number(value) * (unit ? 1024 : 1)]),
  );
}

export interface InterfaceUsage {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

/** /proc/PID/net/dev without the loopback. */
export function parseInterfaces(text: string): readonly InterfaceUsage[] {
  return text.split("\n").flatMap((line) => {
    const [, name, rest] = /^\s*([^\s:]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined || name === "lo") return [];
    const numbers = (rest ?? "").split(/\s+/).map(Number);
    const at = (index: number): number => numbers[index] ?? 0;
    return [
      {
        ...{ name, rxBytes: at(0), rxPackets: at(1), rxErrors: at(2), rxDropped: at(3) },
        ...{ txBytes: at(8), txPackets: at(9), txErrors: at(10), txDropped: at(11) },
      },
    ];
  });
}

function parseKeyed(text: string | undefined): ReadonlyMap<string, number> {
  const lines = [...(text ?? "").matchAll(/^(\S+) (\d+)$/gm)];
  return new Map(lines.map(([, name = "", value]) => [name, Number(value)]));
}

function countLines(text: string | undefined): number | undefined {
  return text?.match(/\n/g)?.length ?? (text === undefined ? undefined : 0);
}

/** The weight that runc makes of shares, back. */
function sharesOf(weight: number | undefined): number | undefined {
  return weight === undefined ? undefined : Math.round(2 + ((weight - 1) * 262_142) / 9_999);
}

function toNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+\s*$/.test(text) ? Number(text) : undefined;
}

function toLimit(text: string | undefined): number | undefined {
  const limit = toNumber(text);
  return limit === undefined || limit >= NO_LIMIT ? undefined : limit;
}

function nanosOf(micros: number | undefined): number | undefined {
  return micros === undefined ? undefined : micros * 1000;
}
