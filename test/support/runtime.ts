/**
 * What tests of the runtime on the real Engine share: the runtime itself, and a pod (one sandbox with its containers)
 * that is removed afterwards whatever happened. busybox:latest must be present.
 */

import { randomUUID } from "node:crypto";
import { systemClock } from "../../src/core/clock.ts";
import { createLogger } from "../../src/core/logger.ts";
import { createDockerRuntime } from "../../src/runtime/docker/docker-runtime.ts";
import type {
  ContainerConfig,
  PodIdentity,
  Runtime,
  SandboxConfig,
} from "../../src/runtime/runtime.ts";

export const IMAGE = "busybox:latest";
export const ENGINE = "unix:///var/run/docker.sock";
export const never = (): AbortSignal => new AbortController().signal;

export const silent = createLogger({ level: "silent", pretty: false, write: () => undefined });

export function createReal(endpoint = ENGINE, log = silent): Runtime {
  return createDockerRuntime({
    ...{ endpoint, clock: systemClock, log, random: Math.random },
    hasSysResource: false,
  });
}

export function makePod(name: string): PodIdentity {
  return { namespace: "runtime2-test", name: `runtime2-${name}`, uid: randomUUID() };
}

export function sandboxOf(pod: PodIdentity, change: Partial<SandboxConfig> = {}): SandboxConfig {
  return {
    ...{ pod, attempt: 0, hostname: pod.name, hostNetwork: false, hostPid: false, hostIpc: false },
    ...{ ips: ["10.1.2.3"], sysctls: {}, annotations: { grace: "30" } },
    ...change,
  };
}

export function containerOf(
  pod: PodIdentity,
  sandboxId: string,
  change: Partial<ContainerConfig> = {},
): ContainerConfig {
  return {
    ...{ pod, name: "web", kind: "app", attempt: 0, specHash: "abc", sandboxId },
    ...{ image: IMAGE, imageId: IMAGE, command: ["sleep", "1000"], env: [], mounts: [] },
    ...{ tty: false, stdin: false, stdinOnce: false, privileged: false, readOnlyRootfs: false },
    ...{ noNewPrivileges: false, seccomp: "default", supplementalGroups: [] },
    ...{ addCapabilities: [], dropCapabilities: [], sharePid: false, hostPid: false },
    ...{ resources: { cpuShares: 2 }, annotations: { a: "b" } },
    ...change,
  };
}

/** Removes everything of a pod. */
export async function removePod(runtime: Runtime, pod: PodIdentity): Promise<void> {
  const state = await runtime.list(never(), pod.uid);
  for (const { id } of state.containers) await runtime.removeContainer(id, never());
  for (const { id } of state.sandboxes) await runtime.removeSandbox(id, never());
}
