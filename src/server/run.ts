/**
 * POST /run: a command to its end, its two outputs in one answer. For people who ask the kubelet through nodes/proxy.
 * Called by kubelet-server.ts.
 */

import { finished } from "node:stream/promises";
import { messageOf } from "../core/errors.ts";
import type { PodDirectory } from "../pods/directory.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { chooseExecContainer } from "./container-choice.ts";
import type { Reply } from "./reply.ts";
import type { Route } from "./routes.ts";

/** What the runtime interface's ExecSync returns at the most. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/** The output, or the refusal. */
export async function runCommand(
  context: { readonly pods: PodDirectory; readonly runtime: Pick<Runtime, "exec"> },
  { target, query }: Extract<Route, { kind: "run" }>,
  signal: AbortSignal,
): Promise<Buffer | Reply> {
  const choice = chooseExecContainer(context.pods.find(target.namespace, target.pod), target);
  if (choice.kind === "refused") return choice.reply;
  const command = (query.get("cmd") ?? "").split(" ");
  const request = { command, tty: false, stdin: false };
  try {
    const session = await context.runtime.exec(choice.containerId, request, signal);
    const chunks: Buffer[] = [];
    let bytes = 0;
    const outputs = [session.stdout, session.stderr];
    for (const output of outputs)
      output.on("data", (chunk: Buffer) => {
        if (bytes < MAX_OUTPUT_BYTES) chunks.push(chunk.subarray(0, MAX_OUTPUT_BYTES - bytes));
        bytes += chunk.length;
      });
    await Promise.allSettled(outputs.map((output) => finished(output, { writable: false })));
    if (signal.aborted) await session.kill();
    const exitCode = await session.exitCode;
    if (exitCode === 0) return Buffer.concat(chunks);
    const words = `command '${command.join(" ")}' exited with ${exitCode}: ${Buffer.concat(chunks)}`;
    return { status: 500, text: words };
  } catch (error) {
    return { status: 500, text: messageOf(error) };
  }
}
