/**
 * Connections that have asked nothing yet cost memory (a TLS session each) and whoever reaches the port can make them: only
 * so many may be open at a time, and the longest silent one goes when there is another. Who has asked something counts no
 * more. Called by https-server.ts for the node's port.
 */

import type { Server } from "node:https";
import type { Socket } from "node:net";

/** Far more than API servers and scrapers begin at once. */
export const MAX_SILENT = 1000;

/** To be called before the server listens. */
export function limitSilentConnections(server: Server): void {
  // By the client's address: the socket before the handshake and the one after it are not the same object.
  const silent = new Map<string, Socket>();
  const forget = (socket: Socket): void => void silent.delete(keyOf(socket));
  server.on("connection", (socket: Socket) => {
    const key = keyOf(socket);
    silent.set(key, socket);
    socket.once("close", () => {
      if (silent.get(key) === socket) silent.delete(key);
    });
    const [oldest] = silent;
    if (silent.size <= MAX_SILENT || oldest === undefined) return;
    silent.delete(oldest[0]);
    oldest[1].destroy();
  });
  server.on("request", ({ socket }) => forget(socket));
  server.on("upgrade", ({ socket }) => forget(socket));
}

function keyOf({ remoteAddress = "", remotePort = 0 }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
