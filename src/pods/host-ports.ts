/** Which ports of the node the containers of a pod ask for. Pure. Used by admission and for the pod's sandbox. */

import type { Container, PodSpec } from "../api/types.ts";
import { familyOf } from "../core/ip.ts";
import type { HostPort } from "../runtime/runtime.ts";
import { containersOf, isLasting } from "./containers.ts";

type Port = NonNullable<Container["ports"]>[number];

const PROTOCOLS: readonly unknown[] = ["TCP", "UDP", "SCTP"];
const EVERY_ADDRESS = "0.0.0.0";

function isPort(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) < 65_536;
}

/** Of containers that last as long as the pod: the others end before anybody could connect. */
export function hostPortsOf(spec: PodSpec): readonly HostPort[] {
  return containersOf(spec)
    .filter(isLasting)
    .flatMap(({ spec: { ports = [] } }) => ports)
    .filter(({ hostPort = 0 }) => hostPort !== 0)
    .map(({ hostPort = 0, hostIP = "", protocol = "TCP", containerPort }) => ({
      ...{ hostPort, containerPort, protocol: protocol as HostPort["protocol"] },
      hostIp: hostIP === EVERY_ADDRESS ? "" : hostIP,
    }));
}

/** Whether the port can be forwarded: the pod network is IPv4, and what no API server stores is no rule. */
export function isForwardable({
  hostPort,
  hostIP,
  protocol = "TCP",
  containerPort,
}: Port): boolean {
  if (hostIP !== undefined && hostIP !== "" && familyOf(hostIP) !== "IPv4") return false;
  return PROTOCOLS.includes(protocol) && isPort(hostPort) && isPort(containerPort);
}
