/**
 * The Engine's events as hints: which pod to look at. Reconnects by itself with back-off; each connection begins with
 * `resync`, because what happened before it may have been missed. The listener lists, and events only repeat.
 */

import type { Readable } from "node:stream";
import { sleep } from "../../core/abort.ts";
import { jitteredDelay } from "../../core/backoff.ts";
import { hasCode } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { OWNER, POD_UID } from "../labels.ts";
import type { RuntimeEvent } from "../runtime.ts";
import type { Engine } from "./engine.ts";

const RECONNECT = { initialMs: 200, maxMs: 10_000 };
/** An exec is nothing that changes a pod, and probes make thousands. */
const ACTIONS = ["create", "start", "die", "oom", "destroy", "kill", "stop"];

export interface WatchDeps {
  readonly engine: Engine;
  readonly random: () => number;
  readonly log: Logger;
}

export async function watchEvents(
  deps: WatchDeps,
  onEvent: (event: RuntimeEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    try {
      const stream = await connect(deps.engine, signal);
      if (failures > 1) deps.log.info({}, "the Engine's event stream is back");
      failures = 0;
      onEvent({ kind: "resync" });
      await readStream(stream, onEvent, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (failures === 0)
        deps.log.warn({ err: error }, "the Engine's event stream is lost; reconnecting");
    }
    failures += 1;
    try {
      await sleep(deps.engine.clock, jitteredDelay(failures, RECONNECT, deps.random), signal);
    } catch (error) {
      if (!hasCode(error, "Aborted")) throw error;
    }
  }
}

async function connect(engine: Engine, signal: AbortSignal): Promise<Readable> {
  const filters = { type: ["container" as const], label: [OWNER], event: ACTIONS };
  const stream = await engine.call("stream events", signal, (docker, abortSignal) =>
    docker.getEvents({ filters, abortSignal }),
  );
  return stream as Readable;
}

interface RawEvent {
  readonly timeNano?: number;
  readonly Actor?: { readonly Attributes?: Readonly<Record<string, string>> };
}

async function readStream(
  stream: Readable,
  onEvent: (event: RuntimeEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  const onAbort = (): void => void stream.destroy();
  signal.addEventListener("abort", onAbort, { once: true });
  let rest = "";
  try {
    for await (const chunk of stream.setEncoding("utf8")) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "") continue;
        const { Actor, timeNano = Number.POSITIVE_INFINITY } = JSON.parse(line) as RawEvent;
        const podUid = Actor?.Attributes?.[POD_UID];
        if (podUid !== undefined) onEvent({ kind: "pod-changed", podUid, at: timeNano / 1e6 });
      }
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    stream.destroy();
  }
}
