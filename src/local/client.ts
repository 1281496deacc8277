/** Asks the running agent on its local socket. Used by `longshore explain` and other subcommands that look into it. */

import { request } from "node:http";
import { withDeadline } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import { type LocalAnswer, socketPathOf } from "./server.ts";

export interface LocalRequest {
  readonly rootDir: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly clock: Clock;
}

const DEADLINE_MS = 10_000;

/** Throws AgentUnreachable with what to do about it. */
export async function askAgent(asked: LocalRequest, signal: AbortSignal): Promise<LocalAnswer> {
  const socketPath = socketPathOf(asked.rootDir);
  return withDeadline(
    {
      ...{ clock: asked.clock, ms: DEADLINE_MS, signal, code: "AgentUnreachable" },
      message: `the agent did not answer on ${socketPath} within ${DEADLINE_MS / 1000} s`,
    },
    async (inner) => {
      try {
        return await ask(socketPath, asked, inner);
      } catch (cause) {
        throw new LongshoreError("AgentUnreachable", explain(socketPath, cause), { cause });
      }
    },
  );
}

function ask(
  socketPath: string,
  { path, query }: LocalRequest,
  signal: AbortSignal,
): Promise<LocalAnswer> {
  return new Promise((resolve, reject) => {
    const asking = request(
      { socketPath, path: `${path}?${new URLSearchParams(query)}`, signal, agent: false },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
        });
        response.on("error", reject);
        response.on("end", () => {
          try {
            resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) });
          } catch (error) {
            reject(error);
          }
        });
      },
    );
    asking.on("error", reject);
    asking.end();
  });
}

function explain(socketPath: string, cause: unknown): string {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === "EACCES")
    return `only root may ask the agent on ${socketPath}: run this as root, e.g. with sudo`;
  if (code === "ENOENT" || code === "ECONNREFUSED")
    return `no agent answers on ${socketPath}: start it with systemctl start longshore (or longshore up), or name its --root-dir`;
  return `asking the agent on ${socketPath}: ${messageOf(cause)}`;
}
