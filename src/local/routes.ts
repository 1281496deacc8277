/**
 * What the agent answers on its local socket: `/explain/pod?name=` and `/status`. Made by agent.ts from functions that
 * look into its parts at the moment of the question, so that it can be asked before all of them exist.
 */

import { withDeadline } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { explainPod, type PodFacts } from "../pods/explain.ts";
import type { RuntimeInfo } from "../runtime/runtime.ts";
import type { LocalRoutes } from "./server.ts";
import { type AgentStatus, type CertificateTimes, computeAgentStatus } from "./status.ts";

export interface LocalSources {
  readonly nodeName: string;
  readonly version: string;
  readonly clock: Clock;
  /** Undefined while the agent runs no pods yet. */
  readonly pods: () => readonly PodFacts[] | undefined;
  /** What keeps the node from being ready. */
  readonly problems: () => readonly string[];
  /** What is watched on the API server, and whether the last thing heard of it was no failure. */
  readonly watches: () => readonly { readonly name: string; readonly isConnected: boolean }[];
  readonly certificates: () => CertificateTimes;
  readonly engine: (signal: AbortSignal) => Promise<RuntimeInfo>;
  /** Fires when the agent stops. */
  readonly signal: AbortSignal;
}

/** Less than people who ask are made to wait (client.ts). */
const ENGINE_DEADLINE_MS = 3_000;

export function createLocalRoutes(sources: LocalSources): LocalRoutes {
  return {
    "/explain/pod": async (query) =>
      explainPod(sources.pods(), query.get("name") ?? "", sources.problems()),
    "/status": async () => {
      const engine = await askEngine(sources);
      const { nodeName, version, clock, pods, problems, watches, certificates } = sources;
      const about = { nodeName, version, engine, now: clock.now() };
      const facts = { ...about, certificates: certificates() };
      const seen = { pods: pods() ?? [], problems: problems(), watches: watches() };
      return { status: 200, body: computeAgentStatus({ ...facts, ...seen }) };
    },
  };
}

async function askEngine({ clock, engine, signal }: LocalSources): Promise<AgentStatus["engine"]> {
  const deadline = { clock, ms: ENGINE_DEADLINE_MS, signal, code: "EngineTimeout" } as const;
  const message = `the Engine did not answer within ${ENGINE_DEADLINE_MS / 1000} s`;
  try {
    const { name, version } = await withDeadline({ ...deadline, message }, engine);
    return { isConnected: true, name, version };
  } catch (error) {
    return { isConnected: false, message: messageOf(error) };
  }
}
