/**
 * The OCI runtimes of an Engine and what they can, out of its answer to /info. Pure. Called by docker-runtime.ts.
 */

import type { RuntimeHandler } from "../runtime.ts";
import { isOlder } from "./engine.ts";

/** Engine 25: the first that tells mounts which are to be recursively read-only, and what its runtimes can. */
const RECURSION_API = "1.44";
/** mount_setattr(2), by which runtimes do it. */
const RECURSION_KERNEL = [5, 12] as const;
const FEATURES = "org.opencontainers.runtime-spec.features";

export interface EngineInfo {
  readonly DefaultRuntime?: string;
  readonly KernelVersion?: string;
  /** By name; `status` is the runtime's own JSON, by the name of its specification. */
  readonly Runtimes?: Readonly<
    Record<string, { readonly status?: Readonly<Record<string, string>> }>
  >;
}

/** The default one comes first, without a name, and once more under its own. */
export function readHandlers(info: EngineInfo, apiVersion: string): readonly RuntimeHandler[] {
  const { DefaultRuntime = "runc", Runtimes = {} } = info;
  const canKernel = isKernelNewEnough(info.KernelVersion ?? "");
  const canEngine = !isOlder(apiVersion, RECURSION_API);
  const of = (name: string): boolean =>
    canKernel && canEngine && mountOptionsOf(Runtimes[name]?.status?.[FEATURES]).includes("rro");
  return [
    { name: "", recursiveReadOnlyMounts: of(DefaultRuntime) },
    ...Object.keys(Runtimes)
      .sort()
      .map((name) => ({ name, recursiveReadOnlyMounts: of(name) })),
  ];
}

function isKernelNewEnough(release: string): boolean {
  const [major = 0, minor = 0] = release.split(".").map((part) => Number.parseInt(part, 10));
  const [wantedMajor, wantedMinor] = RECURSION_KERNEL;
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

/** Of a runtime that tells nothing of itself nothing is expected. */
function mountOptionsOf(features: string | undefined): readonly string[] {
  try {
    const { mountOptions } = JSON.parse(features ?? "{}") as { mountOptions?: readonly string[] };
    return Array.isArray(mountOptions) ? mountOptions : [];
  } catch {
    return [];
  }
}
