/**
 * A pod's explanation as text: one aligned line for each thing, the reason first. Pure. Times are told as how long ago
 * or until when, seen from the agent's clock; characters that could play with a terminal are replaced.
 */

import type { ContainerExplanation, PodExplanation, ProbeExplanation } from "../pods/explain.ts";

import { toPlain } from "./ask-agent.ts";

type Line = readonly [label: string, value: string];

const LABEL_WIDTH = 13;
const TITLE = { startup: "Startup", liveness: "Liveness", readiness: "Readiness" } as const;

export function formatPodExplanation(pod: PodExplanation): string {
  const lines: readonly Line[] = [
    ["Pod", `${pod.namespace}/${pod.name} (uid ${pod.uid})`],
    ["Phase", join([pod.phase, textOf(pod), `worker: ${pod.workerPhase}`], "; ")],
    ["Why", pod.next.why],
    ["Next", formatNext(pod)],
    ...sandboxLines(pod),
    ["Volumes", join([pod.volumes.state, pod.volumes.message], ": ")],
    ...pod.containers.flatMap((container) => containerLines(pod, container)),
    ...pod.conditions.map((condition): Line => {
      const said = join([condition.reason, condition.message], ": ");
      return ["Condition", join([`${condition.type} is ${condition.status}`, said], ": ")];
    }),
    ...pod.ignored.map((what): Line => ["No effect", what]),
    ["Status", formatStatus(pod)],
    ...errorLines(pod),
  ];
  return lines.map(([label, value]) => `${label.padEnd(LABEL_WIDTH)}${toPlain(value)}\n`).join("");
}

function formatNext({ next, now }: PodExplanation): string {
  const doing = next.actions.join(", ");
  if (doing !== "" && next.isRunning) return `${doing} (under way)`;
  const at =
    next.at === undefined ? "at the next event" : `${distance(now, next.at)}, or at an event`;
  return doing === "" ? `nothing to do; looks again ${at}` : `${doing}, again ${at}`;
}

function sandboxLines({ sandboxes, now }: PodExplanation): readonly Line[] {
  if (sandboxes.length === 0) return [["Sandbox", "none"]];
  return sandboxes.map(({ id, state, attempt, ips, createdAt }) => [
    "Sandbox",
    join([
      `${state} (attempt ${attempt}, ${id.slice(0, 12)})`,
      ips.join(" "),
      `made ${distance(now, createdAt)}`,
    ]),
  ]);
}

function containerLines(pod: PodExplanation, container: ContainerExplanation): readonly Line[] {
  const { now } = pod;
  const { name, state, since, ready, restartCount, backOff, retryAt, lastExit } = container;
  const told = join([
    state,
    since === undefined ? "" : distance(now, since),
    ready ? "ready" : "not ready",
    `restarts: ${restartCount}`,
  ]);
  return [
    ["Container", name],
    ["  State", join([told, textOf(container)], "; ")],
    ...(backOff === undefined
      ? []
      : [["  Back-off", `${distance(now, backOff.until)} of ${backOff.delaySeconds} s`] as const]),
    ...(retryAt === undefined ? [] : [["  Retry", distance(now, retryAt)] as const]),
    ...(lastExit === undefined
      ? []
      : [
          [
            "  Last exit",
            join([`code ${lastExit.exitCode}`, lastExit.reason, distance(now, lastExit.at)]),
          ] as const,
        ]),
    ["  Image", formatImage(now, container.image)],
    ...container.probes.map((probe): Line => [`  ${TITLE[probe.kind]}`, formatProbe(now, probe)]),
  ];
}

function formatImage(now: string, image: ContainerExplanation["image"]): string {
  const retry = image.retryAt === undefined ? "" : `again ${distance(now, image.retryAt)}`;
  const state = { present: "present", pulling: "being pulled", failed: "failed", unknown: "" };
  const id = image.id?.replace(/^sha256:/, "").slice(0, 12);
  return join([join([image.name, state[image.state]], ": "), id, image.message, retry]);
}

function formatProbe(now: string, { result, streak, threshold, last }: ProbeExplanation): string {
  if (last === undefined) return `${result}; has not run yet`;
  const counted = `last ${last.outcome} ${distance(now, last.at)}, ${streak} in a row of ${threshold}`;
  return join([`${result}; ${counted}`, last.message], ": ");
}

function formatStatus({ status, now }: PodExplanation): string {
  if (status.state === "written") return "written";
  const since = status.since === undefined ? "" : `began ${distance(now, status.since)}`;
  return join(["not yet written to the API server", since, status.error]);
}

function errorLines({ lastError, now }: PodExplanation): readonly Line[] {
  if (lastError === undefined) return [];
  const { message, at, count } = lastError;
  return [["Last error", `${message} (${distance(now, at)}, ${count} in a row)`]];
}

function textOf(said: { readonly reason?: string; readonly message?: string }): string {
  return join([said.reason, said.message], ": ");
}

function join(parts: readonly (string | undefined)[], separator = ", "): string {
  return parts.filter((part) => part !== undefined && part !== "").join(separator);
}

function distance(now: string, time: string): string {
  const seconds = Math.round((Date.parse(time) - Date.parse(now)) / 1000);
  if (Number.isNaN(seconds)) return "";
  const span = formatSpan(Math.abs(seconds));
  return seconds > 0 ? `in ${span}` : seconds === 0 ? "now" : `${span} ago`;
}

function formatSpan(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800
    ? `${Math.floor(seconds / 3600)} h`
    : `${Math.floor(seconds / 86_400)} d`;
}
