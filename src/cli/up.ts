/**
 * `longshore up`: the embedded control plane with its controllers and, unless told otherwise, the agent on this host
 * with the credentials of a node. Prints one line to use it and runs until told to stop; the agent stops first.
 * Called by main.ts; tests call startControlPlaneWithControllers.
 */

import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { installControllers } from "../controlplane/controllers/install.ts";
import type { Extend } from "../controlplane/extension.ts";
import { parseRange } from "../controlplane/ipv4-range.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { Logger, LoggerOptions } from "../core/logger.ts";

export interface UpOptions {
  readonly dir: string;
  readonly address: string;
  readonly port: number;
  readonly nodeName: string;
  readonly serviceCidr: string;
  readonly clusterCidr: string;
  readonly controlPlaneOnly: boolean;
}

/** What of the process and the machine `up` needs. */
export interface UpHost {
  readonly clock: Clock;
  readonly random: () => number;
  readonly hostname: string;
  /** Fires at SIGTERM or SIGINT. */
  readonly stop: AbortSignal;
  stdout(text: string): void;
  stderr(text: string): void;
  createLogger(level: LoggerOptions["level"]): Logger;
}

export interface ControlPlaneOptions {
  readonly dir: string;
  readonly address: string;
  readonly port: number;
  readonly serviceCidr: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly extend: Extend;
}

export interface Credentials {
  readonly user: string;
  readonly groups: readonly string[];
}

/** The API server, running. */
export interface RunningControlPlane {
  readonly url: string;
  readonly port: number;
  /** PEM of the authority that signs client certificates. */
  readonly ca: string;
  /** A kubeconfig with a new client certificate. */
  kubeconfigFor(credentials: Credentials): Promise<string>;
  stop(): Promise<void>;
}

export type StartControlPlane = (options: ControlPlaneOptions) => Promise<RunningControlPlane>;

/** Flags of `longshore agent`, camelCase, that `up` decides. */
export type AgentFlags = Readonly<Record<string, string>>;

export interface UpDependencies {
  readonly startControlPlane: StartControlPlane;
  /** Resolves when the agent runs. */
  readonly startAgent: (flags: AgentFlags) => Promise<{ stop(): Promise<void> }>;
}

export interface ClusterFiles {
  readonly admin: string;
  readonly node: string;
  readonly proxy: string;
  readonly clientCa: string;
}

export interface Cluster {
  readonly url: string;
  readonly port: number;
  readonly files: ClusterFiles;
  /** For further identities in tests. */
  kubeconfigFor(credentials: Credentials): Promise<string>;
  untilNodeReady(name: string, signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
}

export interface ClusterOptions extends Omit<UpOptions, "controlPlaneOnly"> {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

const NOT_FOR_PRODUCTION =
  "longshore: the embedded control plane is for trying, developing and testing, not for production\n";

/** Flags as commander gives them; throws ConfigInvalid with the flag's name. */
export function parseUpOptions(
  flags: Readonly<Record<string, unknown>>,
  hostname: string,
): UpOptions {
  const text = (name: string, fallback: string): string => String(flags[name] ?? fallback);
  const port = Number(text("port", "6443"));
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new LongshoreError("ConfigInvalid", `--port ${text("port", "")} is not a port`);
  return {
    dir: text("dir", "/var/lib/longshore/controlplane"),
    address: text("address", "127.0.0.1"),
    port,
    nodeName: text("nodeName", hostname).toLowerCase(),
    serviceCidr: parseRange(text("serviceCidr", "10.96.0.0/16")).cidr,
    clusterCidr: parseRange(text("clusterCidr", "10.244.0.0/16")).cidr,
    controlPlaneOnly: flags.controlPlaneOnly === true,
  };
}

/** Runs until `host.stop` fires; the exit code. */
export async function runUp(
  host: UpHost,
  flags: Readonly<Record<string, unknown>>,
  dependencies: UpDependencies,
): Promise<number> {
  const options = parseUpOptions(flags, host.hostname);
  const log = host.createLogger((flags.logLevel ?? "info") as LoggerOptions["level"]);
  host.stderr(NOT_FOR_PRODUCTION);
  const { clock, random } = host;
  const cluster = await startControlPlaneWithControllers(
    { ...options, clock, random, log },
    dependencies.startControlPlane,
  );
  try {
    await runWithCluster(host, options, cluster, dependencies);
  } catch (error) {
    if (!hasCode(error, "Aborted")) throw error;
  } finally {
    await cluster.stop();
  }
  return 0;
}

async function runWithCluster(
  host: UpHost,
  options: UpOptions,
  cluster: Cluster,
  dependencies: UpDependencies,
): Promise<void> {
  const agent = options.controlPlaneOnly
    ? undefined
    : await dependencies.startAgent(agentFlags(options, cluster.files));
  try {
    if (agent !== undefined) await cluster.untilNodeReady(options.nodeName, host.stop);
    host.stdout(`KUBECONFIG=${cluster.files.admin} kubectl get nodes\n`);
    await untilAborted(host.stop);
  } finally {
    await agent?.stop();
  }
}

function agentFlags(options: UpOptions, files: ClusterFiles): AgentFlags {
  return {
    kubeconfig: files.node,
    proxyKubeconfig: files.proxy,
    clientCaFile: files.clientCa,
    hostnameOverride: options.nodeName,
    clusterCidr: options.clusterCidr,
  };
}

/** The API server with everything around it, and kubeconfigs (mode 0600) for administrator, node and proxy. */
export async function startControlPlaneWithControllers(
  options: ClusterOptions,
  startControlPlane: StartControlPlane,
): Promise<Cluster> {
  const { serviceCidr, clusterCidr, nodeName, ...rest } = options;
  const controllers = installControllers({ serviceCidr, clusterCidr });
  const server = await startControlPlane({ ...rest, serviceCidr, extend: controllers.extend });
  const stop = async (): Promise<void> => {
    await controllers.stop();
    await server.stop();
  };
  try {
    controllers.start({ address: options.address, port: server.port });
    const files = await writeCredentials(options.dir, nodeName, server);
    return {
      url: server.url,
      port: server.port,
      files,
      kubeconfigFor: (credentials) => server.kubeconfigFor(credentials),
      untilNodeReady: (name, signal) => controllers.untilNodeReady(name, signal),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function writeCredentials(
  dir: string,
  nodeName: string,
  server: RunningControlPlane,
): Promise<ClusterFiles> {
  const files: ClusterFiles = {
    admin: join(dir, "admin.kubeconfig"),
    node: join(dir, "node.kubeconfig"),
    proxy: join(dir, "proxy.kubeconfig"),
    clientCa: join(dir, "client-ca.crt"),
  };
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const identities: readonly [path: string, credentials: Credentials][] = [
    [files.admin, { user: "kubernetes-admin", groups: ["system:masters"] }],
    [files.node, { user: `system:node:${nodeName}`, groups: ["system:nodes"] }],
    [files.proxy, { user: "system:kube-proxy", groups: [] }],
  ];
  for (const [path, credentials] of identities)
    await writePrivate(path, await server.kubeconfigFor(credentials));
  await writePrivate(files.clientCa, server.ca);
  return files;
}

/** Whole or not at all, and never readable by others in between. */
async function writePrivate(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
