/** exec probes: a command inside the container; exit code 0 is success, a time-out kills it and is a failure. */

import { hasCode } from "../../core/errors.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { ProbeOutcome } from "../verdict.ts";
import { durationWords } from "./go-words.ts";

export interface ExecProbe {
  readonly runtime: Pick<Runtime, "execSync">;
  readonly containerId: string;
  readonly command: readonly string[];
  readonly timeoutMs: number;
}

export async function probeExec(probe: ExecProbe, signal: AbortSignal): Promise<ProbeOutcome> {
  const { runtime, containerId, command, timeoutMs } = probe;
  try {
    const { exitCode, output } = await runtime.execSync(containerId, command, timeoutMs, signal);
    return { kind: exitCode === 0 ? "success" : "failure", message: output };
  } catch (error) {
    if (!hasCode(error, "CommandTimeout")) throw error;
    const words = JSON.stringify(command.join(" "));
    const message = `command timed out: ${words} timed out after ${durationWords(timeoutMs)}`;
    return { kind: "failure", message };
  }
}
