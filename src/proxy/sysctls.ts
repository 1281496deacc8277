/**
 * Kernel settings of the proxy: which values they should have (pure), and writing those that differ. One that cannot
 * be written is a warning with its consequence and no reason to stop: a container may not own them. Called by
 * agent-proxy.ts before the first rules.
 */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";

export interface ConntrackSettings {
  /** 0 = leave nf_conntrack_max alone. */
  readonly maxPerCore: number;
  readonly min: number;
  readonly tcpBeLiberal: boolean;
  /** Milliseconds; 0 = leave it alone. */
  readonly tcpEstablishedTimeoutMs: number;
  readonly tcpCloseWaitTimeoutMs: number;
  readonly udpTimeoutMs: number;
  readonly udpStreamTimeoutMs: number;
}

export interface Sysctl {
  /** From the root of the file system, without leading slash. */
  readonly path: string;
  readonly value: number;
  /** Written only when the present value is smaller. */
  readonly isMinimum?: boolean;
  /** Left alone where this one, which comes before it, could not be written: in a container it is the host's. */
  readonly needs?: string;
  readonly consequence: string;
}

const CONNTRACK = "proc/sys/net/netfilter/nf_conntrack";
/** kube-proxy's: beyond it the table costs more than it is worth, whatever the number of cores. */
const MAX_SCALED = 1_048_576;

export function computeSysctls(input: {
  readonly conntrack: ConntrackSettings;
  readonly cores: number;
  readonly localhostNodePorts: boolean;
}): readonly Sysctl[] {
  const { conntrack, cores } = input;
  const scaled = conntrack.maxPerCore * cores;
  const max = scaled > conntrack.min ? Math.min(scaled, MAX_SCALED) : conntrack.min;
  const many = "new connections are dropped when the node has more than the kernel's limit";
  const timeout = (name: string, ms: number): Sysctl[] =>
    ms === 0
      ? []
      : [
          {
            path: `${CONNTRACK}_${name}`,
            value: Math.ceil(ms / 1000),
            consequence:
              "connections are forgotten after the kernel's time instead of kube-proxy's",
          },
        ];
  return [
    ...(input.localhostNodePorts
      ? [
          {
            path: "proc/sys/net/ipv4/conf/all/route_localnet",
            value: 1,
            consequence: "NodePorts do not answer on 127.0.0.1",
          },
        ]
      : []),
    ...(conntrack.maxPerCore === 0
      ? []
      : [
          { path: `${CONNTRACK}_max`, value: max, consequence: many },
          {
            path: "sys/module/nf_conntrack/parameters/hashsize",
            value: Math.floor(max / 4),
            isMinimum: true,
            needs: `${CONNTRACK}_max`,
            consequence: "looking up a connection is slow when there are many",
          },
        ]),
    ...(conntrack.tcpBeLiberal
      ? [
          {
            path: `${CONNTRACK}_tcp_be_liberal`,
            value: 1,
            consequence: "packets out of their window are dropped",
          },
        ]
      : []),
    ...timeout("tcp_timeout_established", conntrack.tcpEstablishedTimeoutMs),
    ...timeout("tcp_timeout_close_wait", conntrack.tcpCloseWaitTimeoutMs),
    ...timeout("udp_timeout", conntrack.udpTimeoutMs),
    ...timeout("udp_timeout_stream", conntrack.udpStreamTimeoutMs),
  ];
}

/** @param root "/" on a real host; tests give a folder. */
export async function applySysctls(
  sysctls: readonly Sysctl[],
  { root, log }: { readonly root: string; readonly log: Logger },
): Promise<void> {
  const failed = new Set<string>();
  for (const { path, value, isMinimum, needs, consequence } of sysctls) {
    if (needs !== undefined && failed.has(needs)) continue;
    try {
      const present = Number(await readFile(join(root, path), "utf8"));
      if (present === value || (isMinimum === true && present > value)) continue;
      await writeFile(join(root, path), String(value));
      log.info({ file: `/${path}`, from: present, to: value }, "kernel setting changed");
    } catch (error) {
      failed.add(path);
      log.warn({ file: `/${path}`, value, consequence }, `kernel setting: ${messageOf(error)}`);
    }
  }
}

/** True where the kernel follows connections whose packets are out of window: then none of them is INVALID. */
export async function isTcpLiberal(root: string): Promise<boolean> {
  try {
    const text = await readFile(join(root, `${CONNTRACK}_tcp_be_liberal`), "utf8");
    return text.trim() !== "0";
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return false;
  }
}
