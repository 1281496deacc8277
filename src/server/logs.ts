/**
 * GET /containerLogs: choose the container, flush the headers, stream. Data goes out under back-pressure, and the
 * answer ends only after the last write was handed to the kernel: an answer in one burst is lost by an API server
 * that passes it on over a WebSocket (facts/kubelet-server.md §0.3). Stops when the client goes away.
 */

import type { ServerResponse } from "node:http";
import { sleep } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { PodDirectory } from "../pods/directory.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { chooseLogContainer } from "./container-choice.ts";
import { type LogQuery, parseLogQuery } from "./log-query.ts";
import { filterLog } from "./log-stream.ts";
import type { Reply } from "./reply.ts";
import type { Route } from "./routes.ts";

export interface LogsContext {
  readonly pods: PodDirectory;
  readonly runtime: Pick<Runtime, "logs">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Pause between the last byte and the end, so that the two don't arrive in one burst. */
const END_PAUSE_MS = 20;

type LogsRoute = Extract<Route, { kind: "logs" }>;

type LogsPlan =
  | { readonly kind: "refused"; readonly reply: Reply }
  | { readonly kind: "stream"; readonly containerId: string; readonly query: LogQuery };

/** What to answer; pure but for the directory's snapshot. */
function computeLogsPlan(route: LogsRoute, pods: PodDirectory, nowMs: number): LogsPlan {
  const { namespace, pod, container } = route;
  const missing =
    pod === ""
      ? "podID"
      : container === ""
        ? "container name"
        : namespace === ""
          ? "podNamespace"
          : undefined;
  if (missing !== undefined)
    return {
      kind: "refused",
      reply: { status: 400, text: `{"message": "Missing ${missing}."}` },
    };
  const parsed = parseLogQuery(route.query, nowMs);
  if (parsed.kind === "refused") return parsed;
  const { query } = parsed;
  const choice = chooseLogContainer(pods.find(namespace, pod), {
    pod,
    container,
    previous: query.previous,
  });
  return choice.kind === "refused"
    ? choice
    : { kind: "stream", containerId: choice.containerId, query };
}

/** Answers the request, or returns the text to answer with. `signal` fires when the server stops. */
export async function serveLogs(
  context: LogsContext,
  route: LogsRoute,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<Reply | undefined> {
  const plan = computeLogsPlan(route, context.pods, context.clock.now());
  if (plan.kind === "refused") return plan.reply;
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const either = AbortSignal.any([gone.signal, signal]);
  response.statusCode = 200;
  response.flushHeaders();
  try {
    await streamLogs(context, plan, response, either);
  } catch (error) {
    if (!either.aborted) throw error;
    response.destroy();
  }
  return undefined;
}

async function streamLogs(
  context: LogsContext,
  plan: Extract<LogsPlan, { kind: "stream" }>,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const { query, containerId } = plan;
  const records = context.runtime.logs(
    containerId,
    {
      follow: query.follow,
      ...(query.tailLines === undefined ? {} : { tail: query.tailLines }),
      ...(query.since === undefined ? {} : { sinceMs: new Date(query.since).getTime() }),
    },
    signal,
  );
  const body = new BodyWriter(response, signal);
  try {
    for await (const bytes of filterLog(records, query)) await body.write(bytes);
  } catch (error) {
    if (signal.aborted || hasCode(error, "Bug")) throw error;
    context.log.debug({ err: error, containerId }, "reading a container's log failed");
    await body.write(Buffer.from(`unable to retrieve container logs for docker://${containerId}`));
  }
  if (await body.flush()) await sleep(context.clock, END_PAUSE_MS, signal);
  response.end();
}

/** Writes with back-pressure, and knows when everything was handed over. */
class BodyWriter {
  readonly #response: ServerResponse;
  readonly #signal: AbortSignal;
  #unflushed = 0;
  #hasWritten = false;
  #wake: (() => void) | undefined;

  constructor(response: ServerResponse, signal: AbortSignal) {
    this.#response = response;
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#wake?.(), { once: true });
  }

  /** Resolves when there is room for more. Throws when the signal fires. */
  async write(bytes: Buffer): Promise<void> {
    this.#signal.throwIfAborted();
    this.#hasWritten = true;
    this.#unflushed += 1;
    const hasRoom = this.#response.write(bytes, () => {
      this.#unflushed -= 1;
      if (this.#unflushed === 0) this.#wake?.();
    });
    if (!hasRoom) await this.flush();
  }

  /** Resolves when all writes were handed to the kernel, with whether there were any. */
  async flush(): Promise<boolean> {
    if (this.#unflushed > 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#signal.throwIfAborted();
    return this.#hasWritten;
  }
}
