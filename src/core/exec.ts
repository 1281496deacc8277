/**
 * The only place that spawns programs. No shell, text on standard input, bounded output, a deadline on each run.
 * Callers: network (ip, nsenter), proxy (iptables-restore), volumes (mount fall-back), api (exec credential plugins).
 */

import { spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { withDeadline } from "./abort.ts";
import type { Clock } from "./clock.ts";
import { LongshoreError } from "./errors.ts";

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly input?: string;
  /** In the place of `input`. */
  readonly inputFrom?: Readable;
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds, default 30,000. The process is killed with SIGKILL then. */
  readonly timeoutMs?: number;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. Throws CommandMissing or CommandTimeout; a non-zero exit code is a result. */
export type Exec = (command: Command, signal: AbortSignal) => Promise<CommandResult>;

const MAX_OUTPUT_BYTES = 256 * 1024 * 1024;

export function createExec(clock: Clock): Exec {
  return (command, signal) =>
    withDeadline(
      {
        clock,
        ms: command.timeoutMs ?? 30_000,
        signal,
        code: "CommandTimeout",
        message: `${command.file} ${command.args.join(" ")} did not end within ${(command.timeoutMs ?? 30_000) / 1000} s`,
      },
      (inner) => run(command, inner),
    );
}

/** Like `exec`, but a non-zero exit code throws CommandFailed with the program's own words. */
export async function execOk(exec: Exec, command: Command, signal: AbortSignal): Promise<string> {
  const result = await exec(command, signal);
  if (result.code === 0) return result.stdout;
  const words = (result.stderr || result.stdout).trim().slice(0, 2000);
  throw new LongshoreError(
    "CommandFailed",
    `${command.file} ${command.args.join(" ")} ended with ${result.code}: ${words}`,
  );
}

function run(command: Command, signal: AbortSignal): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command.file, command.args, {
      stdio: ["pipe", "pipe", "pipe"],
      ...(command.env === undefined ? {} : { env: command.env }),
      signal,
      killSignal: "SIGKILL",
    });
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    let bytes = 0;
    const collect = (name: "stdout" | "stderr") => (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_OUTPUT_BYTES) child.kill("SIGKILL");
      else output[name].push(chunk);
    };
    child.stdout.on("data", collect("stdout"));
    child.stderr.on("data", collect("stderr"));
    child.on("error", (cause: NodeJS.ErrnoException) => {
      const isMissing = cause.code === "ENOENT";
      reject(
        new LongshoreError(
          isMissing ? "CommandMissing" : signal.aborted ? "Aborted" : "CommandFailed",
          isMissing
            ? `the program ${command.file} is not installed or not on PATH`
            : `running ${command.file}: ${cause.message}`,
          { cause },
        ),
      );
    });
    child.on("close", (code, killedBy) =>
      resolve({
        code: code ?? 128,
        stdout: Buffer.concat(output.stdout).toString("utf8"),
        stderr:
          Buffer.concat(output.stderr).toString("utf8") +
          (killedBy === null ? "" : ` (${killedBy})`),
      }),
    );
    // A child that exits without reading its input makes this pipe fail; its exit code tells the story.
    child.stdin.on("error", () => undefined);
    if (command.inputFrom === undefined) child.stdin.end(command.input ?? "");
    // The child must not take what broke off for the whole.
    else command.inputFrom.on("error", () => child.kill("SIGKILL")).pipe(child.stdin);
  });
}
