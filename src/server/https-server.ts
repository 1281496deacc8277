/**
 * The sockets of the kubelet server: HTTPS with an optional client certificate on the node's port, plain HTTP for
 * /healthz on the loopback. Sets limits and time-outs, listens with a clear error when the port is taken, closes what
 * is left. Knows nothing of routes.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createHttpServer, type Server } from "node:http";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import type { Duplex } from "node:stream";
import type { SecureContextOptions } from "node:tls";
import { LongshoreError } from "../core/errors.ts";
import { limitSilentConnections } from "./silent-connections.ts";
import type { TlsMaterial } from "./tls.ts";

/** kubelet's limit; Node's own of 16 KiB is less than the query of a long `kubectl exec`. */
const MAX_HEADER_BYTES = 1 << 20;
/** Go clients keep idle connections for 90 s: the server must not be the first to close. */
const KEEP_ALIVE_MS = 95_000;
const HANDSHAKE_MS = 30_000;
const HEADERS_MS = 60_000;
/** kubelet's read and write time-out: a followed log may last. */
const REQUEST_MS = 4 * 60 * 60_000;

export interface Handlers {
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void;
  readonly onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

/** Of AgentConfig. */
export interface TlsLimits {
  readonly tlsMinVersion: "VersionTLS12" | "VersionTLS13";
  /** OpenSSL's names, for TLS 1.2; empty = Node's own choice. */
  readonly tlsCipherSuites: readonly string[];
}

/** Among these nobody chooses: naming none of them would turn TLS 1.3 off. */
const TLS13_SUITES = [
  ...["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"],
];

export function tlsOptions(material: TlsMaterial, limits: TlsLimits): SecureContextOptions {
  // Without a list of its own Node would trust the public authorities for client certificates.
  return {
    cert: material.cert,
    key: material.key,
    ca: material.clientCa === undefined ? [material.cert] : [material.clientCa],
    minVersion: limits.tlsMinVersion === "VersionTLS13" ? "TLSv1.3" : "TLSv1.2",
    ...(limits.tlsCipherSuites.length === 0
      ? {}
      : { ciphers: [...TLS13_SUITES, ...limits.tlsCipherSuites].join(":") }),
  };
}

export function createTlsServer(options: SecureContextOptions, handlers: Handlers): HttpsServer {
  const server = createHttpsServer({
    ...options,
    requestCert: true,
    rejectUnauthorized: false,
    maxHeaderSize: MAX_HEADER_BYTES,
    keepAliveTimeout: KEEP_ALIVE_MS,
    handshakeTimeout: HANDSHAKE_MS,
    headersTimeout: HEADERS_MS,
    requestTimeout: REQUEST_MS,
  });
  limitSilentConnections(server);
  server.on("request", handlers.onRequest);
  server.on("upgrade", handlers.onUpgrade);
  // Scanners and half-open connections; nothing was asked, so there is nothing to say.
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  return server;
}

export function createHealthServer(onRequest: Handlers["onRequest"]): Server {
  const server = createHttpServer({ headersTimeout: HEADERS_MS });
  server.on("request", onRequest);
  return server;
}

/** Resolves when it listens. `purpose` and `flag` make the error useful. */
export function listen(
  server: Server | HttpsServer,
  at: {
    readonly address: string;
    readonly port: number;
    readonly purpose: string;
    readonly flag: string;
  },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException): void => {
      const what = `${at.purpose}: listening on ${at.address} port ${at.port}`;
      reject(
        cause.code === "EADDRINUSE"
          ? new LongshoreError(
              "AddressInUse",
              `${what}: the port is taken; stop the other program (a kubelet?) or choose another with ${at.flag}`,
              { cause },
            )
          : new LongshoreError("ConfigInvalid", `${what}: ${cause.message}`, { cause }),
      );
    };
    server.once("error", onError);
    server.listen(at.port, at.address, () => {
      server.removeListener("error", onError);
      // What goes wrong later (no more file descriptors) is over with that connection; unheard it would end the agent.
      server.on("error", () => undefined);
      resolve();
    });
  });
}

/** Stops listening and ends all connections, also those in use. */
export function close(server: Server | HttpsServer | undefined): Promise<void> {
  if (server === undefined || !server.listening) return Promise.resolve();
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
