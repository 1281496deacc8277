/**
 * IP addresses and ranges as numbers, both families. Text is read leniently (leading zeros, as Kubernetes stored them
 * for years) and written canonically; what is not an address gives undefined, never an exception.
 * Used by network (podCIDR, addresses) and proxy (families, source ranges).
 */

export type Family = "IPv4" | "IPv6";

export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

export interface Cidr {
  readonly family: Family;
  /** The first address of the range. */
  readonly base: bigint;
  readonly prefix: number;
}

const BITS: Readonly<Record<Family, number>> = { IPv4: 32, IPv6: 128 };

export function parseAddress(text: string): Address | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

export function formatAddress(address: Address): string {
  if (address.family === "IPv6") return formatIpv6(address.value);
  return [24n, 16n, 8n, 0n].map((shift) => (address.value >> shift) & 255n).join(".");
}

/** The canonical text of an address, or undefined when `text` is none. */
export function canonicalAddress(text: string): string | undefined {
  const address = parseAddress(text);
  return address === undefined ? undefined : formatAddress(address);
}

export function familyOf(text: string): Family | undefined {
  return parseAddress(text)?.family;
}

export function parseCidr(text: string): Cidr | undefined {
  const [ip = "", bits = "", ...rest] = text.split("/");
  const address = parseAddress(ip);
  if (address === undefined || rest.length > 0 || !/^\d{1,3}$/.test(bits)) return undefined;
  const prefix = Number(bits);
  if (prefix > BITS[address.family]) return undefined;
  const size = sizeOf(address.family, prefix);
  return { family: address.family, base: (address.value / size) * size, prefix };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress({ family: cidr.family, value: cidr.base })}/${cidr.prefix}`;
}

/** How many addresses a range has. */
export function cidrSize(cidr: Cidr): bigint {
  return sizeOf(cidr.family, cidr.prefix);
}

export function cidrContains(cidr: Cidr, address: Address): boolean {
  const offset = address.value - cidr.base;
  return address.family === cidr.family && offset >= 0n && offset < cidrSize(cidr);
}

function sizeOf(family: Family, prefix: number): bigint {
  return 1n << BigInt(BITS[family] - prefix);
}

function parseIpv4(text: string): Address | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d+$/.test(part) && Number(part) <= 255))
    return undefined;
  return { family: "IPv4", value: parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n) };
}

function parseIpv6(text: string): Address | undefined {
  const halves = embeddedIpv4AsHex(text).split("::");
  if (halves.length > 2) return undefined;
  const [head = [], tail] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...new Array<string>(missing).fill("0"), ...(tail ?? [])];
  if (!groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  return {
    family: "IPv6",
    value: groups.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n),
  };
}

/** `::ffff:1.2.3.4` → `::ffff:102:304`. */
function embeddedIpv4AsHex(text: string): string {
  const at = text.lastIndexOf(":") + 1;
  const last = parseIpv4(text.slice(at));
  if (last === undefined) return text;
  const high = (last.value >> 16n).toString(16);
  return `${text.slice(0, at)}${high}:${(last.value & 0xffffn).toString(16)}`;
}

/** RFC 5952: the longest run of two or more zero groups, the first of equals, becomes `::`. */
function formatIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16),
  );
  const runs = [...groups.join(":").matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].map((match) => match[0]);
  const longest = runs.reduce(
    (best, run) => (run.replace(/:/g, "").length > best.replace(/:/g, "").length ? run : best),
    "",
  );
  if (longest === "") return groups.join(":");
  const text = groups.join(":");
  const at = text.indexOf(longest);
  const before = text.slice(0, at);
  const after = text.slice(at + longest.length).replace(/^:/, "");
  return `${before}::${after}`;
}
