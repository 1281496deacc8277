/**
 * Names of the proxy's chains and the jumps that hook them into the built-in ones: Kubernetes' own names and hashes,
 * so that operators and other tools find what they know. Pure; used by rules, iptables work and cleanup.
 */

import { sha256 } from "../core/hash.ts";
import type { Jump, Table } from "../core/iptables.ts";

export const SERVICES = "KUBE-SERVICES";
export const EXTERNAL_SERVICES = "KUBE-EXTERNAL-SERVICES";
export const NODEPORTS = "KUBE-NODEPORTS";
export const FORWARD = "KUBE-FORWARD";
export const PROXY_FIREWALL = "KUBE-PROXY-FIREWALL";
/** Shared with kubelets: made, but never removed. */
export const FIREWALL = "KUBE-FIREWALL";
export const POSTROUTING = "KUBE-POSTROUTING";
export const MARK_MASQ = "KUBE-MARK-MASQ";
/** Empty chains; when they are gone somebody flushed the tables. */
export const CANARY = "KUBE-PROXY-CANARY";
export const CANARY_TABLES: readonly Table[] = ["mangle", "nat", "filter"];

const PER_SERVICE = /^KUBE-(?:SVC|SVL|EXT|FW|SEP)-/;

/**
 * True for the chains that belong to one service port or endpoint, and for those that KUBE-SERVICES and its like are
 * divided into: they have the same prefixes so that kube-proxy, should it come after us, takes them for stale ones too.
 */
export function isServiceChain(chain: string): boolean {
  return PER_SERVICE.test(chain);
}

export type ServiceChainKind = "SVC" | "SVL" | "EXT" | "FW";

export function serviceChain(kind: ServiceChainKind, name: string, protocol: string): string {
  return flat("KUBE-", kind, "-", chainHash(name + protocol));
}

export function endpointChain(name: string, protocol: string, target: string): string {
  return flat("KUBE-SEP-", chainHash(name + protocol + target));
}

/** One string, and not the tree that `+` makes: names and keys are kept by the ten thousand. */
export function flat(...parts: readonly string[]): string {
  return parts.join("");
}

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The first 16 characters of the base32 of the SHA-256. */
export function chainHash(text: string): string {
  const bytes = sha256(text);
  const characters = Buffer.alloc(16);
  // 8 characters of 5 bits are 5 bytes.
  for (const half of [0, 1]) {
    let bits = bytes.readUIntBE(5 * half, 5);
    for (let at = 8 * half + 7; at >= 8 * half; at--) {
      characters[at] = BASE32.charCodeAt(bits % 32);
      bits = Math.floor(bits / 32);
    }
  }
  return characters.toString("latin1");
}

const NEW = ["-m", "conntrack", "--ctstate", "NEW"] as const;

/** In the order they are made; each is put in front, so a packet meets them in reverse. */
export const JUMPS: readonly Jump[] = [
  filter("INPUT", EXTERNAL_SERVICES, NEW, "kubernetes externally-visible service portals"),
  filter("FORWARD", EXTERNAL_SERVICES, NEW, "kubernetes externally-visible service portals"),
  filter("INPUT", NODEPORTS, [], "kubernetes health check service ports"),
  filter("FORWARD", SERVICES, NEW, "kubernetes service portals"),
  filter("OUTPUT", SERVICES, NEW, "kubernetes service portals"),
  filter("FORWARD", FORWARD, [], "kubernetes forwarding rules"),
  filter("INPUT", PROXY_FIREWALL, NEW, "kubernetes load balancer firewall"),
  filter("OUTPUT", PROXY_FIREWALL, NEW, "kubernetes load balancer firewall"),
  filter("FORWARD", PROXY_FIREWALL, NEW, "kubernetes load balancer firewall"),
  { table: "nat", from: "OUTPUT", to: SERVICES, comment: "kubernetes service portals" },
  { table: "nat", from: "PREROUTING", to: SERVICES, comment: "kubernetes service portals" },
  { table: "nat", from: "POSTROUTING", to: POSTROUTING, comment: "kubernetes postrouting rules" },
];

/** Never removed: the kubelet of another era relies on the same ones. */
export const FIREWALL_JUMPS: readonly Jump[] = [
  { table: "filter", from: "INPUT", to: FIREWALL },
  { table: "filter", from: "OUTPUT", to: FIREWALL },
];

function filter(from: string, to: string, match: readonly string[], comment: string): Jump {
  return { table: "filter", from, to, match, comment };
}
