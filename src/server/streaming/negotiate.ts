/**
 * Which streaming protocol a request gets. Pure; looks at headers only. The first protocol of the client that is
 * known wins, as in Go. Called by exec.ts before the upgrade is answered.
 */

import type { IncomingHttpHeaders } from "node:http";

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

const WEBSOCKET_PROTOCOLS: readonly WebSocketProtocol[] = [
  { name: "v5.channel.k8s.io", encoding: "binary", statusForm: "json", hasClose: true },
  { name: "v4.channel.k8s.io", encoding: "binary", statusForm: "json", hasClose: false },
  { name: "v4.base64.channel.k8s.io", encoding: "base64", statusForm: "json", hasClose: false },
  { name: "channel.k8s.io", encoding: "binary", statusForm: "text", hasClose: false },
  { name: "base64.channel.k8s.io", encoding: "base64", statusForm: "text", hasClose: false },
];

/** v5 is for WebSockets only. */
const SPDY_PROTOCOLS: readonly string[] = [
  "v4.channel.k8s.io",
  "v3.channel.k8s.io",
  "v2.channel.k8s.io",
  "channel.k8s.io",
];

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

export function negotiate(headers: IncomingHttpHeaders): Negotiated {
  const upgrade = (headers.upgrade ?? "").toLowerCase();
  if (upgrade === "websocket")
    return negotiateWebSocket(splitList(headers["sec-websocket-protocol"]));
  if (upgrade.includes("spdy/3.1"))
    return negotiateSpdy(splitList(headers["x-stream-protocol-version"]));
  return { kind: "no-upgrade" };
}

function negotiateSpdy(offered: readonly string[]): Negotiated {
  if (offered.length === 0) return { kind: "no-protocol" };
  const protocol = offered.find((name) => SPDY_PROTOCOLS.includes(name));
  return protocol === undefined
    ? { kind: "no-common-protocol", known: SPDY_PROTOCOLS }
    : { kind: "spdy", protocol };
}

function negotiateWebSocket(offered: readonly string[]): Negotiated {
  if (offered.length === 0) return { kind: "websocket", protocol: UNNAMED };
  for (const name of offered) {
    const protocol = WEBSOCKET_PROTOCOLS.find((candidate) => candidate.name === name);
    if (protocol !== undefined) return { kind: "websocket", protocol };
  }
  return { kind: "no-common-protocol", known: [] };
}
