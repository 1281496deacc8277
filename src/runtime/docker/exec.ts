/**
 * Commands inside containers. The Engine cannot cancel one, so its process is found (`exec inspect` tells its PID in
 * the Engine's namespace, which is ours) and killed. The hijacked socket is always destroyed at the end: one that is
 * half open, because the program never started, would hang for two minutes.
 */

import { type Duplex, PassThrough, Writable } from "node:stream";
import { hasCode, LongshoreError } from "../../core/errors.ts";
import type { ExecRequest, ExecResult, ExecSession } from "../runtime.ts";
import type { Engine } from "./engine.ts";

const MAX_OUTPUT_BYTES = 10 * 1024;
/** core/kill-process, or a test's. */
export type KillProcess = (pid: number) => boolean;

interface Started {
  readonly id: string;
  readonly socket: Duplex;
}

export async function startExec(
  engine: Engine,
  kill: KillProcess,
  target: { readonly containerId: string; readonly request: ExecRequest },
  signal: AbortSignal,
): Promise<ExecSession> {
  const { request } = target;
  const { id, socket } = await open(engine, target, signal);
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const ended = new Promise<void>((resolve) => {
    socket.once("close", resolve);
    socket.once("end", () => socket.destroy());
    // What went wrong on the socket shows in the exit code; without a listener it would end the agent.
    socket.on("error", () => socket.destroy());
  });
  if (request.tty) {
    socket.pipe(stdout, { end: false });
    stderr.end();
  } else {
    engine.docker.modem.demuxStream(socket, stdout, stderr);
    backPressure(socket, stdout, stderr);
  }
  const onAbort = (): void => void socket.destroy();
  signal.addEventListener("abort", onAbort, { once: true });
  const exitCode = ended.then(async () => {
    signal.removeEventListener("abort", onAbort);
    stdout.end();
    stderr.end();
    return readExitCode(engine, id);
  });
  // Whoever asks gets the rejection; nobody has to.
  exitCode.catch(() => undefined);
  return {
    stdin: request.stdin ? socket : new Writable({ write: (_chunk, _encoding, done) => done() }),
    stdout,
    stderr,
    exitCode,
    resize: (columns, rows) => resize(engine, id, columns, rows),
    kill: async () => {
      await killExec(engine, kill, id);
      socket.destroy();
    },
  };
}

/** dockerode's demultiplexer writes without looking back: the socket waits for the slower of the two readers. */
function backPressure(socket: Duplex, ...outputs: readonly PassThrough[]): void {
  socket.on("data", () => {
    if (outputs.some((output) => output.writableNeedDrain)) socket.pause();
  });
  for (const output of outputs) {
    output.on("drain", () => {
      if (!outputs.some((other) => other.writableNeedDrain)) socket.resume();
    });
    // A reader that went away must not hold up the other.
    output.on("close", () => socket.resume());
  }
}

async function open(
  engine: Engine,
  target: { readonly containerId: string; readonly request: ExecRequest },
  signal: AbortSignal,
): Promise<Started> {
  const { containerId, request } = target;
  return engine.call(
    `run a command in container ${containerId.slice(0, 12)}`,
    signal,
    async (docker) => {
      const exec = await docker.getContainer(containerId).exec({
        Cmd: [...request.command],
        AttachStdin: request.stdin,
        AttachStdout: true,
        AttachStderr: true,
        Tty: request.tty,
      });
      const socket = await exec.start({ hijack: true, stdin: request.stdin, Tty: request.tty });
      return { id: exec.id, socket: socket as Duplex };
    },
  );
}

async function inspectExec(engine: Engine, id: string) {
  const signal = new AbortController().signal;
  return engine.call("look at a command", signal, (docker) => docker.getExec(id).inspect(), 10_000);
}

async function readExitCode(engine: Engine, id: string): Promise<number> {
  const { ExitCode } = await inspectExec(engine, id);
  // null: the stream ended because we let go of it.
  return ExitCode ?? 137;
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

async function killExec(engine: Engine, kill: KillProcess, id: string): Promise<void> {
  let pid: number;
  try {
    const info = await inspectExec(engine, id);
    if (!info.Running) return;
    pid = info.Pid;
  } catch (error) {
    if (hasCode(error, "EngineNotFound")) return;
    throw error;
  }
  if (pid > 0) kill(pid);
}

/** Runs to the end or to the time-out, when the process is killed and CommandTimeout thrown. */
export async function runExec(
  engine: Engine,
  kill: KillProcess,
  target: {
    readonly containerId: string;
    readonly command: readonly string[];
    readonly timeoutMs: number;
  },
  signal: AbortSignal,
): Promise<ExecResult> {
  const request = { command: target.command, tty: false, stdin: false };
  const session = await startExec(
    engine,
    kill,
    { containerId: target.containerId, request },
    signal,
  );
  const chunks: Buffer[] = [];
  let bytes = 0;
  const collect = (chunk: Buffer): void => {
    if (bytes < MAX_OUTPUT_BYTES) chunks.push(chunk.subarray(0, MAX_OUTPUT_BYTES - bytes));
    bytes += chunk.length;
  };
  session.stdout.on("data", collect);
  session.stderr.on("data", collect);
  let isTimedOut = false;
  let killing: Promise<void> | undefined;
  const timer = engine.clock.after(target.timeoutMs, () => {
    isTimedOut = true;
    killing = session.kill();
  });
  try {
    const exitCode = await session.exitCode;
    if (!isTimedOut) return { exitCode, output: Buffer.concat(chunks).toString("utf8") };
  } finally {
    timer.cancel();
    await killing;
  }
  throw new LongshoreError(
    "CommandTimeout",
    `command ${JSON.stringify(target.command)} timed out after ${target.timeoutMs / 1000}s`,
  );
}
