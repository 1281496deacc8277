/**
 * What a container uses of the host's disk. The Engine walks the whole writable layer to tell, so it is asked seldom.
 * Logs are counted where their files can be seen from here. Called by docker-runtime.ts.
 */

import { stat } from "node:fs/promises";
import type { ContainerUsage } from "../runtime.ts";
import type { Engine } from "./engine.ts";

const WALK_MS = 60_000;
/** The newest and those that were rotated away: containers.ts has the Engine keep five. */
const LOG_SUFFIXES = ["", ".1", ".2", ".3", ".4"];

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
  let logBytes = 0;
  if (LogPath !== "")
    for (const suffix of LOG_SUFFIXES) logBytes += await sizeOf(`${LogPath}${suffix}`);
  return { writableBytes: SizeRw, logBytes };
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw error;
  }
}
