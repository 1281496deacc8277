/**
 * What the bridge network says to `ip` and `iptables-restore`, as text, and what it reads from their answers. Pure;
 * used by pod-network.ts, which runs it, and by cleanup.
 */

import { sha256 } from "../core/hash.ts";
import { type Cidr, formatCidr, parseAddress } from "../core/ip.ts";
import type { Jump } from "../core/iptables.ts";
import { gatewayOf } from "./ipam.ts";

export const BRIDGE = "longshore0";
export const POSTROUTING_CHAIN = "LONGSHORE-POSTROUTING";
export const FORWARD_CHAIN = "LONGSHORE-FORWARD";
const LINK_PREFIX = "lsh";

export const POSTROUTING_JUMP: Jump = {
  table: "nat",
  from: "POSTROUTING",
  to: POSTROUTING_CHAIN,
  comment: "longshore: pod traffic that leaves the cluster",
};
export const FORWARD_JUMP: Jump = {
  table: "filter",
  from: "FORWARD",
  to: FORWARD_CHAIN,
  comment: "longshore: pod traffic",
};

/** Name of the host's end of a sandbox's link: 15 characters, the kernel's limit. */
export function linkName(sandboxId: string): string {
  return LINK_PREFIX + sha256(sandboxId).toString("hex").slice(0, 12);
}

/** Fixed by the address, so that neighbours that remember the address' old owner are still right. */
export function macOf(ip: string): string {
  const value = parseAddress(ip)?.value ?? 0n;
  const hex = (value & 0xffffffffn).toString(16).padStart(8, "0");
  return `0a:58:${hex.match(/../g)?.join(":")}`;
}

/** Address and state of the bridge, taking away the addresses of another range; idempotent. */
export function bridgeBatch(podCidr: Cidr, mtu: number, present: readonly string[]): string {
  const own = `${gatewayOf(podCidr)}/${podCidr.prefix}`;
  return batch([
    ...present.filter((ip) => ip !== own).map((ip) => `address del ${ip} dev ${BRIDGE}`),
    // A fixed MAC: else it is the lowest of the ports', and changes as pods come and go.
    `link set ${BRIDGE} address ${macOf(gatewayOf(podCidr))} mtu ${mtu} up`,
    `address replace ${own} dev ${BRIDGE}`,
  ]);
}

/** Makes a sandbox's link, its end already in the sandbox's namespace. */
export function linkBatch(link: string, pid: number, ip: string, mtu: number): string {
  return batch([
    `link add ${link} mtu ${mtu} type veth peer name eth0 address ${macOf(ip)} mtu ${mtu} netns ${pid}`,
    ...portCommands(link),
  ]);
}

/** Puts links (back) on the bridge; idempotent. Hairpin: a pod may reach itself through its Service. */
export function portsBatch(links: readonly string[]): string {
  return batch(links.flatMap(portCommands));
}

function portCommands(link: string): string[] {
  return [
    `link set ${link} master ${BRIDGE}`,
    `link set ${link} type bridge_slave hairpin on`,
    `link set ${link} up`,
  ];
}

/** The sandbox's side. The default route comes last: where it is, everything is. */
export function sandboxBatch(podCidr: Cidr, ip: string): string {
  return batch([
    "link set lo up",
    `address replace ${ip}/${podCidr.prefix} dev eth0`,
    "link set eth0 up",
    `route replace default via ${gatewayOf(podCidr)} dev eth0`,
  ]);
}

export function removeBatch(links: readonly string[]): string {
  return batch(links.map((link) => `link del ${link}`));
}

/** Our links in the output of `ip -o link show`. */
export function parseLinks(text: string): string[] {
  return [...text.matchAll(/^\d+: (lsh[0-9a-f]{12})[@:]/gm)].map((match) => match[1] ?? "");
}

/** Addresses with their prefix length in the output of `ip -o -4 address show`. */
export function parseAddresses(text: string): string[] {
  return [...text.matchAll(/ inet (\S+) /g)].map((match) => match[1] ?? "");
}

/** Our two chains, whole. Multicast and traffic inside the cluster keep their source. */
export function rulesText(podCidr: Cidr, clusterCidr: Cidr): string {
  const filter = [`-i ${BRIDGE} -j ACCEPT`, `-o ${BRIDGE} -j ACCEPT`];
  const nat = [
    `-d ${formatCidr(clusterCidr)} -j RETURN`,
    "-d 224.0.0.0/4 -j RETURN",
    `-s ${formatCidr(podCidr)} -j MASQUERADE`,
  ];
  return table("filter", FORWARD_CHAIN, filter) + table("nat", POSTROUTING_CHAIN, nat);
}

function table(name: string, chain: string, rules: readonly string[]): string {
  const appended = rules.map((rule) => `-A ${chain} ${rule}\n`).join("");
  return `*${name}\n:${chain} - [0:0]\n${appended}COMMIT\n`;
}

/**
 * Where in FORWARD our jump belongs: before every foreign rule that could drop pod traffic, but behind the service
 * proxy's jumps at the front, whose refusals must come before our acceptance.
 * @param listing output of `iptables -S FORWARD`
 */
export function computeForwardPosition(listing: string): {
  readonly wanted: number;
  /** 0 = no jump yet. */
  readonly present: number;
} {
  const targets = [...listing.matchAll(/^-A FORWARD\b.* -j (\S+)/gm)].map((match) => match[1]);
  const others = targets.filter((target) => target !== FORWARD_CHAIN);
  const foreign = others.findIndex((target) => target?.startsWith("KUBE-") !== true);
  const wanted = (foreign < 0 ? others.length : foreign) + 1;
  return { wanted, present: targets.indexOf(FORWARD_CHAIN) + 1 };
}

function batch(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}
