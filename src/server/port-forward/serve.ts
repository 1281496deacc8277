/**
 * /portForward: from the upgrade request to forwarded connections, over SPDY, a tunnel or the legacy channels. Started
 * by kubelet-server.ts.
 */

import type { Clock } from "../../core/clock.ts";
import { hasCode } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { PodDirectory } from "../../pods/directory.ts";
import { refusePod } from "../container-choice.ts";
import type { Reply } from "../reply.ts";
import type { Route } from "../routes.ts";
import { acceptWebSocket, type UpgradeRequest } from "../streaming/kept-socket.ts";
import {
  negotiate,
  PORT_FORWARD_PROTOCOLS,
  refuseUpgrade,
  TUNNEL,
  type WebSocketProtocol,
} from "../streaming/negotiate.ts";
import { formatSpdyUpgrade } from "../streaming/spdy/spdy-command.ts";
import type { PodDial } from "./dial.ts";
import { type ForwardContext, parsePort } from "./forward.ts";
import { SpdyPortForward } from "./over-spdy.ts";
import { createTunnel, forwardChannels } from "./over-websocket.ts";

interface PortForwardContext {
  readonly pods: PodDirectory;
  readonly dial: PodDial;
  readonly clock: Clock;
  readonly log: Logger;
}

type PortForwardRoute = Extract<Route, { kind: "port-forward" }>;

/** Takes the upgrade over, or returns the refusal to write. The server ends the socket when it stops. */
export function servePortForward(
  context: PortForwardContext,
  route: PortForwardRoute,
  upgrade: UpgradeRequest,
): Reply | undefined {
  const view = context.pods.find(route.namespace, route.pod);
  const refusal = refusePod(view, route.uid);
  if (refusal !== undefined || view === undefined) return refusal;
  const { uid } = view.pod.metadata;
  const pod = { uid, fullName: `${route.pod}_${route.namespace}` };
  const forwarding = { ...context, pod };
  const negotiated = negotiate(upgrade.request.headers, PORT_FORWARD_PROTOCOLS);
  switch (negotiated.kind) {
    case "websocket":
      return overWebSocket(forwarding, route, upgrade, negotiated.protocol);
    case "spdy":
      upgrade.socket.write(formatSpdyUpgrade(negotiated.protocol));
      runSpdy(forwarding, upgrade);
      return undefined;
    default:
      return refuseUpgrade(negotiated);
  }
}

type Forwarding = ForwardContext & { readonly clock: Clock };

function overWebSocket(
  context: Forwarding,
  route: PortForwardRoute,
  upgrade: UpgradeRequest,
  protocol: WebSocketProtocol,
): Reply | undefined {
  if (protocol.name === TUNNEL) {
    acceptWebSocket(upgrade, TUNNEL, (socket) =>
      runSpdy(context, { socket: createTunnel(socket, context.clock), head: Buffer.alloc(0) }),
    );
    return undefined;
  }
  const ports = parsePorts(route.query);
  if (ports.kind === "refused") return { status: 400, text: ports.text };
  acceptWebSocket(upgrade, protocol.name, (socket) => {
    forwardChannels(socket, protocol, ports.ports, context).catch((error: unknown) => {
      context.log.warn({ err: error }, "a port-forward failed");
      socket.terminate();
    });
  });
  return undefined;
}

function runSpdy(context: Forwarding, { socket, head }: Omit<UpgradeRequest, "request">): void {
  new SpdyPortForward(socket, context, context.clock).run(head).catch((error: unknown) => {
    // Clients come and go; only what they did not cause needs somebody.
    if (hasCode(error, "Aborted", "Unsupported"))
      context.log.debug({ err: error }, "client of a port-forward failed");
    else context.log.warn({ err: error }, "a port-forward failed");
    socket.destroy();
  });
}

type Ports =
  | { readonly kind: "ports"; readonly ports: readonly number[] }
  | { readonly kind: "refused"; readonly text: string };

/** `port=80,81`, also repeated. Pure. */
export function parsePorts(query: URLSearchParams): Ports {
  const texts = query.getAll("port").flatMap((text) => text.split(","));
  if (texts.length === 0) return { kind: "refused", text: 'query parameter "port" is required' };
  const ports: number[] = [];
  for (const text of texts) {
    const port = parsePort(text);
    if (port === undefined) return { kind: "refused", text: `invalid port ${text}` };
    ports.push(port);
  }
  return { kind: "ports", ports };
}
