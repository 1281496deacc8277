/**
 * Which address a new pod gets. Pure: the state is the addresses in use, read from the sandboxes that exist. The
 * network address, the gateway (the first after it) and an IPv4 broadcast address are never given.
 */

import {
  type Address,
  type Cidr,
  cidrContains,
  cidrSize,
  formatAddress,
  parseAddress,
} from "../core/ip.ts";

/** The node's own address on the pod network. */
export function gatewayOf(podCidr: Cidr): string {
  return formatAddress({ family: podCidr.family, value: podCidr.base + 1n });
}

/**
 * The first free address after `last`, starting over at the end of the range; undefined when all are in use.
 * Going on from the last one leaves a just freed address alone while neighbours may still remember its old owner.
 */
export function nextAddress(
  podCidr: Cidr,
  inUse: ReadonlySet<string>,
  last?: string,
): string | undefined {
  const first = podCidr.base + 2n;
  const reservedAtEnd = podCidr.family === "IPv4" ? 1n : 0n;
  const count = podCidr.base + cidrSize(podCidr) - reservedAtEnd - first;
  const from = startAfter(podCidr, last) - first;
  // Among one more than the used addresses at least one is free.
  const tries = count < BigInt(inUse.size) + 1n ? count : BigInt(inUse.size) + 1n;
  for (let step = 0n; step < tries; step++) {
    const value = first + ((from + step) % count);
    const text = formatAddress({ family: podCidr.family, value });
    if (!inUse.has(text)) return text;
  }
  return undefined;
}

function startAfter(podCidr: Cidr, last: string | undefined): bigint {
  const address: Address | undefined = last === undefined ? undefined : parseAddress(last);
  const isInside = address !== undefined && cidrContains(podCidr, address);
  return isInside && address.value > podCidr.base + 1n ? address.value + 1n : podCidr.base + 2n;
}
