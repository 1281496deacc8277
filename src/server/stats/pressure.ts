/** Pressure stall information (PSI), where the kernel has it: cgroup version 2 and the machine. Pure. */

/** Nanoseconds in which tasks waited since the beginning, and percents of the last seconds. */
export interface Stall {
  readonly total: number;
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
}

/** `some` = at least one task waited, `full` = all did. */
export interface Pressure {
  readonly full: Stall;
  readonly some: Stall;
}

export interface Pressures {
  readonly cpu?: Pressure;
  readonly memory?: Pressure;
  readonly io?: Pressure;
}

const NONE: Stall = { total: 0, avg10: 0, avg60: 0, avg300: 0 };

/** @param read the text of the file of a resource. Undefined = the kernel has none. */
export function readPressures(
  read: (resource: keyof Pressures) => string | undefined,
): Pressures | undefined {
  const found = (["cpu", "memory", "io"] as const).flatMap((resource) => {
    const pressure = parsePressure(read(resource));
    return pressure === undefined ? [] : [[resource, pressure] as const];
  });
  return found.length === 0 ? undefined : Object.fromEntries(found);
}

function parsePressure(text: string | undefined): Pressure | undefined {
  const stalls = [
    ...(text ?? "").matchAll(
      /^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)$/gm,
    ),
  ].map(([, kind, avg10, avg60, avg300, total]) => [
    kind,
    {
      ...{ avg10: Number(avg10), avg60: Number(avg60), avg300: Number(avg300) },
      total: Number(total) * 1000,
    },
  ]);
  // Before Linux 5.13 the processor has no `full`.
  return stalls.length === 0
    ? undefined
    : { full: NONE, some: NONE, ...Object.fromEntries(stalls) };
}
