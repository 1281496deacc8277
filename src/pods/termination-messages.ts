/**
 * The last words of containers: the file they may leave, or the end of their log when they fail without one
 * (terminationMessagePolicy). Read once for each dead instance. Called by worker.ts before each status.
 */

import { hasCode, messageOf } from "../core/errors.ts";
import type { Container, Runtime } from "../runtime/runtime.ts";
import { specOf } from "./containers.ts";
import type { PodFilePort } from "./pod-files.ts";
import type { PodRecord } from "./record.ts";
import { containerStatusesOf, isDead } from "./snapshot.ts";

export interface MessageSources {
  readonly files: Pick<PodFilePort, "readMessage">;
  readonly runtime: Pick<Runtime, "logs">;
}

/** The kubelet's limits of a message taken from the log. */
const FALLBACK_LINES = 80;
const FALLBACK_BYTES = 2048;

/** Notes in the record the message of each container that ended since the last look. */
export async function readTerminationMessages(
  sources: MessageSources,
  record: PodRecord,
  signal: AbortSignal,
): Promise<void> {
  for (const container of record.observed.containers) {
    if (!isDead(container) || record.messages.has(container.id)) continue;
    record.messages.set(container.id, await readMessage(sources, record, container, signal));
  }
}

async function readMessage(
  sources: MessageSources,
  record: PodRecord,
  container: Container,
  signal: AbortSignal,
): Promise<string> {
  const { id, name, attempt, exitCode } = container;
  const told = toldMessage(record, container);
  if (told !== undefined) return told;
  const text = await orWhy("log", () => sources.files.readMessage(record.uid, name, attempt));
  const policy = specOf(record.pod, name)?.terminationMessagePolicy;
  if (text !== "" || policy !== "FallbackToLogsOnError" || exitCode === 0) return text;
  return orWhy("message from logs", () => readLogEnd(sources.runtime, id, signal));
}

async function readLogEnd(
  runtime: Pick<Runtime, "logs">,
  containerId: string,
  signal: AbortSignal,
): Promise<string> {
  const chunks: Buffer[] = [];
  const options = { follow: false, tail: FALLBACK_LINES };
  for await (const { data } of runtime.logs(containerId, options, signal)) chunks.push(data);
  return Buffer.concat(chunks).subarray(-FALLBACK_BYTES).toString("utf8");
}

/** A message that cannot be read must not hold up its pod: why is told instead, in the kubelet's words. */
async function orWhy(what: string, read: () => Promise<string>): Promise<string> {
  try {
    return await read();
  } catch (error) {
    if (hasCode(error, "Aborted", "EngineUnreachable", "EngineTimeout")) throw error;
    return `Error on reading termination ${what}: ${messageOf(error)}`;
  }
}

/** What the status already says of this instance, for when its file went with the pod's directory. */
function toldMessage({ status }: PodRecord, { id }: Container): string | undefined {
  return containerStatusesOf(status)
    .flatMap(({ state, lastState }) => [state?.terminated, lastState?.terminated])
    .find((terminated) => terminated?.containerID === `docker://${id}`)?.message;
}
