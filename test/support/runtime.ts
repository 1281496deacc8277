/** The runtime on the real Engine, for tests that need it. busybox:latest must be present. */

import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import {
  createDockerRuntime,
  type DockerRuntimeOptions,
} from "../../src/runtime/docker/docker-runtime.ts";
import type { PodIdentity, Runtime } from "../../src/runtime/runtime.ts";

const ENGINE = "unix:///var/run/docker.sock";
const silent = createLogger({ level: "silent", pretty: false, write: () => undefined });

export const never = (): AbortSignal => new AbortController().signal;

export function createReal(
  endpoint = ENGINE,
  log = silent,
  change: Partial<DockerRuntimeOptions> = {},
): Runtime {
  return createDockerRuntime({
    ...{ endpoint, clock: systemClock, log, random: Math.random },
    ...{ exec: createExec(systemClock), seccompDir: "/nonexistent", hasSysResource: false },
    ...change,
  });
}

/** Removes everything of a pod. */
export async function removePod(runtime: Runtime, pod: PodIdentity): Promise<void> {
  const state = await runtime.list(never(), pod.uid);
  for (const { id } of state.containers) await runtime.removeContainer(id, never());
  for (const { id } of state.sandboxes) await runtime.removeSandbox(id, never());
}
