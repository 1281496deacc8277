/**
 * Arithmetic on IPv4 ranges, pure: for cluster IPs and podCIDRs of the embedded control plane, which is IPv4 only.
 * Not shared with the agent's own IPAM on purpose (DESIGN §2 rule 5).
 */

import { LongshoreError } from "../core/errors.ts";

export interface Ipv4Range {
  readonly cidr: string;
  readonly base: number;
  readonly prefix: number;
  /** Addresses in the range, first and last included. */
  readonly size: number;
}

/** The address as a number, or undefined when it is not a dotted quad. */
export function parseIpv4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let address = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    address = address * 256 + Number(part);
  }
  return address;
}

export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}

/** Throws ConfigInvalid when the text is not an IPv4 CIDR. */
export function parseRange(cidr: string): Ipv4Range {
  const [ip = "", length = ""] = cidr.split("/");
  const address = parseIpv4(ip);
  const prefix = /^\d{1,2}$/.test(length) ? Number(length) : -1;
  if (address === undefined || prefix < 0 || prefix > 32)
    throw new LongshoreError("ConfigInvalid", `"${cidr}" is not an IPv4 CIDR such as 10.96.0.0/16`);
  const size = 2 ** (32 - prefix);
  const base = address - (address % size);
  return { cidr: `${formatIpv4(base)}/${prefix}`, base, prefix, size };
}

export function isInRange(range: Ipv4Range, address: number): boolean {
  return address > range.base && address < range.base + range.size - 1;
}

/** The `n`th address of the range, 0 being its base. */
export function nthAddress(range: Ipv4Range, n: number): string {
  return formatIpv4(range.base + n);
}

/** The first /24 of `range` that is not in `taken`, or undefined when all are. */
export function freeSubnet24(range: Ipv4Range, taken: ReadonlySet<string>): string | undefined {
  for (let offset = 0; offset < range.size; offset += 256) {
    const cidr = `${nthAddress(range, offset)}/24`;
    if (!taken.has(cidr)) return cidr;
  }
  return undefined;
}
