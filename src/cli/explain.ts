/**
 * `longshore explain pod`: asks the running agent why a pod is as it is, and prints it for people or as JSON. Exit
 * codes: 0 explained, 2 no agent that could answer, 3 no such pod on this node, 4 several that may be meant.
 */

import { hasCode, LongshoreError } from "../core/errors.ts";
import { askAgent } from "../local/client.ts";
import type { PodExplanation } from "../pods/explain.ts";
import { formatPodExplanation } from "./explain-text.ts";
import type { Host } from "./host.ts";

const NO_AGENT = 2;
const EXIT_CODES: Readonly<Record<number, number>> = { 404: 3, 409: 4, 503: NO_AGENT };

export interface ExplainOptions {
  readonly pod: string;
  readonly output: string;
  readonly rootDir: string;
}

export async function runExplainPod(
  host: Pick<Host, "clock" | "stop" | "stdout" | "stderr">,
  { pod, output, rootDir }: ExplainOptions,
): Promise<number> {
  if (output !== "text" && output !== "json")
    throw new LongshoreError("ConfigInvalid", `--output ${output}: it is text or json`);
  try {
    const asked = { rootDir, path: "/explain/pod", query: { name: pod }, clock: host.clock };
    const { status, body } = await askAgent(asked, host.stop);
    if (status !== 200) {
      const { message } = body as { readonly message: string };
      host.stderr(`longshore: ${message}\n`);
      return EXIT_CODES[status] ?? 1;
    }
    host.stdout(
      output === "json"
        ? `${JSON.stringify(body, null, 2)}\n`
        : formatPodExplanation(body as PodExplanation),
    );
    return 0;
  } catch (error) {
    if (!hasCode(error, "AgentUnreachable")) throw error;
    host.stderr(`longshore: ${error.message}\n`);
    return NO_AGENT;
  }
}
