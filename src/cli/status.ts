/**
 * `longshore status`: the node, its connections and what is wrong with its pods, on one screen; `-o json` has every pod.
 * Exit codes: ask-agent.ts.
 */

import type { AgentStatus, PodRow } from "../local/status.ts";
import { type AskHost, type AskOptions, printAnswer, toPlain } from "./ask-agent.ts";

const LABEL_WIDTH = 13;
const MAX_ROWS = 20;
const MAX_WHY = 80;
const HEADER = ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "WHY"];

export function runStatus(host: AskHost, options: AskOptions): Promise<number> {
  const question = { path: "/status", query: {} };
  return printAnswer<AgentStatus>(host, options, question, formatStatus);
}

export function formatStatus(status: AgentStatus): string {
  const { node, version, problems, apiServer, engine, certificates, pods } = status;
  const troubled = pods.filter(isTroubled);
  const sum = (count: (pod: PodRow) => number): number =>
    pods.reduce((n, pod) => n + count(pod), 0);
  const unwritten = pods.filter(({ isStatusWritten }) => !isStatusWritten).length;
  const lines = [
    ["Node", `${node}: ${problems.length === 0 ? "Ready" : problems.join("; ")} (${version})`],
    ["API server", apiServer.isConnected ? "connected" : `away: ${apiServer.away.join(", ")}`],
    ["Engine", engine.isConnected ? `${engine.name} ${engine.version}` : `away: ${engine.message}`],
    ["Certificates", formatCertificates(certificates)],
    ["Pods", `${pods.length}${countPhases(pods)}`],
    [
      "Containers",
      `${sum((pod) => pod.containers)}: ${sum((pod) => pod.running)} running, ${sum((pod) => pod.ready)} ready`,
    ],
    ["Status", unwritten === 0 ? "written" : `${unwritten} pods not yet written to the API server`],
  ].map(([label = "", value = ""]) => `${label.padEnd(LABEL_WIDTH)}${toPlain(value)}\n`);
  return `${lines.join("")}${formatTable(troubled)}`;
}

function formatCertificates(certificates: AgentStatus["certificates"]): string {
  const { clientUntil, servingUntil, problems } = certificates;
  const ends = [
    ...(clientUntil === undefined ? ["no client certificate"] : [`client until ${clientUntil}`]),
    ...(servingUntil === undefined ? [] : [`serving until ${servingUntil}`]),
  ];
  return [...ends, ...problems].join("; ");
}

/** Not Ready, not done, or not done with: what somebody who asks wants to see. */
function isTroubled(pod: PodRow): boolean {
  if (pod.lastError !== undefined || pod.phase === "Failed") return true;
  return pod.phase !== "Succeeded" && (pod.ready < pod.containers || pod.containers === 0);
}

function countPhases(pods: readonly PodRow[]): string {
  const counts = Map.groupBy(pods, ({ phase }) => phase);
  const told = [...counts].map(([phase, members]) => `${members.length} ${phase}`);
  return told.length === 0 ? "" : `: ${told.join(", ")}`;
}

function formatTable(pods: readonly PodRow[]): string {
  if (pods.length === 0) return "";
  const rows = pods
    .slice(0, MAX_ROWS)
    .map((pod) => [
      pod.namespace,
      pod.name,
      `${pod.ready}/${pod.containers}`,
      pod.status,
      String(pod.restarts),
      toPlain(pod.lastError ?? pod.why).slice(0, MAX_WHY),
    ]);
  const widths = HEADER.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = [HEADER, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const more = pods.length > MAX_ROWS ? `and ${pods.length - MAX_ROWS} more\n` : "";
  return `\n${lines.join("\n")}\n${more}`;
}
