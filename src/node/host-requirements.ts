/**
 * What the agent refuses: a host with swap or with cgroup version 1 where the operator wants that, and an Engine that
 * maps users. Called by agent.ts.
 */

import { LongshoreError } from "../core/errors.ts";
import type { RuntimeInfo } from "../runtime/runtime.ts";
import type { HostReader } from "./host.ts";
import { ensureUnmapped } from "./host-checks.ts";

/** Throws Unsupported. */
export async function requireHost(
  wanted: { readonly failSwapOn: boolean; readonly failCgroupV1: boolean },
  {
    host,
    runtime,
  }: {
    readonly host: Pick<HostReader, "readText">;
    readonly runtime: Pick<RuntimeInfo, "cgroupVersion" | "mapsUsers">;
  },
): Promise<void> {
  ensureUnmapped(runtime);
  if (wanted.failCgroupV1 && runtime.cgroupVersion === 1)
    throw new LongshoreError(
      "Unsupported",
      "this host has cgroup version 1: move to version 2, or set failCgroupV1 (--fail-cgroupv1) to false",
    );
  if (!wanted.failSwapOn) return;
  // The first line is a heading.
  const swaps = ((await host.readText("/proc/swaps")) ?? "").trim().split("\n").slice(1);
  if (swaps.length > 0)
    throw new LongshoreError(
      "Unsupported",
      `swap is on: turn it off, or set failSwapOn (--fail-swap-on) to false; it is in use on ${swaps.map((line) => line.split(/\s+/)[0]).join(", ")}`,
    );
}
