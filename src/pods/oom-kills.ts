/**
 * Which ended containers lost a process to the kernel's OOM killer, where the runtime's own word may come too late or not
 * at all: on cgroup version 2 it hears of a container's last moment only by chance. The pod's cgroup outlives them and
 * counts for all, so what its count has and the containers that run have not is of those that ended. Pure; used by
 * worker.ts with every new listing. What was told once stays so: a later look must not take it back.
 */

import type { PodStatus } from "../api/types.ts";
import type { RuntimeState } from "../runtime/runtime.ts";
import { containerStatusesOf } from "./snapshot.ts";

export interface OomRecord {
  /** Kills in containers that have ended, as last counted; undefined = never counted. */
  readonly counted: number | undefined;
  /** IDs of ended containers that were looked at. */
  readonly seen: ReadonlySet<string>;
  /** Those of them that lost a process. */
  readonly killed: ReadonlySet<string>;
}

export const NO_OOM_KILLS: OomRecord = { counted: undefined, seen: new Set(), killed: new Set() };

/** A pod of which nothing was ever started has nothing to be counted: what is killed from now on is its containers'. */
export function beginOomKills(
  before: OomRecord,
  { containers }: RuntimeState,
  status: PodStatus,
): OomRecord {
  const isNew =
    before.counted === undefined &&
    containers.length === 0 &&
    containerStatusesOf(status).every(({ containerID }) => containerID === undefined);
  return isNew ? { ...before, counted: 0 } : before;
}

/** Whether the kernel's count is worth a look: something ended, or runs that nobody has counted yet. */
export function needsCount({ counted, seen }: OomRecord, { containers }: RuntimeState): boolean {
  if (counted === undefined) return containers.length > 0;
  return containers.some(({ id, state }) => state === "exited" && !seen.has(id));
}

/** @param kills in containers that have ended; undefined = it cannot be told. */
export function noteOomKills(
  before: OomRecord,
  { containers }: RuntimeState,
  kills: number | undefined,
  status: PodStatus,
): OomRecord {
  const ended = containers.filter(({ state }) => state === "exited");
  // Those of whom nothing is known yet are looked at again: the next one to end must not be blamed for them.
  const isCounted = before.counted === undefined || kills !== undefined;
  const looked = isCounted ? ended : ended.filter(({ id }) => before.seen.has(id));
  const fresh = ended.filter(({ id }) => !before.seen.has(id));
  const told = new Set(before.counted === undefined ? toldBefore(status) : before.killed);
  const isMore = before.counted !== undefined && kills !== undefined && kills > before.counted;
  // Of several that ended at once it was those that were killed, if any was.
  const candidates = fresh.filter(({ exitCode }) => exitCode === KILLED);
  const blamed = !isMore ? [] : candidates.length > 0 ? candidates : fresh;
  const killed = ended.filter((one) => told.has(one.id) || blamed.includes(one));
  return {
    counted: kills ?? before.counted,
    seen: new Set(looked.map(({ id }) => id)),
    killed: new Set(killed.map(({ id }) => id)),
  };
}

/** Exit code of what ended by SIGKILL. */
const KILLED = 137;

/** What an agent before this one found out. */
function toldBefore(status: PodStatus): readonly string[] {
  return containerStatusesOf(status)
    .flatMap(({ state, lastState }) => [state?.terminated, lastState?.terminated])
    .filter((ended) => ended?.reason === "OOMKilled")
    .map((ended) => ended?.containerID?.replace(/^\w+:\/\//, "") ?? "");
}

/** The runtime's own word or ours. */
export function withOomKills(state: RuntimeState, { killed }: OomRecord): RuntimeState {
  if (killed.size === 0) return state;
  const containers = state.containers.map((one) =>
    killed.has(one.id) ? { ...one, oomKilled: true } : one,
  );
  return { ...state, containers };
}
