/**
 * Stale UDP flows: a flow stays bound to the endpoint it was first sent to, so after endpoints changed, flows that
 * lead to one that is gone are deleted. TCP and SCTP entries are never touched. Which flows are stale is pure;
 * reading and deleting goes through the conntrack tool. Called by the proxier after a sync that changed UDP endpoints.
 */

import { hasCode } from "../core/errors.ts";
import { type Exec, execOk } from "../core/exec.ts";
import type { Family } from "../core/ip.ts";
import type { Logger } from "../core/logger.ts";
import type { Endpoint } from "./endpoints.ts";
import type { ServicePort } from "./services.ts";

export interface Flow {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** Who answers, `ip:port` or `[ip]:port`. */
  readonly answeredBy: string;
}

/** What UDP flows may lead to, by the address they were sent to. */
export interface UdpBackends {
  /** `ip:port` of services → allowed targets. */
  readonly byAddress: ReadonlyMap<string, ReadonlySet<string>>;
  /** NodePort → allowed targets. */
  readonly byNodePort: ReadonlyMap<number, ReadonlySet<string>>;
}

export interface Conntrack {
  /** Deletes the flows that lead where they should no longer. */
  cleanStale(backends: UdpBackends, signal: AbortSignal): Promise<void>;
}

/** A port without a serving endpoint is left out: its flows are refused by the rules and need no deletion. */
export function computeUdpBackends(
  servicePorts: ReadonlyMap<string, ServicePort>,
  endpoints: ReadonlyMap<string, readonly Endpoint[]>,
): UdpBackends {
  const byAddress = new Map<string, ReadonlySet<string>>();
  const byNodePort = new Map<number, ReadonlySet<string>>();
  for (const [key, port] of servicePorts) {
    const serving = (endpoints.get(key) ?? []).filter((endpoint) => endpoint.isServing);
    if (port.protocol !== "udp" || serving.length === 0) continue;
    const allowed = new Set(serving.map((endpoint) => endpoint.target));
    for (const ip of [port.clusterIp, ...port.loadBalancerVips, ...port.externalIps])
      byAddress.set(withPort(ip, port.port), allowed);
    if (port.nodePort !== 0) byNodePort.set(port.nodePort, allowed);
  }
  return { byAddress, byNodePort };
}

/** One line that differs whenever the backends do. */
export function backendsSignature(backends: UdpBackends): string {
  const rows = [...backends.byAddress, ...backends.byNodePort].map(
    ([front, targets]) => `${front}=${[...targets].join(",")}`,
  );
  return rows.join(";");
}

export function computeStaleFlows(flows: readonly Flow[], backends: UdpBackends): readonly Flow[] {
  return flows.filter((flow) => {
    const front = withPort(flow.destination, flow.destinationPort);
    const allowed = backends.byAddress.get(front);
    if (allowed !== undefined) return !allowed.has(flow.answeredBy);
    // The same number may be anybody's port elsewhere: only a flow that was redirected was to our NodePort.
    const ofNodePort = backends.byNodePort.get(flow.destinationPort);
    return (
      ofNodePort !== undefined && flow.answeredBy !== front && !ofNodePort.has(flow.answeredBy)
    );
  });
}

/** Reads the output of `conntrack -L -p udp`. */
export function parseFlows(text: string): readonly Flow[] {
  const form =
    /src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+).*?src=(\S+) dst=\S+ sport=(\d+) dport=\d+/;
  return text.split("\n").flatMap((line) => {
    const match = form.exec(line);
    if (match === null) return [];
    const [, source = "", destination = "", sourcePort, destinationPort, by = "", byPort] = match;
    return [
      {
        source,
        sourcePort: Number(sourcePort),
        destination,
        destinationPort: Number(destinationPort),
        answeredBy: withPort(by, Number(byPort)),
      },
    ];
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
    async cleanStale(backends, signal) {
      if (backends.byAddress.size === 0) return;
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
        return;
      }
      for (const flow of computeStaleFlows(parseFlows(listing), backends)) {
        const which = [
          ["--orig-src", flow.source],
          ["--orig-dst", flow.destination],
          ["--sport", String(flow.sourcePort)],
          ["--dport", String(flow.destinationPort)],
        ].flat();
        const done = await exec({ file: "conntrack", args: ["-D", ...base, ...which] }, signal);
        // 1 = there is no such flow any more.
        log.debug({ ...flow, code: done.code }, "deleted a stale UDP flow");
      }
    },
  };
}

function withPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}
