/**
 * A subcommand that is one question to the running agent: asks, prints the answer as text or JSON, and turns a refusal
 * into one line and an exit code: 2 no agent that could answer, 3 not found, 4 several may be meant, 1 anything else.
 */

import { existsSync } from "node:fs";
import { hasCode, LongshoreError } from "../core/errors.ts";
import { askAgent } from "../local/client.ts";
import { socketPathOf } from "../local/server.ts";
import type { Host } from "./host.ts";

const NO_AGENT = 2;
const EXIT_CODES: Readonly<Record<number, number>> = { 404: 3, 409: 4, 503: NO_AGENT };

export type AskHost = Pick<Host, "clock" | "stop" | "stdout" | "stderr">;

/** Of every such subcommand. */
export interface AskOptions {
  readonly output: string;
  /** Absent = the agent's own default, or the kubelet's if an agent runs there. */
  readonly rootDir?: string;
}

export async function printAnswer<T>(
  host: AskHost,
  { output, rootDir = findRootDir() }: AskOptions,
  question: { readonly path: string; readonly query: Readonly<Record<string, string>> },
  format: (body: T) => string,
): Promise<number> {
  if (output !== "text" && output !== "json")
    throw new LongshoreError("ConfigInvalid", `--output ${output}: it is text or json`);
  try {
    const { status, body } = await askAgent({ rootDir, ...question, clock: host.clock }, host.stop);
    if (status !== 200) {
      host.stderr(`longshore: ${(body as { readonly message: string }).message}\n`);
      return EXIT_CODES[status] ?? 1;
    }
    host.stdout(output === "json" ? `${JSON.stringify(body, null, 2)}\n` : format(body as T));
    return 0;
  } catch (error) {
    if (!hasCode(error, "AgentUnreachable")) throw error;
    host.stderr(`longshore: ${error.message}\n`);
    return NO_AGENT;
  }
}

const ROOT_DIR = "/var/lib/longshore";
/** Of the program under the name `kubelet`. */
export const KUBELET_ROOT_DIR = "/var/lib/kubelet";

function findRootDir(): string {
  return [ROOT_DIR, KUBELET_ROOT_DIR].find((dir) => existsSync(socketPathOf(dir))) ?? ROOT_DIR;
}

/** One line, without control characters: messages come from images, programs and manifests. */
export function toPlain(text: string): string {
  return text.replace(/\s+/g, " ").replace(/\p{Cc}/gu, "�");
}
