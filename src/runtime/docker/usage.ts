/**
 * What a container uses of the host's disk. The Engine walks the whole writable layer to tell, so it is asked seldom.
 * Logs are counted where their files can be seen from here. Called by docker-runtime.ts.
 */

import { stat } from "node:fs/promises";
import type { ContainerUsage } from "../runtime.ts";
import type { Engine } from "./engine.ts";

const WALK_MS = 60_000;

export async function readUsage(
  engine: Engine,
  id: string,
  signal: AbortSignal,
): Promise<ContainerUsage> {
  const raw = await engine.call(
    `measure container ${id.slice(0, 12)}`,
    signal,
    (docker, abortSignal) => docker.getContainer(id).inspect({ abortSignal, ...{ size: true } }),
    WALK_MS,
  );
  const { SizeRw = 0, LogPath } = raw as typeof raw & { readonly SizeRw?: number };
  return { writableBytes: SizeRw, logBytes: LogPath === "" ? 0 : await sizeOfLogs(LogPath) };
}

/** The newest and those that were rotated away, `.1` and on. */
async function sizeOfLogs(path: string): Promise<number> {
  let sum = (await sizeOf(path)) ?? 0;
  for (let number = 1; ; number++) {
    const size = await sizeOf(`${path}.${number}`);
    if (size === undefined) return sum;
    sum += size;
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
