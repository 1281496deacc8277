/** Whole configurations of sandboxes and containers, to be changed where a test cares. */

import { randomUUID } from "node:crypto";
import type { ContainerConfig, PodIdentity, SandboxConfig } from "../../src/runtime/runtime.ts";

export const IMAGE = "busybox:latest";

export function makePod(name: string): PodIdentity {
  return { namespace: "runtime2-test", name: `runtime2-${name}`, uid: randomUUID() };
}

export function sandboxOf(pod: PodIdentity, change: Partial<SandboxConfig> = {}): SandboxConfig {
  return {
    ...{ pod, attempt: 0, hostname: pod.name, hostNetwork: false, hostPid: false, hostIpc: false },
    ...{ ips: ["10.1.2.3"], hostPorts: [], sysctls: {}, annotations: { grace: "30" } },
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
    ...{ image: IMAGE, imageId: IMAGE, command: ["sleep", "1000"] },
    ...{ env: [], mounts: [], devices: [] },
    ...{ tty: false, stdin: false, stdinOnce: false, privileged: false, readOnlyRootfs: false },
    ...{ noNewPrivileges: false, seccomp: "default", supplementalGroups: [] },
    ...{ addCapabilities: [], dropCapabilities: [], sharePid: false, hostPid: false },
    ...{ resources: { cpuShares: 2 }, annotations: { a: "b" } },
    ...change,
  };
}
