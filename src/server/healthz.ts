/**
 * /healthz: `ok`, or the list of checks. Pure. `syncloop` fails as the kubelet's does: when what the pod workers need
 * has been missing for 5 minutes, because a restart of the engine is no reason to restart the agent.
 */

import type { Reply } from "./reply.ts";
import type { HealthCheck } from "./routes.ts";

/** kubelet: max(2 x resync, 5 min). */
const SYNC_LOOP_PATIENCE_MS = 5 * 60_000;

export interface HealthState {
  /** How long the node has had problems, in milliseconds; 0 = none now. */
  readonly unreadyForMs: number;
  readonly problems: readonly string[];
}

const NAMES = ["ping", "log", "syncloop"] as const;

export function computeHealthz(
  check: HealthCheck,
  query: URLSearchParams,
  state: HealthState,
): Reply {
  const failure =
    state.unreadyForMs >= SYNC_LOOP_PATIENCE_MS
      ? `sync Loop took longer than expected: ${state.problems.join(", ")}`
      : undefined;
  if (check !== "all") {
    return check === "syncloop" && failure !== undefined
      ? { status: 500, text: `internal server error: ${failure}\n` }
      : { status: 200, text: "ok" };
  }
  const excluded = query.getAll("exclude");
  const lines = NAMES.filter((name) => !excluded.includes(name)).map((name) =>
    name === "syncloop" && failure !== undefined
      ? `[-]${name} failed: reason withheld`
      : `[+]${name} ok`,
  );
  const isFailed = lines.some((line) => line.startsWith("[-]"));
  if (isFailed) return { status: 500, text: `${lines.join("\n")}\nhealthz check failed\n` };
  if (!query.has("verbose")) return { status: 200, text: "ok" };
  return { status: 200, text: `${lines.join("\n")}\nhealthz check passed\n` };
}
