/**
 * The Runtime over a Docker Engine: puts the files of this folder behind the interface. Made by agent.ts (and by
 * `longshore check` and `cleanup`); everybody else sees runtime.ts only.
 */

import { LruMap } from "../../api/lru-map.ts";
import type { Clock } from "../../core/clock.ts";
import { hasCode } from "../../core/errors.ts";
import type { Exec } from "../../core/exec.ts";
import { killProcess } from "../../core/kill-process.ts";
import type { Logger } from "../../core/logger.ts";
import { OWNER, POD_UID } from "../labels.ts";
import type { Container, Runtime, RuntimeInfo, RuntimeState, Sandbox } from "../runtime.ts";
import type { Accounts } from "./accounts.ts";
import { attachContainer } from "./attach.ts";
import { createContainer, removeContainer, startContainer, stopContainer } from "./containers.ts";
import { Engine } from "./engine.ts";
import { watchEvents } from "./events.ts";
import { runExec, startExec } from "./exec.ts";
import { type EngineInfo, readHandlers } from "./handlers.ts";
import { holdImage, releaseImages } from "./image-files.ts";
import { inspectImage, listImages, pullImage } from "./images.ts";
import { readLogs } from "./logs.ts";
import { Sandboxes } from "./sandboxes.ts";
import { type Translated, translateInspect } from "./translate.ts";
import { updateResources } from "./update.ts";
import { readUsage } from "./usage.ts";

export interface DockerRuntimeOptions {
  /** `unix:///var/run/docker.sock`. */
  readonly endpoint: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly exec: Exec;
  /** Where seccomp profiles of type Localhost are. */
  readonly seccompDir: string;
  /** Whether negative OOM scores can be set on this host (D11). */
  readonly hasSysResource: boolean;
  /** How long a pull may make no progress, in milliseconds; default a minute. */
  readonly imagePullProgressDeadlineMs?: number;
  /** When a container's log is begun anew, and how many are kept. */
  readonly logs?: { readonly maxBytes: number; readonly maxFiles: number };
}

const PULL_PROGRESS_DEADLINE_MS = 60_000;

/** Whose users are remembered. */
const MAX_IMAGES = 500;
/** Inspections under way at once; the Engine answers each from memory. */
const INSPECT_BATCH = 16;

export function createDockerRuntime(options: DockerRuntimeOptions): Runtime {
  const { clock, random } = options;
  const log = options.log.child({ part: "runtime" });
  const engine = new Engine(options.endpoint, clock);
  const sandboxes = new Sandboxes(engine, options.exec, log);
  const silenceMs = options.imagePullProgressDeadlineMs ?? PULL_PROGRESS_DEADLINE_MS;
  const pulls = { engine, silenceMs, log };
  const containerOptions = { ...options, accounts: new LruMap<string, Accounts>(MAX_IMAGES) };
  const execDeps = { engine, kill: killProcess, log };
  return {
    info: (signal) => readInfo(engine, signal),
    prepare: async (signal) => void (await sandboxes.ensureImage(signal)),
    list: (signal, podUid) => listState(engine, log, podUid, signal),
    runSandbox: (config, signal) => sandboxes.run(config, signal),
    stopSandbox: (id, signal) => sandboxes.stop(id, signal),
    removeSandbox: (id, signal) => removeContainer(engine, id, signal),
    createContainer: (config, signal) => createContainer(engine, config, containerOptions, signal),
    startContainer: (id, signal) => startContainer(engine, id, signal),
    stopContainer: (id, graceSeconds, signal) =>
      stopContainer(engine, { id, graceSeconds }, signal),
    updateResources: (id, resources, signal) => updateResources(engine, { id, resources }, signal),
    removeContainer: (id, signal) => removeContainer(engine, id, signal),
    containerUsage: (id, signal) => readUsage(engine, id, signal),
    inspectImage: (ref, signal) => inspectImage(engine, ref, signal),
    pullImage: (ref, credentials, signal) => pullImage(pulls, { ref, credentials }, signal),
    listImages: (signal) => listImages(engine, signal),
    holdImage: (hold, signal) => holdImage({ engine, exec: options.exec }, hold, signal),
    releaseImages: (podUid, signal) => releaseImages(engine, podUid, signal),
    exec: (containerId, request, signal) => startExec(execDeps, { containerId, request }, signal),
    attach: (containerId, request, signal) =>
      attachContainer(engine, { containerId, request }, signal),
    execSync: (containerId, command, timeoutMs, signal) =>
      runExec(execDeps, { containerId, command, timeoutMs }, signal),
    logs: (containerId, logOptions, signal) => readLogs(engine, containerId, logOptions, signal),
    watchEvents: (onEvent, signal) => watchEvents({ engine, random, log }, onEvent, signal),
  };
}

async function readInfo(engine: Engine, signal: AbortSignal): Promise<RuntimeInfo> {
  return engine.call(
    "tell what it is",
    signal,
    async (docker) => {
      const [version, info] = await Promise.all([docker.version(), docker.info()]);
      const security: readonly string[] = info.SecurityOptions ?? [];
      const hasOption = (name: string): boolean =>
        security.some((option) => option.split(",").includes(`name=${name}`));
      return {
        name: "docker",
        version: version.Version,
        apiVersion: version.ApiVersion,
        cgroupDriver: info.CgroupDriver === "systemd" ? "systemd" : "cgroupfs",
        cgroupVersion: info.CgroupVersion === "2" ? 2 : 1,
        storageDriver: info.Driver,
        rootDir: info.DockerRootDir,
        hasAppArmor: hasOption("apparmor"),
        hasSeLinux: hasOption("selinux"),
        mapsUsers: hasOption("userns"),
        handlers: readHandlers(info as EngineInfo, version.ApiVersion),
      };
    },
    15_000,
  );
}

/** Lists, then inspects each: only an inspection tells exit codes and times. */
async function listState(
  engine: Engine,
  log: Logger,
  podUid: string | undefined,
  signal: AbortSignal,
): Promise<RuntimeState> {
  const label = podUid === undefined ? [OWNER] : [OWNER, `${POD_UID}=${podUid}`];
  const listed = await engine.call("list containers", signal, (docker) =>
    docker.listContainers({ all: true, filters: { label } }),
  );
  const found: Translated[] = [];
  for (let start = 0; start < listed.length; start += INSPECT_BATCH) {
    const batch = listed.slice(start, start + INSPECT_BATCH);
    found.push(...(await Promise.all(batch.map(({ Id }) => inspectOne(engine, Id, signal)))));
  }
  const sandboxes: Sandbox[] = [];
  const containers: Container[] = [];
  for (const item of found) {
    if (item.role === "sandbox") sandboxes.push(item.sandbox);
    else if (item.role === "container") containers.push(item.container);
    else log.debug({ reason: item.reason }, "a container was left out of a listing");
  }
  containers.sort((a, b) => b.attempt - a.attempt || b.createdAt - a.createdAt);
  return { sandboxes, containers };
}

async function inspectOne(engine: Engine, id: string, signal: AbortSignal): Promise<Translated> {
  try {
    const raw = await engine.call("look at a container", signal, (docker) =>
      docker.getContainer(id).inspect(),
    );
    return translateInspect(raw);
  } catch (error) {
    if (!hasCode(error, "EngineNotFound")) throw error;
    return { role: "foreign", reason: "removed since it was listed" };
  }
}
