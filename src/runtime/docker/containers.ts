/** App and init containers on the Engine: create, start, stop, remove; each tolerates what is already so. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type Docker from "dockerode";
import type { LruMap } from "../../api/lru-map.ts";
import { hasCode, LongshoreError, messageOf } from "../../core/errors.ts";
import { encodeContainer } from "../labels.ts";
import type { ContainerConfig } from "../runtime.ts";
import { type Accounts, needsAccounts, readAccounts, resolveGroups } from "./accounts.ts";
import type { Engine } from "./engine.ts";
import { engineWords, statusOf } from "./errors.ts";
import { inspectImage } from "./images.ts";
import { computeDevice, computeMount } from "./mounts.ts";
import { translateInspect } from "./translate.ts";

const DEFAULT_LOGS = { maxBytes: 10 * 1024 ** 2, maxFiles: 5 };

export interface ContainerOptions {
  /** What images say of users, by image ID. */
  readonly accounts: LruMap<string, Accounts>;
  /** Where profiles of type Localhost are. */
  readonly seccompDir: string;
  /** Without CAP_SYS_RESOURCE runc cannot lower an OOM score, and fails (D11). */
  readonly hasSysResource: boolean;
  /** When a log is begun anew, and how many are kept; default 10 MiB, 5. */
  readonly logs?: { readonly maxBytes: number; readonly maxFiles: number } | undefined;
}

/**
 * What the Engine is asked for. Pure.
 * @param seccomp `unconfined`, or the JSON text of a profile; undefined = the Engine's own.
 */
export function computeCreateOptions(
  config: ContainerConfig,
  options: Pick<ContainerOptions, "hasSysResource" | "logs">,
  seccomp?: string,
): Docker.ContainerCreateOptions {
  const { name, namespace, uid } = config.pod;
  return {
    name: `k8s_${config.name}_${name}_${namespace}_${uid}_${config.attempt}`,
    Image: config.imageId,
    ...computeArguments(config),
    Env: [...config.env],
    WorkingDir: config.workingDir ?? "",
    Tty: config.tty,
    OpenStdin: config.stdin,
    StdinOnce: config.stdinOnce,
    User: config.user ?? "",
    ...(config.stopSignal === undefined ? {} : { StopSignal: config.stopSignal }),
    Labels: encodeContainer(config),
    // Probes are ours; the image's own health check would only cost.
    Healthcheck: { Test: ["NONE"] },
    HostConfig: computeHostConfig(config, options, seccomp),
  };
}

/** A command replaces the entrypoint and drops the image's arguments; arguments alone replace only those. */
function computeArguments({ command, args }: ContainerConfig): Docker.ContainerCreateOptions {
  if (command !== undefined) return { Entrypoint: [...command], Cmd: [...(args ?? [])] };
  return args === undefined ? {} : { Cmd: [...args] };
}

function computePidMode(config: ContainerConfig, sandbox: string): string {
  if (config.hostPid) return "host";
  if (config.sharePid) return sandbox;
  return config.pidOf === undefined ? "" : `container:${config.pidOf}`;
}

function computeHostConfig(
  config: ContainerConfig,
  { hasSysResource, logs = DEFAULT_LOGS }: Pick<ContainerOptions, "hasSysResource" | "logs">,
  seccomp: string | undefined,
): Docker.HostConfig {
  const sandbox = `container:${config.sandboxId}`;
  const { resources } = config;
  const oomScoreAdj = config.oomScoreAdj ?? 0;
  return {
    NetworkMode: sandbox,
    IpcMode: sandbox,
    PidMode: computePidMode(config, sandbox),
    Mounts: config.mounts.map(computeMount),
    Devices: config.devices.map(computeDevice),
    Privileged: config.privileged,
    ReadonlyRootfs: config.readOnlyRootfs,
    SecurityOpt: computeSecurityOpt(config, seccomp),
    // Absent, the Engine hides and protects what it always does.
    ...(config.unmaskedProc === true ? { MaskedPaths: [], ReadonlyPaths: [] } : {}),
    ...(config.runtimeHandler === undefined ? {} : { Runtime: config.runtimeHandler }),
    GroupAdd: [...config.supplementalGroups],
    CapAdd: [...config.addCapabilities],
    CapDrop: [...config.dropCapabilities],
    CpuShares: resources.cpuShares,
    CpuQuota: resources.cpuQuotaMicros ?? 0,
    CpuPeriod: resources.cpuPeriodMicros ?? 0,
    ...(config.cgroupParent === undefined ? {} : { CgroupParent: config.cgroupParent }),
    ...(resources.pidsLimit === undefined ? {} : { PidsLimit: resources.pidsLimit }),
    Memory: resources.memoryBytes ?? 0,
    MemorySwap: resources.memoryBytes ?? 0,
    OomScoreAdj: hasSysResource ? oomScoreAdj : Math.max(0, oomScoreAdj),
    RestartPolicy: { Name: "no" },
    // So that logs can always be read, whatever the Engine's default driver.
    LogConfig: {
      Type: "json-file",
      Config: { "max-size": String(logs.maxBytes), "max-file": String(logs.maxFiles) },
    },
  };
}

function computeSecurityOpt(config: ContainerConfig, seccomp: string | undefined): string[] {
  return [
    ...(config.noNewPrivileges ? ["no-new-privileges"] : []),
    ...(seccomp === undefined ? [] : [`seccomp=${seccomp}`]),
    ...(config.appArmor === undefined
      ? []
      : [`apparmor=${config.appArmor.replace(LOCALHOST, "")}`]),
    ...Object.entries(config.seLinux ?? {}).map(([name, text]) => `label=${name}:${text}`),
  ];
}

const LOCALHOST = /^localhost\//;

/** The Engine takes a profile's text, and knows no directory of them. */
async function readSeccomp(
  { seccomp, name }: ContainerConfig,
  directory: string,
): Promise<string | undefined> {
  if (seccomp === "default") return undefined;
  if (seccomp === "unconfined") return seccomp;
  const path = join(directory, seccomp.replace(LOCALHOST, ""));
  try {
    return JSON.stringify(JSON.parse(await readFile(path, "utf8")));
  } catch (cause) {
    throw new LongshoreError(
      "ContainerConfigInvalid",
      `cannot load the seccomp profile of container ${name}: ${path}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

export async function createContainer(
  engine: Engine,
  config: ContainerConfig,
  options: ContainerOptions,
  signal: AbortSignal,
): Promise<string> {
  const seccomp = await readSeccomp(config, options.seccompDir);
  const create = (change: Partial<ContainerConfig>): Promise<string> =>
    createNamed(engine, computeCreateOptions({ ...config, ...change }, options, seccomp), signal);
  if (!needsAccounts(config)) return create({});
  const known = options.accounts.get(config.imageId);
  if (known !== undefined) return create(resolveGroups(config, known));
  const id = await create({});
  const user = (await inspectImage(engine, config.imageId, signal))?.user ?? "";
  const accounts = await readAccounts(engine, id, user, signal);
  options.accounts.set(config.imageId, accounts);
  const resolved = resolveGroups(config, accounts);
  const isSame =
    resolved.user === config.user &&
    resolved.supplementalGroups.length === config.supplementalGroups.length;
  if (isSame) return id;
  // Groups cannot be changed afterwards.
  await removeContainer(engine, id, signal);
  return create(resolved);
}

/**
 * Creates; a leftover of ours that holds the name, from a crash between create and start, makes way. Not given up
 * half-way: the Engine would go on, and what it made then would hold the name without anybody knowing.
 */
export async function createNamed(
  engine: Engine,
  options: Docker.ContainerCreateOptions,
  signal: AbortSignal,
): Promise<string> {
  const toTheEnd = new AbortController().signal;
  const what = `create container ${options.name}`;
  const create = async (): Promise<string> => {
    const gaveUp = new LongshoreError("Aborted", `stopped while asking the Engine to ${what}`);
    if (signal.aborted) throw gaveUp;
    const { id } = await engine.call(what, toTheEnd, (docker) => docker.createContainer(options));
    if (!signal.aborted) return id;
    await removeContainer(engine, id, toTheEnd);
    throw gaveUp;
  };
  try {
    return await create();
  } catch (error) {
    if (!hasCode(error, "EngineConflict")) throw error;
    if (!(await isLeftover(engine, options.name as string, signal))) throw error;
    await removeContainer(engine, options.name as string, signal);
    return create();
  }
}

/** Whether what holds a name is ours and does not run. */
async function isLeftover(engine: Engine, name: string, signal: AbortSignal): Promise<boolean> {
  try {
    const raw = await engine.call(`look at container ${name}`, signal, (docker) =>
      docker.getContainer(name).inspect(),
    );
    const seen = translateInspect(raw);
    if (seen.role === "sandbox") return seen.sandbox.state !== "ready";
    return seen.role === "container" && seen.container.state !== "running";
  } catch (error) {
    // It went meanwhile.
    if (hasCode(error, "EngineNotFound")) return true;
    throw error;
  }
}

export async function startContainer(
  engine: Engine,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await engine.call(`start container ${id.slice(0, 12)}`, signal, (docker) =>
      docker.getContainer(id).start(),
    );
  } catch (error) {
    if (statusOf(error) === 304) return;
    if (!hasCode(error, "EngineInvalid", "EngineServerError", "EngineNotFound", "EngineConflict"))
      throw error;
    throw new LongshoreError(
      "ContainerStartFailed",
      `failed to start container "${id}": ${engineWords(error.cause ?? error)}`,
      { cause: error },
    );
  }
}

export async function stopContainer(
  engine: Engine,
  stop: { readonly id: string; readonly graceSeconds: number },
  signal: AbortSignal,
): Promise<void> {
  const grace = Math.max(0, Math.ceil(stop.graceSeconds));
  try {
    await engine.call(
      `stop container ${stop.id.slice(0, 12)}`,
      signal,
      (docker, abortSignal) => docker.getContainer(stop.id).stop({ t: grace, abortSignal }),
      grace * 1000 + 60_000,
    );
  } catch (error) {
    if (!hasCode(error, "EngineNotFound") && statusOf(error) !== 304) throw error;
  }
}

export async function removeContainer(
  engine: Engine,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await engine.call(`remove container ${id.slice(0, 12)}`, signal, (docker) =>
      docker.getContainer(id).remove({ force: true, v: true }),
    );
  } catch (error) {
    // 409: "removal of container … is already in progress".
    if (!hasCode(error, "EngineNotFound", "EngineConflict")) throw error;
  }
}
