/**
 * The state of the agent in one value, for `longshore status`: node, connections, and one row for each pod. Pure; asked
 * for through routes.ts, made into text by cli/status.ts. Holds no secret.
 */

import type { ContainerStatus } from "../api/types.ts";
import { formatTime } from "../core/clock.ts";
import type { PodFacts } from "../pods/explain.ts";

export interface AgentStatus {
  readonly node: string;
  readonly version: string;
  readonly now: string;
  /** What keeps the node from being ready; empty = ready. */
  readonly problems: readonly string[];
  readonly apiServer: {
    readonly isConnected: boolean;
    /** Watches that are not connected. */
    readonly away: readonly string[];
  };
  readonly engine: {
    readonly isConnected: boolean;
    readonly name?: string;
    readonly version?: string;
    readonly message?: string;
  };
  readonly certificates: CertificatesStatus;
  readonly pods: readonly PodRow[];
}

/** RFC 3339; absent = there is none. */
export interface CertificatesStatus {
  readonly clientUntil?: string;
  readonly servingUntil?: string;
  /** What keeps them from being renewed. */
  readonly problems: readonly string[];
}

export interface CertificateTimes {
  readonly clientEndsAt?: number;
  readonly servingEndsAt?: number | undefined;
  readonly problems: readonly string[];
}

export interface PodRow {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly phase: string;
  /** As kubectl shows it: the reason that a container waits for or ended with, else the pod's reason or phase. */
  readonly status: string;
  readonly containers: number;
  readonly running: number;
  readonly ready: number;
  readonly restarts: number;
  readonly why: string;
  readonly isStatusWritten: boolean;
  readonly lastError?: string;
}

export function computeAgentStatus(seen: {
  readonly nodeName: string;
  readonly version: string;
  readonly now: number;
  readonly problems: readonly string[];
  readonly watches: readonly { readonly name: string; readonly isConnected: boolean }[];
  readonly engine: AgentStatus["engine"];
  readonly certificates: CertificateTimes;
  readonly pods: readonly PodFacts[];
}): AgentStatus {
  const away = seen.watches.filter(({ isConnected }) => !isConnected).map(({ name }) => name);
  return {
    ...{ node: seen.nodeName, version: seen.version, now: formatTime(seen.now) },
    problems: seen.problems,
    apiServer: { isConnected: away.length === 0, away },
    engine: seen.engine,
    certificates: toUntil(seen.certificates),
    pods: seen.pods.map(toRow),
  };
}

function toUntil({ clientEndsAt, servingEndsAt, problems }: CertificateTimes): CertificatesStatus {
  return {
    ...(clientEndsAt === undefined ? {} : { clientUntil: formatTime(clientEndsAt) }),
    ...(servingEndsAt === undefined ? {} : { servingUntil: formatTime(servingEndsAt) }),
    problems,
  };
}

function toRow({ record, failure, statusWrite }: PodFacts): PodRow {
  const { pod, status, uid, lastPlan } = record;
  const { phase = "Pending", containerStatuses: apps = [], initContainerStatuses = [] } = status;
  const all = [...initContainerStatuses, ...apps];
  const reason = all.map(reasonOf).find((words) => words !== undefined);
  return {
    ...{ namespace: pod.metadata.namespace, name: pod.metadata.name, uid, phase },
    status: record.phase === "sync" ? (reason ?? status.reason ?? phase) : "Terminating",
    containers: apps.length,
    running: apps.filter(({ state }) => state?.running !== undefined).length,
    ready: apps.filter(({ ready }) => ready).length,
    restarts: all.reduce((sum, { restartCount }) => sum + restartCount, 0),
    why: lastPlan?.why ?? "",
    isStatusWritten: statusWrite.state === "written",
    ...(failure === undefined ? {} : { lastError: failure.message }),
  };
}

function reasonOf({ state }: ContainerStatus): string | undefined {
  const ended = state?.terminated;
  return state?.waiting?.reason ?? (ended?.exitCode === 0 ? undefined : ended?.reason);
}
