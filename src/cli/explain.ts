/** `longshore explain pod`: why a pod of this node is as it is. Exit codes: ask-agent.ts. */

import type { PodExplanation } from "../pods/explain.ts";
import { type AskHost, type AskOptions, printAnswer } from "./ask-agent.ts";
import { formatPodExplanation } from "./explain-text.ts";

export function runExplainPod(host: AskHost, pod: string, options: AskOptions): Promise<number> {
  const question = { path: "/explain/pod", query: { name: pod } };
  return printAnswer<PodExplanation>(host, options, question, formatPodExplanation);
}
