/**
 * Which streaming protocol a request gets. Pure; looks at headers only. The first protocol of the client that is
 * known wins, as in Go. Called by exec.ts and port-forward before the upgrade is answered.
 */

import type { IncomingHttpHeaders } from "node:http";
import { assertNever } from "../../core/errors.ts";
import type { Reply } from "../reply.ts";

export interface WebSocketProtocol {
  /** To echo in Sec-WebSocket-Protocol; undefined when the client named none. */
  readonly name: string | undefined;
  readonly encoding: "binary" | "base64";
  readonly statusForm: "json" | "text";
  /** v5: `[255, channel]` closes a channel. */
  readonly hasClose: boolean;
}

export type Negotiated =
  | { readonly kind: "websocket"; readonly protocol: WebSocketProtocol }
  | { readonly kind: "spdy"; readonly protocol: string }
  /** SPDY without a list of protocols. */
  | { readonly kind: "no-protocol" }
  /** `known`: what a SPDY client is told it could have asked for. */
  | { readonly kind: "no-common-protocol"; readonly known: readonly string[] }
  | { readonly kind: "no-upgrade" };

/** What a kind of request understands. */
export interface KnownProtocols {
  readonly websocket: readonly WebSocketProtocol[];
  readonly spdy: readonly string[];
}

const V4: readonly WebSocketProtocol[] = [
  { name: "v4.channel.k8s.io", encoding: "binary", statusForm: "json", hasClose: false },
  { name: "v4.base64.channel.k8s.io", encoding: "base64", statusForm: "json", hasClose: false },
];

export const COMMAND_PROTOCOLS: KnownProtocols = {
  websocket: [
    { name: "v5.channel.k8s.io", encoding: "binary", statusForm: "json", hasClose: true },
    ...V4,
    { name: "channel.k8s.io", encoding: "binary", statusForm: "text", hasClose: false },
    { name: "base64.channel.k8s.io", encoding: "base64", statusForm: "text", hasClose: false },
  ],
  // v5 is for WebSockets only.
  spdy: ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"],
};

/** Its messages carry SPDY. */
export const TUNNEL = "SPDY/3.1+portforward.k8s.io";

export const PORT_FORWARD_PROTOCOLS: KnownProtocols = {
  websocket: [{ name: TUNNEL, encoding: "binary", statusForm: "text", hasClose: false }, ...V4],
  spdy: ["portforward.k8s.io"],
};

const UNNAMED: WebSocketProtocol = {
  name: undefined,
  encoding: "binary",
  statusForm: "text",
  hasClose: false,
};

function splitList(header: string | readonly string[] | undefined): readonly string[] {
  const text = typeof header === "string" ? header : (header ?? []).join(",");
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

export function negotiate(headers: IncomingHttpHeaders, known: KnownProtocols): Negotiated {
  const upgrade = (headers.upgrade ?? "").toLowerCase();
  if (upgrade === "websocket")
    return negotiateWebSocket(splitList(headers["sec-websocket-protocol"]), known.websocket);
  if (upgrade.includes("spdy/3.1"))
    return negotiateSpdy(splitList(headers["x-stream-protocol-version"]), known.spdy);
  return { kind: "no-upgrade" };
}

function negotiateSpdy(offered: readonly string[], known: readonly string[]): Negotiated {
  if (offered.length === 0) return { kind: "no-protocol" };
  const protocol = offered.find((name) => known.includes(name));
  return protocol === undefined
    ? { kind: "no-common-protocol", known }
    : { kind: "spdy", protocol };
}

function negotiateWebSocket(
  offered: readonly string[],
  known: readonly WebSocketProtocol[],
): Negotiated {
  if (offered.length === 0) return { kind: "websocket", protocol: UNNAMED };
  for (const name of offered) {
    const protocol = known.find((candidate) => candidate.name === name);
    if (protocol !== undefined) return { kind: "websocket", protocol };
  }
  return { kind: "no-common-protocol", known: [] };
}

/** Why an upgrade cannot be: the answer to a request without a protocol that we know. */
export function refuseUpgrade(
  negotiated: Exclude<Negotiated, { kind: "websocket" | "spdy" }>,
): Reply {
  switch (negotiated.kind) {
    case "no-protocol":
      return { status: 400, text: "unable to upgrade: X-Stream-Protocol-Version header is empty" };
    case "no-common-protocol":
      return {
        status: 403,
        text: "unable to upgrade: unable to negotiate protocol",
        headers: negotiated.known.map((name) => `X-Accepted-Stream-Protocol-Versions: ${name}`),
      };
    case "no-upgrade":
      return { status: 400, text: "Upgrade request required" };
    default:
      return assertNever(negotiated);
  }
}
