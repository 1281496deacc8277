/**
 * From a pod to the sandbox the runtime is asked for, and the OCI runtime its RuntimeClass names. The handler is kept
 * with the sandbox, because its containers need the same one when the class may be gone. Called by starter.ts.
 */

import type { ApiClient } from "../api/client.ts";
import { RUNTIME_CLASSES } from "../api/resources.ts";
import type { Pod } from "../api/types.ts";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { Sandbox, SandboxConfig } from "../runtime/runtime.ts";
import { dottedSysctl } from "../runtime/sysctls.ts";
import { computeKernelHostname } from "./hostname.ts";

const HANDLER = "runtime-handler";

export interface SandboxInput {
  readonly attempt: number;
  readonly ips: readonly string[];
  readonly clusterDomain: string;
  /** Result of findRuntimeHandler. */
  readonly runtimeHandler: string | undefined;
}

/** Throws ContainerConfigInvalid for a host name that is too long. */
export function computeSandboxConfig(pod: Pod, input: SandboxInput): SandboxConfig {
  const { namespace, name, uid } = pod.metadata;
  const { spec } = pod;
  const { attempt, ips, clusterDomain, runtimeHandler } = input;
  return {
    pod: { namespace, name, uid },
    attempt,
    hostname: computeKernelHostname(pod, clusterDomain),
    hostNetwork: spec.hostNetwork ?? false,
    hostPid: spec.hostPID ?? false,
    hostIpc: spec.hostIPC ?? false,
    ips,
    sysctls: Object.fromEntries(
      (spec.securityContext?.sysctls ?? []).map((one) => [dottedSysctl(one.name), one.value]),
    ),
    ...(runtimeHandler === undefined ? {} : { runtimeHandler }),
    annotations: runtimeHandler === undefined ? {} : { [HANDLER]: runtimeHandler },
  };
}

/** The runtime the sandbox was made with; undefined = the Engine's default. */
export function handlerOf(sandbox: Sandbox | undefined): string | undefined {
  return sandbox?.annotations[HANDLER];
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
