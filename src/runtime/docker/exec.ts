/**
 * Commands inside containers. The Engine cannot cancel one, so its process is found (`exec inspect` tells its PID) and
 * killed with its children, also when it was given up while it started; where the PID is not visible to us only the
 * stream is dropped.
 */

import type { Duplex } from "node:stream";
import { orAborted, sleep } from "../../core/abort.ts";
import { classOf, hasCode, LongshoreError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { ExecRequest, ExecResult, ExecSession } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { joinHijacked } from "./hijacked.ts";
import { type KillProcess, killTree } from "./process-tree.ts";

const MAX_OUTPUT_BYTES = 10 * 1024;
/** Of a command that we let go of before it told. */
const KILLED = 137;
const FIRST_LOOK_MS = 5;
const LAST_LOOK_MS = 1_000;
/** How long the end of a command that was given up is waited for: a busy Engine takes many seconds to start one. */
const ENDING_MS = 30_000;
const ENDING_LOOK_MS = 20;
/** After as many its process is not somebody's that is about to move into the container, but not ours to see. */
const HIDDEN_LOOKS = 25;

export interface ExecDeps {
  readonly engine: Engine;
  readonly kill: KillProcess;
  readonly log: Logger;
}

interface Started {
  readonly id: string;
  readonly socket: Duplex;
}

export async function startExec(
  deps: ExecDeps,
  target: { readonly containerId: string; readonly request: ExecRequest },
  signal: AbortSignal,
): Promise<ExecSession> {
  const { engine } = deps;
  const { request } = target;
  const { id, socket } = await open(deps, target, signal);
  const released = new AbortController();
  const { closed, letGo, ...streams } = joinHijacked(socket, request, signal);
  const onAbort = (): void => released.abort();
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  const exitCode = closed.then(() => {
    signal.removeEventListener("abort", onAbort);
    return waitForExit(engine, id, released.signal);
  });
  // Whoever asks gets the rejection; nobody has to.
  exitCode.catch(() => undefined);
  return {
    ...streams,
    exitCode,
    resize: (columns, rows) => resize(engine, id, columns, rows),
    kill: () =>
      killExec(deps, id).finally(() => {
        released.abort();
        letGo();
      }),
  };
}

/** The streams end before the Engine knows the exit code, or long before when the command closes its outputs. */
async function waitForExit(engine: Engine, id: string, released: AbortSignal): Promise<number> {
  for (let delay = FIRST_LOOK_MS; ; delay = Math.min(2 * delay, LAST_LOOK_MS)) {
    const { Running, ExitCode } = await inspectExec(engine, id);
    if (!Running || released.aborted) return ExitCode ?? KILLED;
    try {
      await sleep(engine.clock, delay, released);
    } catch (error) {
      if (!hasCode(error, "Aborted")) throw error;
    }
  }
}

async function open(
  deps: ExecDeps,
  target: { readonly containerId: string; readonly request: ExecRequest },
  signal: AbortSignal,
): Promise<Started> {
  const { engine } = deps;
  const { containerId, request } = target;
  const { tty, stdin } = request;
  const what = `run a command in container ${containerId.slice(0, 12)}`;
  const exec = await engine.call(what, signal, (docker) =>
    docker.getContainer(containerId).exec({
      Cmd: [...request.command],
      AttachStdin: stdin,
      AttachStdout: true,
      AttachStderr: true,
      Tty: tty,
    }),
  );
  // Not with `signal`: of a start that is broken off nobody knows whether it comes true.
  const starting = engine.call(what, new AbortController().signal, (_docker, abortSignal) =>
    exec.start({ hijack: true, stdin, Tty: tty, abortSignal }),
  ) as Promise<Duplex>;
  try {
    return { id: exec.id, socket: await orAborted(starting, signal) };
  } catch (error) {
    if (hasCode(error, "Aborted", "EngineTimeout")) await killStarting(deps, exec.id, starting);
    throw error;
  }
}

/** Kills a command whose start was given up, unless the Engine refuses to start it. */
async function killStarting(deps: ExecDeps, id: string, starting: Promise<Duplex>): Promise<void> {
  const refused = new AbortController();
  starting.then(
    (socket) => socket.destroy(),
    (error) => {
      if (!hasCode(error, "EngineTimeout")) refused.abort();
    },
  );
  await killExec(deps, id, refused.signal);
}

async function inspectExec(engine: Engine, id: string) {
  const signal = new AbortController().signal;
  return engine.call("look at a command", signal, (docker) => docker.getExec(id).inspect(), 10_000);
}

async function resize(engine: Engine, id: string, columns: number, rows: number): Promise<void> {
  const signal = new AbortController().signal;
  try {
    await engine.call("resize a terminal", signal, (docker) =>
      docker.getExec(id).resize({ w: columns, h: rows }),
    );
  } catch (error) {
    // The command ended meanwhile.
    if (!hasCode(error, "EngineNotFound", "EngineConflict", "EngineServerError", "EngineInvalid"))
      throw error;
  }
}

/**
 * Until the Engine says that it ended: it may not have begun yet, and is said to run before it has a process, which in
 * turn is not in its container's cgroup at first.
 */
async function killExec(deps: ExecDeps, id: string, over?: AbortSignal): Promise<void> {
  const { engine, kill, log } = deps;
  const { clock } = engine;
  const signal = over ?? new AbortController().signal;
  const end = clock.monotonic() + ENDING_MS;
  try {
    for (let hidden = 0; clock.monotonic() < end && hidden < HIDDEN_LOOKS; ) {
      const { Running, Pid: pid, ExitCode, ContainerID } = await inspectExec(engine, id);
      if (!Running && ExitCode !== null) return;
      const target = { pid, containerId: ContainerID };
      if (Running && pid > 0 && (await killTree(target, kill)) === "not-visible") hidden++;
      await sleep(clock, ENDING_LOOK_MS, signal);
    }
    log.warn({ exec: id }, "a command that was given up may still run");
  } catch (error) {
    if (hasCode(error, "Aborted", "EngineNotFound")) return;
    if (classOf(error) === "bug") throw error;
    log.warn({ exec: id, err: error }, "a command that was given up may still run");
  }
}

/** Runs to the end or to the time-out, which counts from the call: the process is killed and CommandTimeout thrown. */
export async function runExec(
  deps: ExecDeps,
  target: {
    readonly containerId: string;
    readonly command: readonly string[];
    readonly timeoutMs: number;
  },
  signal: AbortSignal,
): Promise<ExecResult> {
  const { containerId, command, timeoutMs } = target;
  const giving = new AbortController();
  const giveUp = (): void => giving.abort();
  signal.addEventListener("abort", giveUp, { once: true });
  if (signal.aborted) giveUp();
  const timer = deps.engine.clock.after(timeoutMs, giveUp);
  let session: ExecSession | undefined;
  try {
    const request = { command, tty: false, stdin: false };
    session = await startExec(deps, { containerId, request }, giving.signal);
    const output = collect(session);
    const exitCode = await session.exitCode;
    if (!giving.signal.aborted) return { exitCode, output: output() };
  } catch (error) {
    if (!giving.signal.aborted || classOf(error) === "bug") throw error;
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", giveUp);
  }
  await session?.kill();
  const words = JSON.stringify(command);
  if (signal.aborted) throw new LongshoreError("Aborted", `stopped while command ${words} ran`);
  throw new LongshoreError(
    "CommandTimeout",
    `command ${words} timed out after ${timeoutMs / 1000}s`,
  );
}

/** Reads both outputs to their end; what came, up to the limit. */
function collect({ stdout, stderr }: ExecSession): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const onData = (chunk: Buffer): void => {
    if (bytes < MAX_OUTPUT_BYTES) chunks.push(chunk.subarray(0, MAX_OUTPUT_BYTES - bytes));
    bytes += chunk.length;
  };
  stdout.on("data", onData);
  stderr.on("data", onData);
  return () => Buffer.concat(chunks).toString("utf8");
}
