/**
 * `longshore up`: the embedded control plane with its controllers and, unless told otherwise, the agent on this host
 * with the credentials of a node. Prints one line to use it and runs until told to stop; the agent stops first.
 * Called by main.ts; tests call startControlPlaneWithControllers.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { installControllers } from "../controlplane/controllers/install.ts";
import {
  type ControlPlane,
  type ControlPlaneOptions,
  startControlPlane,
} from "../controlplane/controlplane.ts";
import { parseRange } from "../controlplane/ipv4-range.ts";
import { kubernetesServiceIp } from "../controlplane/services.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { Logger, LoggerOptions } from "../core/logger.ts";
import { duration } from "./config-values.ts";

export interface UpOptions {
  readonly dir: string;
  readonly address: string;
  readonly port: number;
  readonly nodeName: string;
  readonly serviceCidr: string;
  readonly clusterCidr: string;
  readonly signingDurationMs: number;
  readonly controlPlaneOnly: boolean;
}

/** What of the process and the machine `up` needs. */
export interface UpHost {
  readonly clock: Clock;
  readonly random: () => number;
  readonly randomUid: () => string;
  readonly hostname: string;
  /** Fires at SIGTERM or SIGINT. */
  readonly stop: AbortSignal;
  stdout(text: string): void;
  stderr(text: string): void;
  createLogger(level: LoggerOptions["level"]): Logger;
}

export type StartControlPlane = (options: ControlPlaneOptions) => Promise<RunningControlPlane>;

/** What of the API server `up` uses. */
export type RunningControlPlane = Pick<
  ControlPlane,
  "url" | "caFile" | "adminKubeconfig" | "issueKubeconfig" | "stop"
>;

/** Flags of `longshore agent`, camelCase, that `up` decides. */
export type AgentFlags = Readonly<Record<string, string>>;

export interface UpDependencies {
  /** Absent = the real one. */
  readonly startControlPlane?: StartControlPlane;
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
  readonly files: ClusterFiles;
  untilNodeReady(name: string, signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
}

export interface ClusterOptions extends Omit<UpOptions, "controlPlaneOnly" | "signingDurationMs"> {
  readonly signingDurationMs?: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly randomUid: () => string;
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
    signingDurationMs: duration(flags.clusterSigningDuration ?? "8760h", "clusterSigningDuration"),
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
  const { clock, random, randomUid } = host;
  const cluster = await startControlPlaneWithControllers(
    { ...options, clock, random, randomUid, log },
    dependencies.startControlPlane,
  );
  try {
    await runWithCluster({ host, flags, options, cluster, dependencies });
  } catch (error) {
    if (!hasCode(error, "Aborted")) throw error;
  } finally {
    await cluster.stop();
  }
  return 0;
}

interface Run {
  readonly host: UpHost;
  readonly flags: Readonly<Record<string, unknown>>;
  readonly options: UpOptions;
  readonly cluster: Cluster;
  readonly dependencies: UpDependencies;
}

async function runWithCluster(run: Run): Promise<void> {
  const { host, flags, options, cluster, dependencies } = run;
  const agent = options.controlPlaneOnly
    ? undefined
    : await dependencies.startAgent(agentFlags(flags, options, cluster.files));
  try {
    if (agent !== undefined) await cluster.untilNodeReady(options.nodeName, host.stop);
    host.stdout(`KUBECONFIG=${cluster.files.admin} kubectl get nodes\n`);
    await untilAborted(host.stop);
  } finally {
    await agent?.stop();
  }
}

/** Flags of `up` that the agent has too, by the same name. */
const SHARED_FLAGS = [
  "rootDir",
  "nodeIp",
  "containerRuntimeEndpoint",
  "podManifestPath",
  "maxPods",
  "logLevel",
];

function agentFlags(
  flags: Readonly<Record<string, unknown>>,
  options: UpOptions,
  files: ClusterFiles,
): AgentFlags {
  const shared = SHARED_FLAGS.filter((name) => flags[name] !== undefined);
  return {
    ...Object.fromEntries(shared.map((name) => [name, String(flags[name])])),
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
  start: StartControlPlane = startControlPlane,
): Promise<Cluster> {
  const { serviceCidr, clusterCidr, signingDurationMs, nodeName, dir, ...rest } = options;
  const signing = signingDurationMs === undefined ? {} : { signingDurationMs };
  const controllers = installControllers({ serviceCidr, clusterCidr, ...signing });
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const extraSans = [kubernetesServiceIp(serviceCidr)];
  const server = await start({ ...rest, dir, extraSans, extend: controllers.extend });
  const stop = async (): Promise<void> => {
    await controllers.stop();
    await server.stop();
  };
  try {
    controllers.start({ address: options.address, port: Number(new URL(server.url).port) });
    const files: ClusterFiles = {
      admin: server.adminKubeconfig,
      node: join(dir, "node.kubeconfig"),
      proxy: join(dir, "proxy.kubeconfig"),
      clientCa: server.caFile,
    };
    await server.issueKubeconfig(`system:node:${nodeName}`, ["system:nodes"], files.node);
    await server.issueKubeconfig("system:kube-proxy", [], files.proxy);
    const untilNodeReady = controllers.untilNodeReady.bind(controllers);
    return { url: server.url, files, untilNodeReady, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
