/**
 * The table of pods, and in it the one word that says how a pod is doing: the API server's printPod, state for state.
 * Pure; called by table.ts.
 */

import { ageOf } from "./duration.ts";
import { at, type KubeObject, listAt, textAt } from "./objects.ts";
import {
  AGE,
  type Cell,
  column,
  creationAge,
  NAME,
  NONE,
  numberAt,
  type RowCondition,
  type TableView,
  textOr,
  wideColumn,
} from "./table-view.ts";

export const POD_VIEW: TableView = {
  columns: [
    NAME,
    column("Ready", "The aggregate readiness state of this pod for accepting traffic."),
    column("Status", "The aggregate status of the containers in this pod."),
    column(
      "Restarts",
      "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    AGE,
    wideColumn("IP", "podIP is the IP address allocated to the pod."),
    wideColumn("Node", "NodeName indicates in which node this pod is scheduled."),
    wideColumn("Nominated Node", "nominatedNodeName is set only when this pod preempts others."),
    wideColumn("Readiness Gates", "The readiness gates of this pod that are met."),
  ],
  cells: podCells,
  conditions: podConditions,
};

/** What the containers of a pod add up to. */
interface Summary {
  readonly reason: string;
  readonly ready: number;
  readonly restarts: Restarts;
}

interface Restarts {
  readonly count: number;
  /** "" while no container has ended before. RFC 3339 in UTC, so texts compare as times. */
  readonly last: string;
}

const NO_RESTARTS: Restarts = { count: 0, last: "" };

function podCells(pod: KubeObject, nowMs: number): readonly Cell[] {
  const { reason, ready, restarts } = summarize(pod);
  const total =
    listAt(pod, "spec", "containers").length +
    listAt(pod, "spec", "initContainers").filter(isSidecar).length;
  const [firstIp] = listAt(pod, "status", "podIPs");
  return [
    pod.metadata.name,
    `${ready}/${total}`,
    statusWord(pod, reason),
    restartsText(restarts, nowMs),
    creationAge(pod, nowMs),
    textAt(firstIp, "ip") || textOr(NONE, pod, "status", "podIP"),
    textOr(NONE, pod, "spec", "nodeName"),
    textOr(NONE, pod, "status", "nominatedNodeName"),
    readinessGates(pod),
  ];
}

function summarize(pod: KubeObject): Summary {
  const initial: Summary = { reason: podReason(pod), ready: 0, restarts: NO_RESTARTS };
  const { summary, isInitializing, sidecarRestarts } = summarizeInit(pod, initial);
  if (isInitializing && !hasTrueCondition(pod, "Initialized")) return summary;
  return summarizeMain(pod, { ...summary, restarts: sidecarRestarts });
}

function podReason(pod: KubeObject): string {
  const isGated = listAt(pod, "status", "conditions").some(
    (condition) =>
      textAt(condition, "type") === "PodScheduled" &&
      textAt(condition, "reason") === "SchedulingGated",
  );
  if (isGated) return "SchedulingGated";
  return textAt(pod, "status", "reason") || textAt(pod, "status", "phase");
}

/** Goes through the init containers up to the first that holds the pod up. */
function summarizeInit(
  pod: KubeObject,
  initial: Summary,
): {
  readonly summary: Summary;
  readonly isInitializing: boolean;
  readonly sidecarRestarts: Restarts;
} {
  const specs = listAt(pod, "spec", "initContainers");
  let { ready, restarts } = initial;
  let sidecarRestarts = NO_RESTARTS;
  for (const [index, status] of listAt(pod, "status", "initContainerStatuses").entries()) {
    const spec = specs.find((one) => textAt(one, "name") === textAt(status, "name"));
    restarts = addRestarts(restarts, status);
    if (isSidecar(spec)) sidecarRestarts = addRestarts(sidecarRestarts, status);
    const isDone = at(status, "state", "terminated", "exitCode") === 0;
    if (isDone) continue;
    if (isSidecar(spec) && at(status, "started") === true) {
      if (at(status, "ready") === true) ready++;
      continue;
    }
    const reason = `Init:${initReason(status, index, specs.length)}`;
    return { summary: { reason, ready, restarts }, isInitializing: true, sidecarRestarts };
  }
  return { summary: { ...initial, ready, restarts }, isInitializing: false, sidecarRestarts };
}

function initReason(status: unknown, index: number, total: number): string {
  const terminated = at(status, "state", "terminated");
  if (terminated !== undefined) return textOr(exitText(terminated), terminated, "reason");
  const waiting = textAt(status, "state", "waiting", "reason");
  return waiting !== "" && waiting !== "PodInitializing" ? waiting : `${index}/${total}`;
}

/** Goes through the containers from the last to the first, so that the first with something to say has the word. */
function summarizeMain(pod: KubeObject, initial: Summary): Summary {
  let { reason, ready, restarts } = initial;
  let hasRunning = false;
  for (const status of listAt(pod, "status", "containerStatuses").toReversed()) {
    restarts = addRestarts(restarts, status);
    const terminated = at(status, "state", "terminated");
    const waiting = textAt(status, "state", "waiting", "reason");
    if (waiting !== "") {
      reason = waiting;
      continue;
    }
    if (terminated !== undefined) {
      reason = textOr(exitText(terminated), terminated, "reason");
      continue;
    }
    if (at(status, "ready") !== true || at(status, "state", "running") === undefined) continue;
    hasRunning = true;
    ready++;
  }
  if (reason === "Completed" && hasRunning)
    reason = hasTrueCondition(pod, "Ready") ? "Running" : "NotReady";
  return { reason, ready, restarts };
}

function statusWord(pod: KubeObject, reason: string): string {
  if (pod.metadata.deletionTimestamp === undefined) return reason;
  if (textAt(pod, "status", "reason") === "NodeLost") return "Unknown";
  const phase = textAt(pod, "status", "phase");
  return phase === "Succeeded" || phase === "Failed" ? reason : "Terminating";
}

function exitText(terminated: unknown): string {
  const signal = numberAt(terminated, "signal");
  return signal !== 0 ? `Signal:${signal}` : `ExitCode:${numberAt(terminated, "exitCode")}`;
}

function isSidecar(spec: unknown): boolean {
  return textAt(spec, "restartPolicy") === "Always";
}

function addRestarts(sum: Restarts, status: unknown): Restarts {
  const ended = textAt(status, "lastState", "terminated", "finishedAt");
  return {
    count: sum.count + numberAt(status, "restartCount"),
    last: ended > sum.last ? ended : sum.last,
  };
}

function restartsText(restarts: Restarts, nowMs: number): string {
  if (restarts.count === 0 || restarts.last === "") return String(restarts.count);
  return `${restarts.count} (${ageOf(restarts.last, nowMs)} ago)`;
}

function readinessGates(pod: KubeObject): string {
  const gates = listAt(pod, "spec", "readinessGates");
  if (gates.length === 0) return NONE;
  const met = gates.filter((gate) => hasTrueCondition(pod, textAt(gate, "conditionType")));
  return `${met.length}/${gates.length}`;
}

function hasTrueCondition(pod: KubeObject, type: string): boolean {
  return listAt(pod, "status", "conditions").some(
    (condition) => textAt(condition, "type") === type && textAt(condition, "status") === "True",
  );
}

function podConditions(pod: KubeObject): readonly RowCondition[] {
  const completed = { type: "Completed", status: "True" } as const;
  switch (textAt(pod, "status", "phase")) {
    case "Succeeded":
      return [
        { ...completed, reason: "Succeeded", message: "The pod has completed successfully." },
      ];
    case "Failed":
      return [{ ...completed, reason: "Failed", message: "The pod failed." }];
    default:
      return [];
  }
}
