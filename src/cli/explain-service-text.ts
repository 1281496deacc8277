/** The explanation of a Service, and the trace of a packet, as text for people. Pure. */

import type { PathExplanation, PortExplanation, ServiceExplanation } from "../proxy/explain.ts";
import type { Way } from "../proxy/trace/tracer.ts";

/** More of a kind are counted, not printed. */
const MOST = 50;

const VERDICTS = {
  delivered: "goes to",
  unchanged: "is not redirected",
  REJECT: "is refused",
  DROP: "is dropped",
} as const;

export interface Connections {
  /** What was looked for, e.g. `tcp 10.96.0.1:80`. */
  readonly to: string;
  /** Undefined = the tool is missing. */
  readonly lines: readonly string[] | undefined;
}

export function formatService(
  name: string,
  { ports, skipped }: ServiceExplanation,
  connections: readonly Connections[],
): string {
  const lines = [
    `Service ${name}`,
    ...(ports.length === 0 ? ["  has no rules: headless, ExternalName, or of another proxy"] : []),
    ...skipped.map((words) => `  left out: ${words}`),
    ...ports.flatMap(formatPort),
    ...(ports.length === 0 ? [] : ["", "Connections", ...connections.flatMap(formatConnections)]),
  ];
  return `${lines.join("\n")}\n`;
}

function formatPort(port: PortExplanation): readonly string[] {
  return [
    "",
    `Port ${port.name} ${port.protocol} ${port.family}`,
    ...port.addresses.map((address) => `  ${address}`),
    ...port.policies.map((policy) => `  ${policy}`),
    `  Endpoints: ${port.endpoints.length}`,
    ...atMost(port.endpoints.map(({ target, facts }) => `    ${target}  ${facts.join(", ")}`)),
    "  Traffic",
    ...port.paths.flatMap(formatPath),
    "  Rules in the kernel, with the packets they matched",
    ...atMost(port.rules.map(({ table, rule }) => `    ${table} [${rule.packets}] ${rule.text}`)),
  ];
}

function formatPath(path: PathExplanation): readonly string[] {
  const { from, source, kind, destination, port, verdict, targets } = path;
  const where = verdict === "delivered" ? ` ${listed(targets)}` : "";
  const seen =
    verdict === "delivered" ? (path.isMasqueraded ? ", masqueraded" : ", source kept") : "";
  return [
    `    from ${from} (${source}) to ${kind} ${destination}:${port} ${VERDICTS[verdict]}${where}${seen}`,
    ...path.why.map((words) => `      because ${words}`),
    ...(path.difference === undefined ? [] : [`      NOT IN STEP: ${path.difference}`]),
    ...path.doubts.map((doubt) => `      not understood, taken as no match: ${doubt}`),
  ];
}

function formatConnections({ to, lines }: Connections): readonly string[] {
  if (lines === undefined) return [`  ${to}: unknown, conntrack is not installed`];
  return [`  ${to}: ${lines.length}`, ...atMost(lines.map((line) => `    ${line}`))];
}

/** The trace of one packet: each way with its rules. */
export function formatTrace(packet: string, ways: readonly Way[]): string {
  const lines = ways.flatMap((way) => [
    `${percent(way.probability)} ${way.verdict} ${way.target}${way.isRedirected ? "" : " (not redirected)"}${way.isMasqueraded ? ", masqueraded" : ""}`,
    ...way.steps.map(({ table, rule }) => `    ${table} [${rule.packets}] ${rule.text}`),
    ...way.doubts.map((doubt) => `    not understood, taken as no match: ${doubt}`),
  ]);
  return `${[packet, ...atMost(lines, 20 * MOST)].join("\n")}\n`;
}

function percent(probability: number): string {
  return `${(100 * probability).toFixed(1)} %`;
}

function listed(targets: readonly string[]): string {
  const most = 5;
  const more = targets.length - most;
  return targets.slice(0, most).join(" or ") + (more > 0 ? ` or ${more} more` : "");
}

function atMost(lines: readonly string[], most = MOST): readonly string[] {
  const more = lines.length - most;
  return more > 0 ? [...lines.slice(0, most), `    … and ${more} more`] : lines;
}
