/**
 * What a pod uses of the disk: its emptyDirs by du(1), which leaves links and other file systems alone and works outside
 * of this process, its containers by the Engine. One thing at a time, within a deadline each; what cannot be measured
 * counts as nothing, so that nobody is evicted for it. Called by manager.ts.
 */

import type { Pod } from "../api/types.ts";
import { hasCode } from "../core/errors.ts";
import type { Exec } from "../core/exec.ts";
import type { Container, Runtime } from "../runtime/runtime.ts";
import { diskEmptyDirs, hasStorageLimit, type PodUsage } from "./evictions.ts";

export interface MeasureOptions {
  readonly exec: Exec;
  readonly runtime: Pick<Runtime, "containerUsage">;
  readonly emptyDirPath: (podUid: string, volume: string) => string;
}

const WALK_MS = 60_000;

/** @param containers newest attempt first within a name. */
export async function measurePod(
  options: MeasureOptions,
  { pod, containers }: { readonly pod: Pod; readonly containers: readonly Container[] },
  signal: AbortSignal,
): Promise<PodUsage> {
  const emptyDirs = new Map<string, number>();
  for (const { name } of diskEmptyDirs(pod)) {
    const path = options.emptyDirPath(pod.metadata.uid, name);
    emptyDirs.set(name, await measureDirectory(options.exec, path, signal));
  }
  const used = new Map<string, number>();
  if (hasStorageLimit(pod))
    for (const { id, name } of containers) {
      if (!used.has(name)) used.set(name, await measureContainer(options.runtime, id, signal));
    }
  return { emptyDirs, containers: used };
}

async function measureDirectory(exec: Exec, path: string, signal: AbortSignal): Promise<number> {
  try {
    const args = ["-n", "19", "du", "-skx", path];
    // What goes while it looks makes it fail, but it tells the sum of the rest.
    const { stdout } = await exec({ file: "nice", args, timeoutMs: WALK_MS }, signal);
    return Number(/^\d+/.exec(stdout)?.[0] ?? 0) * 1024;
  } catch (error) {
    if (signal.aborted || !hasCode(error, "CommandTimeout")) throw error;
    return 0;
  }
}

async function measureContainer(
  runtime: MeasureOptions["runtime"],
  id: string,
  signal: AbortSignal,
): Promise<number> {
  try {
    const { writableBytes, logBytes } = await runtime.containerUsage(id, signal);
    return writableBytes + logBytes;
  } catch (error) {
    if (signal.aborted || !hasCode(error, "EngineNotFound", "EngineTimeout")) throw error;
    return 0;
  }
}
