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

type Amount = { readonly bytes: number } | { readonly fraction: number };

/** What is kept from pods. */
export interface Reservations {
  readonly systemReserved: Reserved;
  readonly kubeReserved: Reserved;
  readonly evictionHard: {
    readonly "memory.available"?: Amount;
    readonly "nodefs.available"?: Amount;
  };
}

/** cpu in millicores, the others in bytes. */
type Reserved = Readonly<Partial<Record<"cpu" | "memory" | "ephemeral-storage", number>>>;

/** What all pods together may use: capacity less what is reserved. */
export function computePodsShare(
  capacity: Capacity,
  { systemReserved, kubeReserved }: Reservations,
): Capacity {
  const left = (amount: number, name: keyof Reserved): number =>
    Math.max(0, amount - (systemReserved[name] ?? 0) - (kubeReserved[name] ?? 0));
  return {
    ...capacity,
    cpuMillis: left(capacity.cpuMillis, "cpu"),
    memoryBytes: left(capacity.memoryBytes, "memory"),
    ephemeralStorageBytes: left(capacity.ephemeralStorageBytes, "ephemeral-storage"),
  };
}

/** What pods may request: their share less the eviction thresholds; huge pages are no ordinary memory. */
export function computeAllocatable(capacity: Capacity, reservations: Reservations): Capacity {
  const share = computePodsShare(capacity, reservations);
  const hugeBytes = Object.values(capacity.hugePages).reduce((sum, bytes) => sum + bytes, 0);
  const { "memory.available": memory, "nodefs.available": storage } = reservations.evictionHard;
  const kept = (amount: Amount | undefined, whole: number): number => {
    if (amount === undefined) return 0;
    return "bytes" in amount ? amount.bytes : Math.ceil(whole * amount.fraction);
  };
  const left = (amount: number, taken: number): number => Math.max(0, amount - taken);
  return {
    ...share,
    memoryBytes: left(share.memoryBytes, hugeBytes + kept(memory, capacity.memoryBytes)),
    ephemeralStorageBytes: left(
      share.ephemeralStorageBytes,
      kept(storage, capacity.ephemeralStorageBytes),
    ),
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
