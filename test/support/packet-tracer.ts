/**
 * Follows the first packet of a connection through a parsed rule set, along every way chance could take it: nat chains
 * from KUBE-SERVICES, then the filter chains with the destination the packet has by then. Knows exactly the matches
 * the proxy uses and throws on any other. Connection states, marks and affinity lists count as those of a new packet.
 */

import { cidrContains, parseAddress, parseCidr } from "../../src/core/ip.ts";
import { type ParsedTable, targetOf } from "./iptables-parser.ts";

export interface Packet {
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly protocol: "tcp" | "udp" | "sctp";
  /** It arrives on; absent = it comes from a process of this node. */
  readonly interface?: string;
}

export interface Trace {
  /** Sorted `ip:port` of all endpoints it may reach, or what becomes of it. */
  readonly output: readonly string[] | "REJECT" | "DROP" | "ACCEPT unmodified";
  /** True when it is marked for masquerading on some way. */
  readonly masq: boolean;
}

export interface Kernel {
  readonly tables: ReadonlyMap<string, ParsedTable>;
  /** Addresses that are LOCAL besides loopback. */
  readonly nodeIps: readonly string[];
}

/** One way through a table, so far. */
interface Way {
  readonly verdict?: string;
  readonly masq: boolean;
}

const FILTER_ENTRY = [
  "KUBE-PROXY-FIREWALL",
  "KUBE-NODEPORTS",
  "KUBE-EXTERNAL-SERVICES",
  "KUBE-SERVICES",
];

export function tracePacket(kernel: Kernel, packet: Packet): Trace {
  const ways = run(kernel, "nat", "KUBE-SERVICES", packet);
  const targets = new Set(ways.flatMap((way) => (way.verdict === undefined ? [] : [way.verdict])));
  const masq = ways.some((way) => way.masq);
  if (targets.size > 0) {
    if (ways.some((way) => way.verdict === undefined))
      throw new Error("some ways lead to an endpoint and some do not");
    const refused = [...targets].filter((target) => refusal(kernel, redirected(packet, target)));
    if (refused.length > 0) throw new Error(`refused after DNAT to ${refused.join(" ")}`);
    return { output: [...targets].sort(), masq };
  }
  return { output: refusal(kernel, packet) ?? "ACCEPT unmodified", masq };
}

function redirected(packet: Packet, target: string): Packet {
  const at = target.lastIndexOf(":");
  const destination = target.slice(0, at).replace(/[[\]]/g, "");
  return { ...packet, destination, port: Number(target.slice(at + 1)) };
}

function refusal(kernel: Kernel, packet: Packet): "REJECT" | "DROP" | undefined {
  for (const chain of FILTER_ENTRY) {
    for (const { verdict } of run(kernel, "filter", chain, packet)) {
      if (verdict === "REJECT" || verdict === "DROP") return verdict;
      if (verdict === "ACCEPT") return undefined;
    }
  }
  return undefined;
}

function run(kernel: Kernel, table: string, chain: string, packet: Packet): Way[] {
  const parsed = kernel.tables.get(table);
  if (parsed === undefined || !parsed.chains.includes(chain))
    throw new Error(`there is no chain ${chain} in ${table}`);
  let ways: Way[] = [{ masq: false }];
  for (const rule of parsed.rules) {
    if (rule.chain !== chain) continue;
    const match = matches(kernel, rule.words, packet);
    if (match === "no") continue;
    ways = ways.flatMap((way) => {
      if (way.verdict !== undefined) return [way];
      const after = step(kernel, { table, words: rule.words, packet }, way);
      return match === "maybe" ? [...after, way] : after;
    });
  }
  return ways;
}

function step(
  kernel: Kernel,
  at: { readonly table: string; readonly words: readonly string[]; readonly packet: Packet },
  way: Way,
): Way[] {
  const target = targetOf(at.words);
  if (target === undefined) return [way];
  if (target === "KUBE-MARK-MASQ") return [{ ...way, masq: true }];
  if (target === "DNAT") {
    const to = at.words[at.words.indexOf("--to-destination") + 1];
    return [{ ...way, verdict: to ?? "" }];
  }
  if (["ACCEPT", "REJECT", "DROP"].includes(target)) return [{ ...way, verdict: target }];
  return run(kernel, at.table, target, at.packet).map((inner) => ({
    ...inner,
    masq: inner.masq || way.masq,
  }));
}

/** `maybe` = chance decides. */
function matches(kernel: Kernel, words: readonly string[], packet: Packet): "yes" | "no" | "maybe" {
  let isChance = false;
  let isNegated = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? "";
    if (word === "!") {
      isNegated = true;
      continue;
    }
    if (word === "-j") break;
    const value = words[i + 1] ?? "";
    i += word === "--reap" ? 0 : 1;
    const verdict = matchOne(kernel, { option: word, value }, packet);
    if (verdict === "chance") isChance = true;
    else if (verdict === isNegated) return "no";
    isNegated = false;
  }
  return isChance ? "maybe" : "yes";
}

function matchOne(
  kernel: Kernel,
  { option, value }: { readonly option: string; readonly value: string },
  packet: Packet,
): boolean | "chance" {
  switch (option) {
    case "-m":
    case "--comment":
    case "--mode":
    case "--name":
    case "--seconds":
      return true;
    case "-p":
      return packet.protocol === value;
    case "-s":
      return isIn(packet.source, value);
    case "-d":
      return isIn(packet.destination, value);
    case "--dport":
      return isInPorts(packet.port, value);
    case "-i":
      return isInterface(packet.interface ?? "", value);
    case "--dst-type":
      return isLocal(kernel, packet.destination);
    case "--src-type":
      return isLocal(kernel, packet.source);
    case "--probability":
      return "chance";
    default:
      throw new Error(`the tracer does not know the match ${option} ${value}`);
  }
}

function isInPorts(port: number, value: string): boolean {
  const [first = "", last = first] = value.split(":");
  return Number(first) <= port && port <= Number(last);
}

function isInterface(name: string, value: string): boolean {
  return value.endsWith("+") ? name.startsWith(value.slice(0, -1)) : name === value;
}

function isIn(ip: string, range: string): boolean {
  const address = parseAddress(ip);
  const single = parseAddress(range);
  if (address === undefined) throw new Error(`no address: ${ip}`);
  if (single !== undefined)
    return single.family === address.family && single.value === address.value;
  const cidr = parseCidr(range);
  if (cidr === undefined) throw new Error(`neither an address nor a range: ${range}`);
  return cidrContains(cidr, address);
}

function isLocal(kernel: Kernel, ip: string): boolean {
  return ip === "::1" || isLoopback(ip) || kernel.nodeIps.includes(ip);
}

function isLoopback(ip: string): boolean {
  return ip.startsWith("127.");
}
