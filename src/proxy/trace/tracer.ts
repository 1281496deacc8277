/**
 * Walks the first packet of a connection through the rules that are in the kernel, hook by hook as the kernel does, along
 * every way chance could take it. Pure: rules, addresses and routes are given. A rule whose match is not understood
 * counts as not matching, and each way says which ones those were. Used by `longshore explain service`.
 */

import { matchRule, type PacketState, type Surroundings } from "./match.ts";
import { type SavedRule, type SavedRules, splitWords } from "./saved-rules.ts";

export interface Kernel extends Surroundings {
  readonly rules: SavedRules;
  /** The interface that leads to an address. */
  interfaceOf(ip: string): string | undefined;
}

export interface Packet {
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly protocol: "tcp" | "udp" | "sctp";
}

export interface Step {
  readonly table: string;
  readonly rule: SavedRule;
}

/** One way, to its end. */
export interface Way {
  /** `delivered` = no rule stops it. */
  readonly verdict: "delivered" | "DROP" | "REJECT";
  /** Where it goes, `ip:port` or `[ip]:port`. */
  readonly target: string;
  readonly isRedirected: boolean;
  /** The source is replaced by an address of this node. */
  readonly isMasqueraded: boolean;
  readonly probability: number;
  /** The rules that matched, in order. */
  readonly steps: readonly Step[];
  /** Matches nobody understood, taken as no. */
  readonly doubts: readonly string[];
}

interface State {
  readonly packet: PacketState;
  readonly verdict?: "ACCEPT" | "DROP" | "REJECT" | "RETURN";
  readonly isMasqueraded: boolean;
  readonly probability: number;
  readonly steps: readonly Step[];
  readonly doubts: readonly string[];
}

type Hook = "PREROUTING" | "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING";

const TABLES: Readonly<Record<Hook, readonly string[]>> = {
  PREROUTING: ["raw", "mangle", "nat"],
  INPUT: ["mangle", "filter", "nat"],
  FORWARD: ["mangle", "filter"],
  OUTPUT: ["raw", "mangle", "nat", "filter"],
  POSTROUTING: ["mangle", "nat"],
};

export function tracePacket(kernel: Kernel, packet: Packet): readonly Way[] {
  const isOwn = kernel.isLocal(packet.source);
  const inInterface = isOwn ? undefined : kernel.interfaceOf(packet.source);
  const first: State = {
    packet: {
      ...packet,
      ...(inInterface === undefined ? {} : { inInterface }),
      mark: 0,
      isRedirected: false,
    },
    isMasqueraded: false,
    probability: 1,
    steps: [],
    doubts: [],
  };
  return runHook(kernel, isOwn ? "OUTPUT" : "PREROUTING", first)
    .flatMap((state) => afterRouting(kernel, state, isOwn))
    .map(wayOf);
}

/** The rest of the way, once nat has decided where it goes. */
function afterRouting(kernel: Kernel, state: State, isOwn: boolean): readonly State[] {
  const { destination, outInterface: _known, ...packet } = state.packet;
  const isHere = kernel.isLocal(destination);
  const outInterface = isHere ? "lo" : kernel.interfaceOf(destination);
  const isLeaving = outInterface !== undefined && !(isHere && !isOwn);
  const routed: State = {
    ...state,
    packet: { ...packet, destination, ...(isLeaving ? { outInterface } : {}) },
  };
  const hooks: readonly Hook[] = isOwn
    ? isHere
      ? ["POSTROUTING", "INPUT"]
      : ["POSTROUTING"]
    : isHere
      ? ["INPUT"]
      : ["FORWARD", "POSTROUTING"];
  return hooks.reduce<readonly State[]>(
    (states, hook) => states.flatMap((each) => runHook(kernel, hook, each)),
    [routed],
  );
}

function runHook(kernel: Kernel, hook: Hook, state: State): readonly State[] {
  return TABLES[hook].reduce<readonly State[]>(
    (states, table) => states.flatMap((each) => runTable(kernel, table, hook, each)),
    [state],
  );
}

function runTable(kernel: Kernel, table: string, hook: Hook, state: State): readonly State[] {
  const policy = kernel.rules.get(table)?.get(hook)?.policy;
  if (policy === undefined || isStopped(state)) return [state];
  return runChain(kernel, { table, chain: hook, depth: 0 }, state).map(({ verdict, ...rest }) => {
    if (verdict === "DROP" || verdict === "REJECT") return { ...rest, verdict };
    return verdict === "ACCEPT" || policy !== "DROP" ? rest : { ...rest, verdict: "DROP" as const };
  });
}

function isStopped({ verdict }: State): boolean {
  return verdict === "DROP" || verdict === "REJECT";
}

interface At {
  readonly table: string;
  readonly chain: string;
  readonly depth: number;
}

/** The kernel refuses loops; a listing read while it changes may have one. */
const MAX_DEPTH = 32;

function runChain(kernel: Kernel, at: At, state: State): readonly State[] {
  let waiting: readonly State[] = [state];
  const done: State[] = [];
  if (at.depth > MAX_DEPTH) return waiting;
  for (const rule of kernel.rules.get(at.table)?.get(at.chain)?.rules ?? []) {
    const next: State[] = [];
    for (const each of waiting) {
      for (const after of runRule(kernel, at, rule, each)) {
        if (after.verdict === undefined) next.push(after);
        else done.push(after);
      }
    }
    waiting = next;
    if (waiting.length === 0) break;
  }
  return [...done, ...waiting];
}

function runRule(kernel: Kernel, at: At, rule: SavedRule, state: State): readonly State[] {
  const words = splitWords(rule.text).slice(2);
  const match = matchRule(words, state.packet, kernel);
  if (match === false) return [state];
  if (typeof match === "object") {
    const doubt = `${at.table} ${at.chain}: ${match.unknown}`;
    return [state.doubts.includes(doubt) ? state : { ...state, doubts: [...state.doubts, doubt] }];
  }
  const chance = match === true ? 1 : match;
  const taken: State = {
    ...state,
    probability: state.probability * chance,
    steps: [...state.steps, { table: at.table, rule }],
  };
  const passed = { ...state, probability: state.probability * (1 - chance) };
  const after = applyTarget(kernel, at, words, taken);
  return chance < 1 ? [...after, passed] : after;
}

function applyTarget(
  kernel: Kernel,
  at: At,
  words: readonly string[],
  state: State,
): readonly State[] {
  const index = words.findIndex((word) => word === "-j" || word === "-g");
  const target = index < 0 ? undefined : words[index + 1];
  const wordAfter = (option: string): string => words[words.indexOf(option) + 1] ?? "";
  switch (target) {
    case undefined:
    case "LOG":
    case "NFLOG":
      return [state];
    case "ACCEPT":
    case "DROP":
    case "REJECT":
    case "RETURN":
      return [{ ...state, verdict: target }];
    case "MARK":
      return [{ ...state, packet: { ...state.packet, mark: newMark(state.packet.mark, words) } }];
    case "DNAT":
      return [
        {
          ...state,
          verdict: "ACCEPT",
          packet: redirect(state.packet, wordAfter("--to-destination")),
        },
      ];
    case "MASQUERADE":
    case "SNAT":
      return [{ ...state, verdict: "ACCEPT", isMasqueraded: true }];
  }
  if (kernel.rules.get(at.table)?.has(target) !== true) {
    const doubt = `${at.table} ${at.chain}: target ${target}`;
    return [{ ...state, doubts: [...state.doubts, doubt] }];
  }
  const inner = runChain(kernel, { ...at, chain: target, depth: at.depth + 1 }, state);
  return inner.map(({ verdict, ...rest }) => {
    if (verdict !== undefined && verdict !== "RETURN") return { ...rest, verdict };
    // A goto comes back to the caller of the chain it left.
    return words[index] === "-g" ? { ...rest, verdict: "RETURN" as const } : rest;
  });
}

function redirect(packet: PacketState, to: string): PacketState {
  const match = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(to);
  const ip = match?.[1] ?? match?.[2] ?? "";
  return {
    ...packet,
    destination: ip === "" ? packet.destination : ip,
    port: match?.[3] === undefined ? packet.port : Number(match[3]),
    isRedirected: true,
  };
}

function newMark(mark: number, words: readonly string[]): number {
  const option =
    words.find((word) => /^--(?:set-x?mark|or-mark|xor-mark|and-mark)$/.test(word)) ?? "";
  const [value = "0", mask = "0xffffffff"] = (words[words.indexOf(option) + 1] ?? "0").split("/");
  const number = Number(value);
  switch (option) {
    case "--or-mark":
      return (mark | number) >>> 0;
    case "--and-mark":
      return (mark & number) >>> 0;
    case "--xor-mark":
      return (mark ^ number) >>> 0;
    case "--set-mark":
      return ((mark & ~Number(mask)) | number) >>> 0;
    default:
      return ((mark & ~Number(mask)) ^ number) >>> 0;
  }
}

function wayOf(state: State): Way {
  const { packet, verdict, isMasqueraded, probability, steps, doubts } = state;
  const { destination, port, isRedirected } = packet;
  return {
    verdict: verdict === "DROP" || verdict === "REJECT" ? verdict : "delivered",
    target: destination.includes(":") ? `[${destination}]:${port}` : `${destination}:${port}`,
    ...{ isRedirected, isMasqueraded, probability, steps, doubts },
  };
}
