/**
 * Joining the program of a container: its terminal or outputs from now on, and its input where it has one. The Engine
 * closes the program's input with the first client's when the container was made with stdinOnce. Letting go ends
 * nothing.
 */

import type { Duplex } from "node:stream";
import { hasCode, LongshoreError } from "../../core/errors.ts";
import type { AttachRequest, ExecSession } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { joinHijacked } from "./hijacked.ts";

export async function attachContainer(
  engine: Engine,
  target: { readonly containerId: string; readonly request: AttachRequest },
  signal: AbortSignal,
): Promise<ExecSession> {
  const { containerId, request } = target;
  const what = `attach to container ${containerId.slice(0, 12)}`;
  const { socket, use } = await engine.call(what, signal, async (docker, abortSignal) => {
    const container = docker.getContainer(containerId);
    const { Config, State } = await container.inspect();
    if (!State.Running)
      throw new LongshoreError("EngineConflict", `container ${containerId} is not running`);
    const used = { tty: Config.Tty, stdin: request.stdin && Config.OpenStdin };
    const opened = await container.attach({
      ...{ stream: true, hijack: true, stdin: used.stdin, stdout: true, stderr: true },
      abortSignal,
    });
    return { socket: opened as unknown as Duplex, use: used };
  });
  const { closed, letGo, ...streams } = joinHijacked(socket, use, signal);
  return {
    ...streams,
    exitCode: closed.then(() => 0),
    resize: (columns, rows) => resize(engine, containerId, columns, rows),
    kill: async () => letGo(),
  };
}

async function resize(engine: Engine, id: string, columns: number, rows: number): Promise<void> {
  const { signal } = new AbortController();
  try {
    await engine.call("resize a terminal", signal, (docker) =>
      docker.getContainer(id).resize({ w: columns, h: rows }),
    );
  } catch (error) {
    // The container ended meanwhile.
    if (!hasCode(error, "EngineNotFound", "EngineConflict", "EngineServerError")) throw error;
  }
}
