/**
 * From a pod to the sandbox the runtime is asked for, and the OCI runtime its RuntimeClass names. Handler and cgroup are
 * kept with the sandbox: its containers need the same ones when class or host have changed. Called by starter.ts.
 */

import type { ApiClient } from "../api/client.ts";
import { RUNTIME_CLASSES } from "../api/resources.ts";
import type { Pod } from "../api/types.ts";
import type { PodPlacement } from "../cgroups/pod-cgroups.ts";
import { hasCode, LongshoreError } from "../core/errors.ts";
import { type ContainerConfigInput, RESOURCES_ANNOTATION } from "../runtime/container-config.ts";
import type { Sandbox, SandboxConfig } from "../runtime/runtime.ts";
import { dottedSysctl } from "../runtime/sysctls.ts";
import { hostPortsOf } from "./host-ports.ts";
import { computeKernelHostname } from "./hostname.ts";

const HANDLER = "runtime-handler";
const CGROUP = "cgroup-parent";
const PIDS = "pids-limit";

export interface SandboxInput {
  readonly attempt: number;
  readonly ips: readonly string[];
  readonly clusterDomain: string;
  /** Result of findRuntimeHandler. */
  readonly runtimeHandler: string | undefined;
  readonly placement: PodPlacement;
}

/** Throws ContainerConfigInvalid for a host name that is too long. */
export function computeSandboxConfig(pod: Pod, input: SandboxInput): SandboxConfig {
  const { namespace, name, uid } = pod.metadata;
  const { spec } = pod;
  const { attempt, ips, clusterDomain, runtimeHandler } = input;
  const { cgroupParent, pidsLimit } = input.placement;
  return {
    pod: { namespace, name, uid },
    attempt,
    hostname: computeKernelHostname(pod, clusterDomain),
    hostNetwork: spec.hostNetwork ?? false,
    hostPid: spec.hostPID ?? false,
    hostIpc: spec.hostIPC ?? false,
    ips,
    hostPorts: spec.hostNetwork === true ? [] : hostPortsOf(spec),
    sysctls: Object.fromEntries(
      (spec.securityContext?.sysctls ?? []).map((one) => [dottedSysctl(one.name), one.value]),
    ),
    ...(runtimeHandler === undefined ? {} : { runtimeHandler }),
    ...(cgroupParent === undefined ? {} : { cgroupParent }),
    annotations: {
      ...(runtimeHandler === undefined ? {} : { [HANDLER]: runtimeHandler }),
      ...(cgroupParent === undefined ? {} : { [CGROUP]: cgroupParent }),
      ...(pidsLimit === undefined ? {} : { [PIDS]: String(pidsLimit) }),
      ...(spec.resources === undefined
        ? {}
        : { [RESOURCES_ANNOTATION]: JSON.stringify(spec.resources) }),
    },
  };
}

/** What containers have of the sandbox they join: OCI runtime, cgroup, or what stands in for it. */
export function inheritedOf(
  sandbox: Sandbox | undefined,
): Pick<ContainerConfigInput, "runtimeHandler" | "cgroupParent" | "pidsLimit"> {
  const {
    [HANDLER]: runtimeHandler,
    [CGROUP]: cgroupParent,
    [PIDS]: pids,
  } = sandbox?.annotations ?? {};
  return {
    ...(runtimeHandler === undefined ? {} : { runtimeHandler }),
    ...(cgroupParent === undefined ? {} : { cgroupParent }),
    ...(pids === undefined ? {} : { pidsLimit: Number(pids) }),
  };
}

/** Whether containers of this sandbox can have mounts that are recursively read-only. */
export function hasRecursiveReadOnly(
  sandbox: Sandbox | undefined,
  handlers: readonly string[],
): boolean {
  return handlers.includes(sandbox?.annotations[HANDLER] ?? "");
}

/** Throws ContainerConfigInvalid when the class does not exist. */
export async function findRuntimeHandler(
  client: Pick<ApiClient, "get">,
  { spec }: Pod,
  signal: AbortSignal,
): Promise<string | undefined> {
  const name = spec.runtimeClassName;
  if (name === undefined || name === "") return undefined;
  try {
    return (await client.get(RUNTIME_CLASSES, { name }, signal)).handler;
  } catch (error) {
    if (!hasCode(error, "ApiNotFound")) throw error;
    throw new LongshoreError("ContainerConfigInvalid", `RuntimeClass "${name}" not found`, {
      cause: error,
    });
  }
}
