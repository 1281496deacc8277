/**
 * The rules of host ports as text for iptables-restore. Pure; used by host-ports.ts, which runs it, and by cleanup.
 * A connection to the port at an address of the node goes to the pod, whoever makes it: another machine, a pod, the node
 * itself, also at 127.0.0.1. That is why the bridge has route_localnet, and why what a pod sends to a loopback address
 * of the node is dropped unless it answers such a connection (CVE-2020-8558).
 */

import type { Jump } from "../core/iptables.ts";
import type { HostPort } from "../runtime/runtime.ts";
import { BRIDGE } from "./bridge-commands.ts";

/** The host ports of one sandbox. */
export interface HostPortMapping {
  /** IPv4, of the pod. */
  readonly ip: string;
  /** `namespace/name`, for people who read the rules. */
  readonly pod: string;
  readonly ports: readonly HostPort[];
}

export const PORTS_CHAIN = "LONGSHORE-HOSTPORTS";
const MASQUERADE_CHAIN = "LONGSHORE-HOSTPORTS-MASQ";
const INPUT_CHAIN = "LONGSHORE-INPUT";

/** Only what is meant for the node itself. */
const LOCAL = ["-m", "addrtype", "--dst-type", "LOCAL"];

export const HOST_PORT_JUMPS: readonly Jump[] = [
  ...["PREROUTING", "OUTPUT"].map(
    (from): Jump => ({
      ...{ table: "nat", from, to: PORTS_CHAIN, match: LOCAL },
      comment: "longshore: host ports",
    }),
  ),
  {
    ...{ table: "nat", from: "POSTROUTING", to: MASQUERADE_CHAIN },
    comment: "longshore: host ports",
  },
  { table: "filter", from: "INPUT", to: INPUT_CHAIN, comment: "longshore: loopback of the node" },
];

/** Our three chains, whole. */
export function hostPortRules(mappings: readonly HostPortMapping[]): string {
  const ports = mappings.flatMap(({ ip, pod, ports: all }) =>
    all.map((port) => forwardRule(ip, pod, port)),
  );
  // A rule for one address goes before one of the same port for all.
  ports.sort((a, b) => Number(b.includes(" -d ")) - Number(a.includes(" -d ")));
  const hairpins = mappings.map(({ ip }) => `-s ${ip}/32 -d ${ip}/32 -j MASQUERADE`);
  const masquerade = [`-s 127.0.0.0/8 -o ${BRIDGE} -j MASQUERADE`, ...new Set(hairpins)];
  const input = `-i ${BRIDGE} -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`;
  return [
    ...["*nat", `:${PORTS_CHAIN} - [0:0]`, `:${MASQUERADE_CHAIN} - [0:0]`],
    ...ports.map((rule) => `-A ${PORTS_CHAIN} ${rule}`),
    ...masquerade.map((rule) => `-A ${MASQUERADE_CHAIN} ${rule}`),
    ...["COMMIT", "*filter", `:${INPUT_CHAIN} - [0:0]`, `-A ${INPUT_CHAIN} ${input}`, "COMMIT", ""],
  ].join("\n");
}

function forwardRule(ip: string, pod: string, port: HostPort): string {
  const { protocol, hostIp, hostPort, containerPort } = port;
  const name = protocol.toLowerCase();
  // A comment has at most 255 characters, and must not end before its line does.
  const about = pod.replace(/[^\w./-]/g, "_").slice(0, 255);
  const to = hostIp === "" ? "" : ` -d ${hostIp}/32`;
  return `-p ${name}${to} -m ${name} --dport ${hostPort} -m comment --comment ${about} -j DNAT --to-destination ${ip}:${containerPort}`;
}
