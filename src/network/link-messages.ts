/**
 * The rtnetlink messages that join a sandbox to the bridge: what `linkBatch` and `sandboxBatch` of bridge-commands.ts say
 * to ip(8), for the kernel itself. Pure; pod-network.ts sends them. Numbers are those of linux/rtnetlink.h, if_link.h and
 * if_addr.h, in the little-endian order of every machine that we run on.
 */

import { parseAddress } from "../core/ip.ts";
import type { NetlinkMessage } from "../core/netlink.ts";

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;
const REPLACE = 0x100;
const EXCLUSIVE = 0x200;
const CREATE = 0x400;
const AF_INET = 2;
const IFF_UP = 1;
const LOOPBACK_INDEX = 1;

const IFLA = { address: 1, name: 3, mtu: 4, master: 10, info: 18, netnsPid: 19 } as const;
const INFO = { kind: 1, data: 2, slaveKind: 4, slaveData: 5 } as const;
const VETH_PEER = 1;
const BRPORT_HAIRPIN = 4;
const IFA = { address: 1, local: 2 } as const;
const RTA = { device: 4, gateway: 5 } as const;

export interface PodLink {
  /** Name of the host's end. */
  readonly link: string;
  readonly bridgeIndex: number;
  /** The process whose namespace gets the other end, `eth0`. */
  readonly pid: number;
  readonly mac: string;
  readonly mtu: number;
}

export function findLink(name: string): NetlinkMessage {
  const payload = Buffer.concat([linkHeader(0, 0), text(IFLA.name, name)]);
  return { type: RTM_GETLINK, flags: 0, payload, doing: `looking for ${name}` };
}

/** The index in the answer to `findLink`. */
export function indexOf(answer: Buffer): number {
  return answer.readInt32LE(4);
}

/** The pair, the host's end up and on the bridge; then hairpin, so that a pod may reach itself through its Service. */
export function makeLink(pod: PodLink): readonly NetlinkMessage[] {
  const peer = Buffer.concat([
    linkHeader(0, 0),
    text(IFLA.name, "eth0"),
    attribute(IFLA.address, Buffer.from(pod.mac.replaceAll(":", ""), "hex")),
    number(IFLA.mtu, pod.mtu),
    number(IFLA.netnsPid, pod.pid),
  ]);
  const kind = [text(INFO.kind, "veth"), nested(INFO.data, attribute(VETH_PEER, peer))];
  const pair = Buffer.concat([
    linkHeader(0, IFF_UP),
    text(IFLA.name, pod.link),
    number(IFLA.mtu, pod.mtu),
    number(IFLA.master, pod.bridgeIndex),
    nested(IFLA.info, ...kind),
  ]);
  const port = Buffer.concat([
    linkHeader(0, 0),
    text(IFLA.name, pod.link),
    nested(
      IFLA.info,
      text(INFO.slaveKind, "bridge"),
      nested(INFO.slaveData, attribute(BRPORT_HAIRPIN, Buffer.of(1))),
    ),
  ]);
  const doing = `making link ${pod.link}`;
  return [
    { type: RTM_NEWLINK, flags: CREATE | EXCLUSIVE, payload: pair, doing },
    { type: RTM_NEWLINK, flags: 0, payload: port, doing: `setting hairpin on ${pod.link}` },
  ];
}

/** The sandbox's side. The default route comes last: where it is, everything is. */
export function setUpSandbox(
  eth0: number,
  ip: string,
  prefix: number,
  gateway: string,
): readonly NetlinkMessage[] {
  const address = Buffer.concat([
    Buffer.of(AF_INET, prefix, 0, 0),
    uint32(eth0),
    attribute(IFA.local, addressBytes(ip)),
    attribute(IFA.address, addressBytes(ip)),
  ]);
  const route = Buffer.concat([
    // Family, two lengths, type of service, main table, boot, universe, unicast, flags.
    Buffer.of(AF_INET, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0),
    attribute(RTA.gateway, addressBytes(gateway)),
    number(RTA.device, eth0),
  ]);
  return [
    bringUp(LOOPBACK_INDEX, "lo"),
    {
      ...{ type: RTM_NEWADDR, flags: CREATE | REPLACE, payload: address },
      doing: `giving eth0 the address ${ip}`,
    },
    bringUp(eth0, "eth0"),
    {
      ...{ type: RTM_NEWROUTE, flags: CREATE | REPLACE, payload: route },
      doing: `setting the default route by ${gateway}`,
    },
  ];
}

function bringUp(index: number, name: string): NetlinkMessage {
  const payload = linkHeader(index, IFF_UP);
  return { type: RTM_NEWLINK, flags: 0, payload, doing: `bringing up ${name}` };
}

/** struct ifinfomsg; a flag that is set is also one that changes. */
function linkHeader(index: number, flags: number): Buffer {
  return Buffer.concat([uint32(0), uint32(index), uint32(flags), uint32(flags)]);
}

function attribute(type: number, value: Buffer): Buffer {
  const length = 4 + value.length;
  const bytes = Buffer.alloc((length + 3) & ~3);
  bytes.writeUInt16LE(length, 0);
  bytes.writeUInt16LE(type, 2);
  value.copy(bytes, 4);
  return bytes;
}

function nested(type: number, ...attributes: readonly Buffer[]): Buffer {
  return attribute(type, Buffer.concat(attributes));
}

function text(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`));
}

function number(type: number, value: number): Buffer {
  return attribute(type, uint32(value));
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function addressBytes(ip: string): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(Number(parseAddress(ip)?.value ?? 0n));
  return bytes;
}
