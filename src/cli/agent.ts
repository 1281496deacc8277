/**
 * `longshore agent`: reads flags and config file, says what the host lacks, runs the agent until it is told to stop, and
 * keeps the service manager informed. `startAgent` is also what `longshore up` runs.
 */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Agent } from "../agent.ts";
import type { AgentConfig } from "../config.ts";
import { sleep } from "../core/abort.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Syscalls } from "../core/syscalls.ts";
import { createSyscalls } from "../core/syscalls-linux.ts";
import { computeHostChecks, hasSysResource, readHostFacts } from "../node/host-checks.ts";
import { createDockerRuntime } from "../runtime/docker/docker-runtime.ts";
import type { Host } from "./host.ts";
import { readConfig } from "./read-config.ts";

type Flags = Readonly<Record<string, unknown>>;

/** @param defaults by field, where they are not the agent's own. */
export async function runAgent(host: Host, flags: Flags, defaults: Flags = {}): Promise<number> {
  const { config, warnings } = await readConfig(host, flags, defaults);
  const log = host.createLogger(config.logLevel);
  for (const words of warnings) log.warn({}, words);
  const syscalls = createSyscalls({ exec: host.exec });
  const agent = await startAgent(host, config, log);
  try {
    await syscalls.notify(host.env.NOTIFY_SOCKET, "READY=1");
    await feedWatchdog(host, syscalls);
  } finally {
    await agent.stop();
  }
  return 0;
}

/** Resolves when the agent runs; the node becomes Ready a little later. */
export async function startAgent(host: Host, config: AgentConfig, log: Logger): Promise<Agent> {
  const { clock, random, exec, env, version } = host;
  const facts = await readHostFacts(hostSource(host), host.stop);
  for (const check of computeHostChecks(facts)) {
    if (check.state === "ok") continue;
    log.warn({ check: check.name, consequence: check.consequence }, check.detail);
  }
  const runtime = createDockerRuntime({
    endpoint: config.containerRuntimeEndpoint,
    clock,
    random,
    exec,
    log,
    seccompDir: join(config.rootDir, "seccomp"),
    hasSysResource: hasSysResource(facts),
    imagePullProgressDeadlineMs: config.imagePullProgressDeadlineMs,
    logs: { maxBytes: config.containerLogMaxSizeBytes, maxFiles: config.containerLogMaxFiles },
  });
  if (config.oomScoreAdj !== undefined) await setOomScore(config.oomScoreAdj, log);
  const syscalls = createSyscalls({ exec });
  const agent = new Agent({ config, version, runtime, syscalls, exec, clock, random, env, log });
  await agent.start();
  return agent;
}

/** Of this process. Only to lower it takes a privilege, which a container may lack (D11). */
async function setOomScore(score: number, log: Logger): Promise<void> {
  try {
    await writeFile("/proc/self/oom_score_adj", String(score));
  } catch (error) {
    log.warn(
      { err: messageOf(error) },
      "oomScoreAdj cannot be set: the agent keeps the score it has",
    );
  }
}

/** The Engine is asked by the agent itself, which fails with its own words. */
function hostSource(host: Host) {
  const engine = async () => ({ version: "20.10", mapsUsers: false });
  return { exec: host.exec, isRoot: host.isRoot, root: "/", engine };
}

const DEFAULT_INTERVAL_MS = 60_000;

/** Tells systemd that we live, at half the time it waits, until told to stop. */
async function feedWatchdog(host: Host, syscalls: Syscalls): Promise<void> {
  const watchdogUsec = Number(host.env.WATCHDOG_USEC ?? 0);
  const intervalMs = watchdogUsec > 0 ? watchdogUsec / 2000 : DEFAULT_INTERVAL_MS;
  try {
    for (;;) {
      if (watchdogUsec > 0) await syscalls.notify(host.env.NOTIFY_SOCKET, "WATCHDOG=1");
      await sleep(host.clock, intervalMs, host.stop);
    }
  } catch (error) {
    if (!hasCode(error, "Aborted")) throw error;
  }
}
