/**
 * Does a rule match a packet? Pure. Knows the matches that kube-proxy, Docker and this agent use; of any other it says
 * so, because a guess would make a trace a lie. A packet is always the first of its connection.
 */

import { cidrContains, parseAddress, parseCidr } from "../../core/ip.ts";

export interface PacketState {
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly protocol: "tcp" | "udp" | "sctp";
  /** Absent for what the node sends, and where nobody can tell. */
  readonly inInterface?: string;
  readonly outInterface?: string;
  readonly mark: number;
  readonly isRedirected: boolean;
}

export interface Surroundings {
  isLocal(ip: string): boolean;
  /** True when the source is in this list of xt_recent, also when its time is over: the kernel tells only ticks. */
  isRecent(list: string, ip: string): boolean;
}

/** `number` = matches with this probability. */
export type Verdict = boolean | number | { readonly unknown: string };

/** @param words of the rule after its chain; ends at the target. */
export function matchRule(
  words: readonly string[],
  packet: PacketState,
  at: Surroundings,
): Verdict {
  let chance = 1;
  let unknown: string | undefined;
  const name = words[words.indexOf("--name") + 1] ?? "";
  for (let i = 0; i < words.length; i++) {
    const isNegated = words[i] === "!";
    if (isNegated) i++;
    const option = words[i] ?? "";
    if (option === "-j" || option === "-g") break;
    const value = FLAGS.has(option) ? "" : (words[++i] ?? "");
    const verdict = matchOption({ option, value, name }, packet, at);
    if (verdict === undefined) unknown ??= `${isNegated ? "! " : ""}${option} ${value}`.trim();
    else if (typeof verdict === "number") chance *= verdict;
    else if (verdict === isNegated) return false;
  }
  if (unknown !== undefined) return { unknown };
  return chance === 1 ? true : chance;
}

/** Options without a value. */
const FLAGS: ReadonlySet<string> = new Set([
  "--reap",
  "--rcheck",
  "--set",
  "--rsource",
  "--rdest",
  "--syn",
  "--random-fully",
]);
/** Those that only name something, or belong to another option. */
const SILENT: ReadonlySet<string> = new Set(
  "-m --comment --mode --name --seconds --mask --reap --rsource --nfacct-name --set".split(" "),
);

interface Option {
  readonly option: string;
  readonly value: string;
  /** `--name` of the rule. */
  readonly name: string;
}

function matchOption(
  { option, value, name }: Option,
  packet: PacketState,
  at: Surroundings,
): boolean | number | undefined {
  if (SILENT.has(option)) return true;
  switch (option) {
    case "-p":
      return value === "all" || value === packet.protocol;
    case "-s":
      return isIn(packet.source, value);
    case "-d":
      return isIn(packet.destination, value);
    case "-i":
      return isInterface(packet.inInterface, value);
    case "-o":
      return isInterface(packet.outInterface, value);
    case "--dport":
    case "--dports":
      return value.split(",").some((range) => isInRange(packet.port, range));
    case "--syn":
      return true;
    case "--probability":
      return Number(value);
    case "--src-type":
      return matchType(packet.source, value, at);
    case "--dst-type":
      return matchType(packet.destination, value, at);
    case "--ctstate":
    case "--state":
      return value
        .split(",")
        .some((state) => state === "NEW" || (state === "DNAT" && packet.isRedirected));
    case "--mark":
      return matchMark(packet.mark, value);
    case "--rcheck":
      return at.isRecent(name, packet.source);
    default:
      return undefined;
  }
}

function isIn(ip: string, ranges: string): boolean {
  const address = parseAddress(ip);
  return ranges.split(",").some((text) => {
    const single = parseAddress(text);
    if (single !== undefined)
      return single.family === address?.family && single.value === address.value;
    const cidr = parseCidr(text);
    return cidr !== undefined && address !== undefined && cidrContains(cidr, address);
  });
}

function isInterface(name: string | undefined, pattern: string): boolean {
  if (name === undefined) return pattern === "+";
  return pattern.endsWith("+") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function isInRange(port: number, range: string): boolean {
  const [low = "", high = low] = range.split(":");
  return port >= Number(low) && port <= Number(high === "" ? 65_535 : high);
}

function matchType(ip: string, types: string, at: Surroundings): boolean | undefined {
  const type = at.isLocal(ip) ? "LOCAL" : "UNICAST";
  return types.split(",").includes(type);
}

/** `value/mask`; unsigned 32 bits. */
function matchMark(mark: number, text: string): boolean {
  const [value = "0", mask = "0xffffffff"] = text.split("/");
  return (mark & Number(mask)) >>> 0 === Number(value) >>> 0;
}
