/**
 * Node capacity as numbers, what of it pods may have, and both as the API's resource lists. Pure.
 * Used by capacity.ts, status.ts and, through NodeLoop.getAllocatable, by pod admission.
 */

export interface Capacity {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly ephemeralStorageBytes: number;
  readonly pods: number;
  /** Page size as in the resource's name (`2Mi`, `1Gi`) → bytes set aside by the kernel. */
  readonly hugePages: Readonly<Record<string, number>>;
}

/** kubelet's default hard eviction thresholds: memory.available < 100Mi, nodefs.available < 10 %. */
const EVICTION_MEMORY_BYTES = 100 * 1024 ** 2;
const EVICTION_STORAGE_FRACTION = 0.1;

/** What pods may request: capacity less the eviction thresholds; huge pages are no ordinary memory. */
export function computeAllocatable(capacity: Capacity): Capacity {
  const hugeBytes = Object.values(capacity.hugePages).reduce((sum, bytes) => sum + bytes, 0);
  const reserved = Math.ceil(capacity.ephemeralStorageBytes * EVICTION_STORAGE_FRACTION);
  return {
    ...capacity,
    memoryBytes: Math.max(0, capacity.memoryBytes - EVICTION_MEMORY_BYTES - hugeBytes),
    ephemeralStorageBytes: Math.max(0, capacity.ephemeralStorageBytes - reserved),
  };
}

/** The largest binary suffix that divides without a rest, as the API writes BinarySI quantities. */
export function formatBinary(bytes: number): string {
  if (bytes === 0) return "0";
  const suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
  let value = bytes;
  let power = 0;
  while (value % 1024 === 0 && power < suffixes.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${value}${suffixes[power]}`;
}

export function formatCpu(millis: number): string {
  return millis % 1000 === 0 ? String(millis / 1000) : `${millis}m`;
}

/** The resource list of `status.capacity` or `status.allocatable`. */
export function toResourceList(capacity: Capacity): Readonly<Record<string, string>> {
  const huge = Object.entries(capacity.hugePages).map(
    ([size, bytes]) => [`hugepages-${size}`, formatBinary(bytes)] as const,
  );
  return {
    cpu: formatCpu(capacity.cpuMillis),
    memory: formatBinary(capacity.memoryBytes),
    pods: String(capacity.pods),
    "ephemeral-storage": formatBinary(capacity.ephemeralStorageBytes),
    ...Object.fromEntries(huge),
  };
}

/** Plain numbers by resource name: cpu in millicores, pods as a count, the others in bytes. */
export function toNumbers(capacity: Capacity): Readonly<Record<string, number>> {
  const huge = Object.entries(capacity.hugePages).map(
    ([size, bytes]) => [`hugepages-${size}`, bytes] as const,
  );
  return {
    cpu: capacity.cpuMillis,
    memory: capacity.memoryBytes,
    pods: capacity.pods,
    "ephemeral-storage": capacity.ephemeralStorageBytes,
    ...Object.fromEntries(huge),
  };
}
