/**
 * Other resources for a container that runs. The Engine writes what it is given into the container's cgroup, memory and
 * swap in the order that the kernel allows; what it is not given stays. Called by docker-runtime.ts.
 */

import { LongshoreError } from "../../core/errors.ts";
import type { ContainerResources } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { translateResources } from "./translate.ts";

export async function updateResources(
  engine: Engine,
  update: { readonly id: string; readonly resources: ContainerResources },
  signal: AbortSignal,
): Promise<void> {
  const { id, resources } = update;
  const { cpuShares, cpuQuotaMicros, cpuPeriodMicros, memoryBytes } = resources;
  await refuseBelowUsage(engine, id, memoryBytes, signal);
  await engine.call(`change the resources of container ${id.slice(0, 12)}`, signal, (docker) =>
    docker.getContainer(id).update({
      CpuShares: cpuShares,
      ...(cpuQuotaMicros === undefined
        ? {}
        : { CpuQuota: cpuQuotaMicros, CpuPeriod: cpuPeriodMicros }),
      ...(memoryBytes === undefined ? {} : { Memory: memoryBytes, MemorySwap: memoryBytes }),
    }),
  );
}

/** The kernel of cgroup version 2 would kill it; that of version 1 refuses in words that nobody understands. */
async function refuseBelowUsage(
  engine: Engine,
  id: string,
  limit: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (limit === undefined) return;
  const what = `look at container ${id.slice(0, 12)}`;
  const raw = await engine.call(what, signal, (docker) => docker.getContainer(id).inspect());
  const { memoryBytes = Number.POSITIVE_INFINITY } = translateResources(raw);
  if (!raw.State.Running || limit >= memoryBytes) return;
  const { memory_stats } = await engine.call(what, signal, (docker) =>
    docker.getContainer(id).stats({ stream: false, "one-shot": true }),
  );
  // Pages of files that nobody used of late are given up for the asking.
  const files: Readonly<Record<string, number | undefined>> = { ...memory_stats.stats };
  const idle = files.total_inactive_file ?? files.inactive_file ?? 0;
  const usage = memory_stats.usage - idle;
  if (usage <= limit) return;
  throw new LongshoreError(
    "EngineConflict",
    `attempting to set container memory limit (${limit}) below current usage (${usage})`,
  );
}
