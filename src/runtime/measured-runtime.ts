/** A Runtime that tells how long each call took and how it ended, by the kubelet's names. Made by agent.ts. */

import type { Clock } from "../core/clock.ts";
import { hasCode } from "../core/errors.ts";
import type { Runtime } from "./runtime.ts";

/** One call that ended; what was given up is not told. */
export type OnRuntimeOperation = (
  operation: string,
  result: { readonly seconds: number; readonly isFailed: boolean },
) => void;

/** operation_type of kubelet_runtime_operations_total; what streams is no operation. */
const OPERATIONS = {
  info: "version",
  list: "list_containers",
  runSandbox: "run_podsandbox",
  stopSandbox: "stop_podsandbox",
  removeSandbox: "remove_podsandbox",
  createContainer: "create_container",
  startContainer: "start_container",
  stopContainer: "stop_container",
  updateResources: "update_container",
  removeContainer: "remove_container",
  containerUsage: "container_stats",
  inspectImage: "image_status",
  pullImage: "pull_image",
  listImages: "list_images",
  exec: "exec",
  attach: "attach",
  execSync: "exec_sync",
} as const satisfies Partial<Record<keyof Runtime, string>>;

type AnyCall = (...args: readonly unknown[]) => Promise<unknown>;

export function measureRuntime(runtime: Runtime, clock: Clock, on: OnRuntimeOperation): Runtime {
  const measured = Object.entries(OPERATIONS).map(([name, operation]) => {
    const call = runtime[name as keyof typeof OPERATIONS] as AnyCall;
    const timed: AnyCall = async (...args) => {
      const startedAt = clock.monotonic();
      const seconds = (): number => (clock.monotonic() - startedAt) / 1000;
      try {
        const result = await call.apply(runtime, args as unknown[]);
        on(operation, { seconds: seconds(), isFailed: false });
        return result;
      } catch (error) {
        if (!hasCode(error, "Aborted")) on(operation, { seconds: seconds(), isFailed: true });
        throw error;
      }
    };
    return [name, timed] as const;
  });
  return { ...runtime, ...(Object.fromEntries(measured) as Partial<Runtime>) };
}
