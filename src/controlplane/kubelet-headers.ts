/**
 * Headers of requests that the API server passes on to a kubelet, and of the answers it passes back: pure. The user's
 * credentials stay here; the kubelet knows the API server by its certificate. Called by kubelet-proxy.ts.
 */

import type { IncomingHttpHeaders, IncomingMessage } from "node:http";

/** Status line and headers as raw bytes. A refusal's body ends with the connection. */
export function headOf(response: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${response.statusCode} ${response.statusMessage}`];
  const isUpgrade = response.statusCode === 101;
  for (let index = 0; index + 1 < response.rawHeaders.length; index += 2) {
    const name = response.rawHeaders[index] ?? "";
    const isHop = ["connection", "transfer-encoding", "keep-alive"].includes(name.toLowerCase());
    if (isUpgrade || !isHop) lines.push(`${name}: ${response.rawHeaders[index + 1]}`);
  }
  if (!isUpgrade) lines.push("Connection: close");
  return `${lines.join("\r\n")}\r\n\r\n`;
}

const TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io.";

/** The client's headers without its credentials, and with where it came from. */
export function forwardedHeaders(request: IncomingMessage): Record<string, string | string[]> {
  const headers = withoutHopByHop(request.headers);
  delete headers.authorization;
  const protocols = request.headers["sec-websocket-protocol"]
    ?.split(",")
    .filter((protocol) => !protocol.trim().startsWith(TOKEN_PROTOCOL));
  if (protocols !== undefined) headers["sec-websocket-protocol"] = protocols.join(",");
  const from = [request.headers["x-forwarded-for"], request.socket.remoteAddress].filter(Boolean);
  if (from.length > 0) headers["x-forwarded-for"] = from.join(", ");
  return headers;
}

export function upgradeHeaders(request: IncomingMessage): Record<string, string> {
  return { connection: "Upgrade", upgrade: request.headers.upgrade ?? "" };
}

export function withoutHopByHop(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    const isHop = ["connection", "keep-alive", "transfer-encoding", "upgrade"].includes(name);
    if (!isHop && value !== undefined) kept[name] = value;
  }
  return kept;
}
