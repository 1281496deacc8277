/**
 * Stale UDP flows: a flow stays bound to the endpoint it was first sent to, so after endpoints changed, flows that
 * lead to one that is gone are deleted, those of one address and endpoint by one process. TCP and SCTP entries are never
 * touched. Which flows are stale is pure; reading and deleting goes through the conntrack tool. Called by the proxier after a
 * sync that changed UDP endpoints.
 */

import { hasCode } from "../core/errors.ts";
import { type Exec, execOk } from "../core/exec.ts";
import type { Family } from "../core/ip.ts";
import type { Logger } from "../core/logger.ts";
import { withPort } from "./endpoints.ts";
import { isLoopback } from "./options.ts";
import type { UdpPort } from "./service-rules.ts";

export interface Flow {
  readonly destination: string;
  readonly destinationPort: number;
  /** Who answers. */
  readonly replier: string;
  readonly replierPort: number;
}

export interface Conntrack {
  /**
   * Deletes the flows that lead where they should no longer.
   * @param localIps addresses of this node: only flows to them can be a NodePort's
   * @returns how many those were
   */
  cleanStale(
    ports: readonly UdpPort[],
    localIps: readonly string[],
    signal: AbortSignal,
  ): Promise<number>;
}

export function computeStaleFlows(
  flows: readonly Flow[],
  ports: readonly UdpPort[],
  localIps: readonly string[],
): readonly Flow[] {
  const byFront = new Map<string, ReadonlySet<string>>();
  const byNodePort = new Map<number, ReadonlySet<string>>();
  for (const { fronts, port, nodePort, targets } of ports) {
    const allowed = new Set(targets);
    for (const ip of fronts) byFront.set(withPort(ip, port), allowed);
    if (nodePort !== 0) byNodePort.set(nodePort, allowed);
  }
  const local = new Set(localIps);
  const isLocal = (ip: string) => local.has(ip) || isLoopback(ip);
  return flows.filter(({ destination, destinationPort, replier, replierPort }) => {
    const ofNode = isLocal(destination) ? byNodePort.get(destinationPort) : undefined;
    const allowed = byFront.get(withPort(destination, destinationPort)) ?? ofNode;
    return allowed !== undefined && !allowed.has(withPort(replier, replierPort));
  });
}

/** Reads the output of `conntrack -L -p udp`. */
export function parseFlows(text: string): readonly Flow[] {
  const form = /dst=(\S+) sport=\d+ dport=(\d+).*?src=(\S+) dst=\S+ sport=(\d+) dport=\d+/;
  return text.split("\n").flatMap((line) => {
    const match = form.exec(line);
    if (match === null) return [];
    const [, destination = "", destinationPort, replier = "", replierPort] = match;
    return {
      ...{ destination, replier },
      destinationPort: Number(destinationPort),
      replierPort: Number(replierPort),
    };
  });
}

/** Without the tool nothing is cleaned; that is said once, through `log`. */
export function createConntrack(options: {
  readonly exec: Exec;
  readonly family: Family;
  readonly log: Logger;
}): Conntrack {
  const { exec, log } = options;
  const base = ["-p", "udp", "-f", options.family.toLowerCase()];
  const warned = { isDone: false };
  return {
    async cleanStale(ports, localIps, signal) {
      if (ports.length === 0) return 0;
      let listing: string;
      try {
        listing = await execOk(exec, { file: "conntrack", args: ["-L", ...base] }, signal);
      } catch (error) {
        if (!hasCode(error, "CommandMissing")) throw error;
        if (!warned.isDone) {
          log.warn(
            {},
            "conntrack is not installed: UDP flows to removed endpoints live on until they time out",
          );
          warned.isDone = true;
        }
        return 0;
      }
      const stale = computeStaleFlows(parseFlows(listing), ports, localIps);
      // Each run goes through the whole table, so one for all flows that have the same wrong way.
      for (const filter of new Set(stale.map(filterOf))) {
        // 1 = there is no such flow any more.
        const { code } = await exec(
          { file: "conntrack", args: ["-D", ...base, ...filter.split(" ")] },
          signal,
        );
        log.debug({ filter, code }, "deleted stale UDP flows");
      }
      return stale.length;
    },
  };
}

function filterOf({ destination, destinationPort, replier, replierPort }: Flow): string {
  const sent = `--orig-dst ${destination} --orig-port-dst ${destinationPort}`;
  return `${sent} --reply-src ${replier} --reply-port-src ${replierPort}`;
}
