/**
 * Why a Service is reached, or not, from a pod, from the node and from outside: what the API asks for, what the kernel
 * does, and whether the two agree. Pure: objects and the kernel's rules in, a value out that is printed or given as JSON.
 * Used by `longshore explain service`.
 */

import type { EndpointSlice, Service } from "../api/types.ts";
import type { Family } from "../core/ip.ts";
import { endpointChain, NODEPORTS, SERVICES, serviceChain } from "./chains.ts";
import {
  computeEndpoints,
  type Endpoint,
  type EndpointSelection,
  type Place,
  selectEndpoints,
} from "./endpoints.ts";
import {
  type Expected,
  expectedOf,
  type Front,
  isKeptByAffinity,
  type Origin,
  type PolicySubject,
} from "./expected-path.ts";
import { computeServicePorts, type ServicePort } from "./services.ts";
import { type SavedRule, splitWords } from "./trace/saved-rules.ts";
import { type Kernel, type Packet, type Step, tracePacket, type Way } from "./trace/tracer.ts";

export interface ExplainInput {
  readonly service: Service;
  readonly endpointSlices: readonly EndpointSlice[];
  readonly place: Place;
  readonly family: Family;
  readonly kernel: Kernel;
  /** An address of each that is no endpoint; absent where nobody knows one. */
  readonly sources: Readonly<Partial<Record<Origin, string>>>;
  /** Where NodePorts are tried. */
  readonly nodeIp?: string;
}

export interface EndpointExplanation {
  readonly target: string;
  readonly facts: readonly string[];
}

export interface PathExplanation {
  readonly from: Origin;
  readonly source: string;
  readonly kind: Front["kind"];
  readonly destination: string;
  readonly port: number;
  readonly verdict: "delivered" | "unchanged" | "REJECT" | "DROP";
  readonly targets: readonly string[];
  readonly isMasqueraded: boolean;
  readonly why: readonly string[];
  /** Set when the kernel does not do what the API asks for. */
  readonly difference?: string;
  readonly doubts: readonly string[];
}

export interface PortExplanation {
  readonly name: string;
  readonly family: Family;
  readonly protocol: ServicePort["protocol"];
  readonly addresses: readonly string[];
  readonly policies: readonly string[];
  readonly endpoints: readonly EndpointExplanation[];
  readonly paths: readonly PathExplanation[];
  readonly rules: readonly Step[];
}

export interface ServiceExplanation {
  readonly ports: readonly PortExplanation[];
  /** What of its objects got no rules. */
  readonly skipped: readonly string[];
}

export function explainService(input: ExplainInput): ServiceExplanation {
  const { service, endpointSlices, place, family } = input;
  const skipped: string[] = [];
  const skip = (reason: string): void => void skipped.push(reason);
  const ports = computeServicePorts([service], family, skip);
  const endpoints = computeEndpoints(endpointSlices, family, place.nodeName, skip);
  return {
    ports: [...ports].map(([key, port]) => explainPort(input, port, endpoints.get(key) ?? [])),
    skipped,
  };
}

function explainPort(
  input: ExplainInput,
  port: ServicePort,
  all: readonly Endpoint[],
): PortExplanation {
  const { family, place, kernel, sources } = input;
  const nodeIp = nodePortIp(kernel, input.nodeIp);
  const selection = selectEndpoints(port, all, place);
  const fronts: Front[] = [
    { kind: "clusterIP", ip: port.clusterIp, port: port.port },
    ...port.externalIps.map((ip) => ({ kind: "externalIP", ip, port: port.port }) as const),
    ...port.loadBalancerVips.map((ip) => ({ kind: "loadBalancer", ip, port: port.port }) as const),
    ...(port.nodePort === 0 || nodeIp === undefined
      ? []
      : [{ kind: "nodePort", ip: nodeIp, port: port.nodePort } as const]),
  ];
  const origins = Object.entries(sources) as [Origin, string][];
  return {
    ...{ name: port.name, family, protocol: port.protocol },
    addresses: fronts.map(({ kind, ip, port: number }) => `${kind} ${ip} port ${number}`),
    policies: policiesOf(port),
    endpoints: all.map((endpoint) => ({
      target: endpoint.target,
      facts: factsOf(endpoint, selection, port),
    })),
    paths: fronts.flatMap((front) =>
      origins.map(([from, source]) =>
        explainPath({ port, selection, all, place, kernel }, front, { from, source }),
      ),
    ),
    rules: rulesOf(kernel, port, all),
  };
}

/** An address on which NodePorts are answered: with nodePortAddresses it need not be the node's first. */
function nodePortIp(kernel: Kernel, nodeIp: string | undefined): string | undefined {
  const rules = kernel.rules.get("nat")?.get(SERVICES)?.rules ?? [];
  const words = rules
    .map((rule) => splitWords(rule.text))
    .filter((all) => all.at(-1) === NODEPORTS);
  const listed = words.flatMap((all) =>
    all.includes("--dst-type") ? [] : (all[all.indexOf("-d") + 1] ?? "").split("/").slice(0, 1),
  );
  return listed.length === 0 || listed.includes(nodeIp ?? "") ? nodeIp : listed[0];
}

interface Subject extends PolicySubject {
  readonly kernel: Kernel;
}

function explainPath(
  subject: Subject,
  front: Front,
  { from, source }: { readonly from: Origin; readonly source: string },
): PathExplanation {
  const { port, kernel } = subject;
  const packet: Packet = {
    ...{ source, destination: front.ip, port: front.port, protocol: port.protocol },
  };
  const ways = tracePacket(kernel, packet);
  const redirected = ways.filter((way) => way.isRedirected);
  const targets = [...new Set(redirected.map((way) => way.target))].sort();
  const [first] = ways;
  const verdict =
    first === undefined || (first.verdict === "delivered" && targets.length === 0)
      ? "unchanged"
      : first.verdict;
  const expected = expectedOf(subject, front, { from, source });
  const isKept = isKeptByAffinity(port, expected.targets, targets);
  // kube-proxy's refusals of external addresses are not on the way of what the node itself sends.
  const isExempt = from === "this node" && front.kind !== "clusterIP" && targets.length === 0;
  const difference =
    isKept || (isExempt && verdict === "unchanged" && expected.targets.length === 0)
      ? undefined
      : differenceOf(expected, verdict, targets);
  const masquerade = ways.find((way) => way.isMasqueraded);
  return {
    ...{
      from,
      source,
      kind: front.kind,
      destination: front.ip,
      port: front.port,
      verdict,
      targets,
    },
    isMasqueraded: masquerade !== undefined,
    why: [
      expected.why,
      ...(isKept ? ["session affinity: that is where it went before"] : []),
      ...stopOf(verdict, first),
      ...(masquerade === undefined || targets.length === 0 ? [] : [whyMasqueraded(masquerade)]),
    ],
    ...(difference === undefined ? {} : { difference }),
    doubts: [...new Set(ways.flatMap((way) => way.doubts))],
  };
}

function differenceOf(
  expected: Expected,
  verdict: PathExplanation["verdict"],
  targets: readonly string[],
): string | undefined {
  const wanted = [...expected.targets].sort().join(", ") || expected.stop;
  const isStopped = verdict === "REJECT" || verdict === "DROP";
  const found = targets.join(", ") || (isStopped ? verdict : "no rule that takes or stops it");
  return wanted === found ? undefined : `the API asks for ${wanted}, the kernel has ${found}`;
}

function stopOf(verdict: PathExplanation["verdict"], way: Way | undefined): readonly string[] {
  const last = way?.steps.at(-1);
  if (verdict === "unchanged") {
    const accepted = way?.steps.findLast(({ rule }) => rule.text.includes("-j ACCEPT"));
    const by = accepted === undefined ? "" : ` and ${accepted.rule.text} lets it pass`;
    return [`no rule takes it for the Service's${by}`];
  }
  if ((verdict !== "DROP" && verdict !== "REJECT") || last === undefined) return [];
  return [`${verdict} by ${last.table} ${last.rule.chain}: ${commentOf(last.rule)}`];
}

/** By the rule that marked it. */
function whyMasqueraded(way: Way): string {
  const marker = way.steps.findLast(({ rule }) => rule.text.includes("-j KUBE-MARK-MASQ"));
  const by = marker === undefined ? "a rule of another program" : commentOf(marker.rule);
  return `the source becomes this node's address (${by})`;
}

/** The rule's comment, or all of it. */
function commentOf(rule: SavedRule): string {
  const words = splitWords(rule.text);
  const at = words.indexOf("--comment");
  return at < 0 ? rule.text : (words[at + 1] ?? "");
}

function policiesOf(port: ServicePort): readonly string[] {
  const isExternal =
    port.nodePort !== 0 || port.externalIps.length + port.loadBalancerVips.length > 0;
  return [
    `internalTrafficPolicy ${port.internalPolicyLocal ? "Local" : "Cluster"}`,
    ...(isExternal
      ? [`externalTrafficPolicy ${port.externalPolicyLocal ? "Local" : "Cluster"}`]
      : []),
    ...(port.affinitySeconds > 0 ? [`sessionAffinity ClientIP ${port.affinitySeconds} s`] : []),
    ...(port.sourceRanges.length > 0 ? [`source ranges ${port.sourceRanges.join(", ")}`] : []),
    ...(port.healthCheckNodePort === 0 ? [] : [`health check port ${port.healthCheckNodePort}`]),
  ];
}

function factsOf(
  endpoint: Endpoint,
  selection: EndpointSelection,
  port: ServicePort,
): readonly string[] {
  const { isReady, isServing, isTerminating, isLocal, zoneHints, nodeHints } = endpoint;
  const uses = [
    ...(selection.cluster.includes(endpoint) ? ["cluster"] : []),
    ...(selection.local.includes(endpoint) ? ["local"] : []),
  ];
  const policyIsLocal = port.internalPolicyLocal || port.externalPolicyLocal;
  return [
    isReady ? "ready" : "not ready",
    isServing ? "serving" : "not serving",
    ...(isTerminating ? ["terminating"] : []),
    isLocal ? "local" : "elsewhere",
    ...(zoneHints.length > 0 ? [`hints zone ${zoneHints.join(", ")}`] : []),
    ...(nodeHints.length > 0 ? [`hints node ${nodeHints.join(", ")}`] : []),
    uses.length === 0 ? "unused" : policyIsLocal ? `used for ${uses.join(" and ")}` : "used",
  ];
}

/** Rules of the port's own chains, those that lead to them, and those that refuse it. */
function rulesOf(kernel: Kernel, port: ServicePort, all: readonly Endpoint[]): readonly Step[] {
  const { name, protocol } = port;
  const own = new Set([
    ...(["SVC", "SVL", "EXT", "FW"] as const).map((kind) => serviceChain(kind, name, protocol)),
    ...all.map((endpoint) => endpointChain(name, protocol, endpoint.target)),
  ]);
  return [...kernel.rules].flatMap(([table, chains]) =>
    [...chains.values()].flatMap(({ rules }) =>
      rules
        .filter((rule) => {
          const words = rule.text.split(" ");
          if (own.has(rule.chain) || own.has(words[words.lastIndexOf("-j") + 1] ?? "")) return true;
          const comment = commentOf(rule);
          return comment === name || comment.startsWith(`${name} `);
        })
        .map((rule) => ({ table, rule })),
    ),
  );
}
