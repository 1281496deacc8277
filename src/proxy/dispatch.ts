/**
 * Long shared chains (KUBE-SERVICES and its like) in pieces: rules sorted by the address, protocol and port they match,
 * and divided by their leading hexadecimal digits into sub-chains, so that a packet and a change meet tens of rules and not
 * thousands. Pure, and a function of the set of rules alone: the order in which Services came leaves no trace, and a
 * change touches only the chains on its path. Below SHARED_LIMIT rules nothing is divided. Called by rules.ts and rule-book.ts.
 */

import { type Family, formatAddress, parseAddress } from "../core/ip.ts";
import { chainHash, flat } from "./chains.ts";
import { type Rule, rule } from "./rule.ts";
import type { Protocol } from "./services.ts";

/** A rule of a shared chain, and its place there. */
export interface SharedRule {
  /** Digits of address, protocol and port, then what decides between rules for the same packets. */
  readonly key: string;
  readonly rule: Rule;
}

export interface Dispatch {
  /** Rules of the shared chain itself. */
  readonly rules: readonly Rule[];
  /** Its sub-chains. */
  readonly chains: ReadonlyMap<string, readonly Rule[]>;
}

/** What the rules of a shared chain match: an address and a port, or a port of whatever address. */
export type KeyKind = Family | "port";

/** Up to here a chain stays as kube-proxy writes it. */
const SHARED_LIMIT = 48;
/** So few rules are not worth a chain of their own. */
const INLINE_LIMIT = 4;
/** iptables' own. */
const LONGEST_NAME = 28;

const ADDRESS_DIGITS: Readonly<Record<KeyKind, number>> = { IPv4: 8, IPv6: 32, port: 0 };
const PROTOCOLS: readonly Protocol[] = ["tcp", "udp", "sctp"];
/** One digit for the protocol, four for the port. */
const PORT_DIGITS = 5;

/** @param order decides between rules that match the same packets */
export function sharedKey(
  match: { readonly ip?: string; readonly protocol: Protocol; readonly port: number },
  order: string,
): string {
  const address = match.ip === undefined ? undefined : parseAddress(match.ip);
  const digits =
    address === undefined
      ? ""
      : address.value.toString(16).padStart(ADDRESS_DIGITS[address.family], "0");
  const protocol = String(PROTOCOLS.indexOf(match.protocol));
  return flat(digits, protocol, match.port.toString(16).padStart(4, "0"), order);
}

/**
 * @param sorted by key, each key once
 * @param prefix how names of sub-chains begin, e.g. `KUBE-SVC-`
 */
export function computeDispatch(
  sorted: readonly SharedRule[],
  kind: KeyKind,
  prefix: string,
): Dispatch {
  const chains = new Map<string, readonly Rule[]>();
  const digits = ADDRESS_DIGITS[kind] + PORT_DIGITS;
  const divide = (start: number, end: number): Rule[] => {
    const plain = () => sorted.slice(start, end).map((shared) => shared.rule);
    if (end - start <= SHARED_LIMIT) return plain();
    const cut = commonLength(keyAt(sorted, start), keyAt(sorted, end - 1)) + 1;
    if (cut > digits) return plain();
    const rules: Rule[] = [];
    for (let from = start; from < end; ) {
      const head = keyAt(sorted, from).slice(0, cut);
      let to = from + 1;
      while (to < end && keyAt(sorted, to).startsWith(head)) to++;
      if (to - from <= INLINE_LIMIT) {
        for (const shared of sorted.slice(from, to)) rules.push(shared.rule);
      } else {
        const name = subChain(prefix, head, kind);
        chains.set(name, divide(from, to));
        rules.push(rule(undefined, matchOf(head, kind), "-j", name));
      }
      from = to;
    }
    return rules;
  };
  return { rules: divide(0, sorted.length), chains };
}

/** How many digits of its key a sub-chain has fixed, times four; undefined for other chains. */
export function dispatchBits(chain: string): number | undefined {
  const bits = /\/(\d+)$/.exec(chain)?.[1];
  return bits === undefined ? undefined : Number(bits);
}

function keyAt(sorted: readonly SharedRule[], index: number): string {
  return sorted[index]?.key ?? "";
}

function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}

interface Head {
  readonly address?: string;
  readonly addressBits: number;
  readonly protocol?: Protocol;
  readonly ports?: readonly [number, number];
}

function readHead(head: string, kind: KeyKind): Head {
  const addressDigits = ADDRESS_DIGITS[kind];
  const protocol = PROTOCOLS[Number(head[addressDigits] ?? "x")];
  const port = head.slice(addressDigits + 1);
  const value = BigInt(`0x0${head.slice(0, addressDigits).padEnd(addressDigits, "0")}`);
  return {
    ...(kind === "port" ? {} : { address: formatAddress({ family: kind, value }) }),
    addressBits: 4 * Math.min(head.length, addressDigits),
    ...(protocol === undefined ? {} : { protocol }),
    ...(port === ""
      ? {}
      : { ports: [parseInt(port.padEnd(4, "0"), 16), parseInt(port.padEnd(4, "f"), 16)] }),
  };
}

function matchOf(text: string, kind: KeyKind): string[] {
  const { address, addressBits, protocol, ports } = readHead(text, kind);
  return [
    ...(protocol !== undefined && ports !== undefined ? ["-m", protocol] : []),
    ...(protocol === undefined ? [] : ["-p", protocol]),
    ...(address === undefined ? [] : ["-d", `${address}/${addressBits}`]),
    ...(ports === undefined ? [] : ["--dport", ports.join(":")]),
  ];
}

/** `KUBE-SVC-10.96.16.0/20`: readable where it fits. */
function subChain(prefix: string, text: string, kind: KeyKind): string {
  const { address, protocol, ports } = readHead(text, kind);
  const port = protocol === undefined ? [] : [`${protocol}:${ports?.[0] ?? 0}`];
  const label = [...(address === undefined ? [] : [address]), ...port].join(":");
  const name = `${prefix}${label}/${4 * text.length}`;
  return name.length <= LONGEST_NAME
    ? name
    : `${prefix}${chainHash(text).slice(0, 12)}/${4 * text.length}`;
}
