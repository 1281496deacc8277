/**
 * The server on the node's port (10250), through which the API server reads logs and runs commands. Each request and
 * each upgrade: parse the route, authenticate, authorize, answer. Certificates are read again each minute.
 * Started and stopped by agent.ts.
 */

import { X509Certificate } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { Timer } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { UNAUTHORIZED } from "./auth.ts";
import { type AuthenticationSettings, Authenticator } from "./authentication.ts";
import { type AuthorizationSettings, Authorizer } from "./authorization.ts";
import { endSocket, serveCommand } from "./exec.ts";
import { computeHealthz, type HealthState } from "./healthz.ts";
import {
  close,
  createHealthServer,
  createTlsServer,
  listen,
  type TlsLimits,
  tlsOptions,
} from "./https-server.ts";
import { serveLogs } from "./logs.ts";
import { createPodDial, type PodDial } from "./port-forward/dial.ts";
import { servePortForward } from "./port-forward/serve.ts";
import { NodeReads, type ReadOptions } from "./reads.ts";
import { disabledOf, type EndpointSettings, refusalOf } from "./refusals.ts";
import { formatRawReply, NOT_FOUND, type Reply } from "./reply.ts";
import type { Reviews } from "./reviews.ts";
import { parseRoute, type Route } from "./routes.ts";
import { runCommand } from "./run.ts";
import type { UpgradeRequest } from "./streaming/kept-socket.ts";
import { serveSystemLogs } from "./system-logs.ts";
import { loadTlsMaterial, type TlsConfig, type TlsMaterial } from "./tls.ts";

/** The part of AgentConfig that the server reads. */
interface KubeletServerConfig extends TlsConfig, TlsLimits, EndpointSettings {
  readonly authentication: AuthenticationSettings;
  readonly authorization: AuthorizationSettings;
  readonly address: string;
  /** 0 = any free port (tests). */
  readonly port: number;
  readonly healthzBindAddress: string;
  /** 0 = off. */
  readonly healthzPort: number;
}

export interface KubeletServerOptions extends Omit<ReadOptions, "config"> {
  readonly config: KubeletServerConfig;
  readonly runtime: Pick<Runtime, "logs" | "exec" | "attach" | "list" | "info" | "containerUsage">;
  readonly reviews: Reviews;
  readonly log: Logger;
}

const RELOAD_INTERVAL_MS = 60_000;
const READINESS_INTERVAL_MS = 10_000;

export class KubeletServer {
  readonly #options: KubeletServerOptions;
  readonly #dial: PodDial;
  readonly #reads: NodeReads;
  readonly #authenticator: Authenticator;
  readonly #authorizer: Authorizer;
  readonly #stopping = new AbortController();
  readonly #upgraded = new Set<Duplex>();
  readonly #timers = new Map<string, Timer>();
  #server: HttpsServer | undefined;
  #healthServer: Server | undefined;
  #material: TlsMaterial | undefined;
  #unreadySince: number | undefined;

  constructor(options: KubeletServerOptions) {
    this.#options = options;
    this.#dial = createPodDial(options.runtime, options.clock);
    this.#reads = new NodeReads(options);
    const { nodeName, authentication, authorization } = options.config;
    this.#authenticator = new Authenticator({ ...options, settings: authentication });
    this.#authorizer = new Authorizer({ ...options, nodeName, settings: authorization });
  }

  /** Resolves when both ports listen. Throws AddressInUse or ConfigInvalid. */
  async start(): Promise<void> {
    if (this.#options.config.enableServer) await this.#startServer();
    await this.#startHealthServer();
    this.#every("readiness", READINESS_INTERVAL_MS, async () => this.#watchReadiness());
  }

  async #startServer(): Promise<void> {
    const { config, clock, log } = this.#options;
    this.#material = await loadTlsMaterial(config, clock.now());
    if (this.#material.clientCa === undefined)
      log.warn(
        {},
        "no client CA is configured (clientCAFile): only tokens are let in, the API server's logs and exec are not",
      );
    this.#server = createTlsServer(tlsOptions(this.#material, config), {
      onRequest: (request, response) => this.#onRequest(request, response),
      onUpgrade: (request, socket, head) => this.#onUpgrade(request, socket, head),
    });
    const { address, port } = config;
    await listen(this.#server, { address, port, purpose: "kubelet server", flag: "--port" });
    this.#every("reload", RELOAD_INTERVAL_MS, () => this.reload());
    log.info({ address, port: this.port }, "kubelet server listens");
  }

  /** Ends logs and commands in progress, then the sockets. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers.values()) timer.cancel();
    for (const socket of this.#upgraded) socket.destroy();
    await Promise.all([close(this.#server), close(this.#healthServer), this.#reads.stop()]);
  }

  /** The port it listens on; 0 before start. */
  get port(): number {
    return (this.#server?.address() as AddressInfo | null | undefined)?.port ?? 0;
  }

  /** Milliseconds of the epoch; undefined before start. */
  get servingEndsAt(): number | undefined {
    const cert = this.#material?.cert;
    return cert === undefined ? undefined : new X509Certificate(cert).validToDate.getTime();
  }

  async #startHealthServer(): Promise<void> {
    const { healthzPort, healthzBindAddress } = this.#options.config;
    if (healthzPort === 0) return;
    this.#healthServer = createHealthServer((request, response) => {
      const route = parseRoute(request.method ?? "", request.url ?? "");
      const reply =
        route.kind === "healthz"
          ? computeHealthz(route.check, route.query, this.#health())
          : NOT_FOUND;
      writeReply(response, reply);
    });
    await listen(this.#healthServer, {
      address: healthzBindAddress,
      port: healthzPort,
      purpose: "healthz server",
      flag: "--healthz-port",
    });
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const route = parseRoute(request.method ?? "", request.url ?? "");
    response.once("close", this.#reads.count(request.method ?? "", route));
    this.#admit(request, route)
      .then((refusal) => refusal ?? this.#answer(route, response))
      .then((reply) => {
        if (reply !== undefined) writeReply(response, reply);
      })
      .catch((error: unknown) => {
        this.#options.log.error({ err: error, route: route.kind }, "answering a request failed");
        if (response.headersSent) response.destroy();
        else writeReply(response, { status: 500, text: "Internal Error" });
      });
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#upgraded.add(socket);
    socket.once("close", () => this.#upgraded.delete(socket));
    // A client that goes away while it is looked up; later ones are dealt with where the streams are.
    const onError = (): void => void socket.destroy();
    socket.on("error", onError);
    const route = parseRoute(request.method ?? "", request.url ?? "");
    socket.once("close", this.#reads.count(request.method ?? "", route));
    this.#admit(request, route)
      .then((refusal) => {
        if (socket.destroyed) return;
        const reply = refusal ?? this.#upgrade(route, { request, socket, head });
        if (reply !== undefined) endSocket(socket, formatRawReply(reply));
      })
      .catch((error: unknown) => {
        this.#options.log.error({ err: error, route: route.kind }, "an upgrade failed");
        socket.destroy();
      });
  }

  /** undefined = who asks may. */
  async #admit(request: IncomingMessage, route: Route): Promise<Reply | undefined> {
    const { signal } = this.#stopping;
    const hasClientCa = this.#material?.clientCa !== undefined;
    const user = await this.#authenticator.authenticate(request, hasClientCa, signal);
    if (user === undefined) return UNAUTHORIZED;
    const refusal = await this.#authorizer.refusal(user, request.method ?? "", route, signal);
    return refusal ?? disabledOf(route, this.#options.config);
  }

  #upgrade(route: Route, upgrade: UpgradeRequest): Reply | undefined {
    if (route.kind === "exec" || route.kind === "attach")
      return serveCommand(this.#options, route, upgrade, this.#stopping.signal);
    if (route.kind === "port-forward")
      return servePortForward({ ...this.#options, dial: this.#dial }, route, upgrade);
    return refusalOf(route) ?? { status: 400, text: "this path does not upgrade connections" };
  }

  async #answer(route: Route, response: ServerResponse): Promise<Reply | undefined> {
    switch (route.kind) {
      case "healthz":
        return computeHealthz(route.check, route.query, this.#health());
      case "read":
        return this.#reads.answer(route, this.servingEndsAt, response, this.#stopping.signal);
      case "system-logs":
        return serveSystemLogs("/var/log", route.path, response);
      case "logs":
        return serveLogs(this.#options, route, response, this.#stopping.signal);
      case "exec":
      case "attach":
      case "port-forward":
        return { status: 400, text: "Upgrade request required" };
      case "run":
        return this.#run(route, response);
      default:
        return refusalOf(route);
    }
  }

  async #run(
    route: Parameters<typeof runCommand>[1],
    response: ServerResponse,
  ): Promise<Reply | undefined> {
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    const signal = AbortSignal.any([gone.signal, this.#stopping.signal]);
    const result = await runCommand(this.#options, route, signal);
    if (!Buffer.isBuffer(result)) return result;
    // Upstream's type, whatever the command printed.
    response.writeHead(200, { "Content-Type": "application/json" }).end(result);
    return undefined;
  }

  #health(): HealthState {
    this.#watchReadiness();
    const since = this.#unreadySince;
    return {
      unreadyForMs: since === undefined ? 0 : this.#options.clock.monotonic() - since,
      problems: this.#options.readiness(),
    };
  }

  #watchReadiness(): void {
    const isReady = this.#options.readiness().length === 0;
    this.#unreadySince = isReady
      ? undefined
      : (this.#unreadySince ?? this.#options.clock.monotonic());
  }

  /**
   * Looks for other certificates now; connections that are open keep theirs. A file that is unreadable for a moment
   * (being replaced) leaves what is in use in place.
   */
  async reload(): Promise<void> {
    const { config, clock, log } = this.#options;
    try {
      const material = await loadTlsMaterial(config, clock.now());
      const isSame =
        material.cert === this.#material?.cert &&
        material.key === this.#material.key &&
        material.clientCa === this.#material.clientCa;
      if (isSame) return;
      this.#server?.setSecureContext(tlsOptions(material, config));
      this.#material = material;
      log.info({}, "kubelet server uses new certificates");
    } catch (error) {
      log.warn({ err: error }, "reading the kubelet server's certificates again failed");
    }
  }

  #every(name: string, ms: number, work: () => Promise<void>): void {
    const again = (): void => {
      if (!this.#stopping.signal.aborted) this.#every(name, ms, work);
    };
    this.#timers.set(
      name,
      this.#options.clock.after(ms, () => void work().finally(again)),
    );
  }
}

function writeReply(response: ServerResponse, reply: Reply): void {
  response.writeHead(reply.status, {
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Content-Length": Buffer.byteLength(reply.text),
    // Who is nobody keeps no connection open.
    ...(reply.status === UNAUTHORIZED.status ? { Connection: "close" } : {}),
  });
  response.end(reply.text);
}
