/** `longshore up` put together: the control plane of up.ts with the agent of agent.ts. */

import { startAgent } from "./agent.ts";
import type { Host } from "./host.ts";
import { readConfig } from "./read-config.ts";
import { runUp } from "./up.ts";

export function runUpCommand(
  host: Host,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  return runUp(host, flags, {
    startAgent: async (agentFlags) => {
      const { config } = await readConfig(host, agentFlags);
      return startAgent(host, config, host.createLogger(config.logLevel));
    },
  });
}
