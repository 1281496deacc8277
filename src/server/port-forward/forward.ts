/**
 * One forwarded connection, whatever the transport: dials, joins, and says on the client's error stream why it could
 * not. Each direction ends by itself. What breaks after the dial is no error, as upstream: kubectl ends all of its
 * port-forwarding on any word.
 */

import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { PodDial } from "./dial.ts";

export interface ForwardContext {
  readonly dial: PodDial;
  readonly pod: { readonly uid: string; readonly fullName: string };
  readonly log: Logger;
}

export interface ForwardClient {
  readonly port: number;
  readonly input: Readable;
  readonly output: Writable;
  /** Ended in any case. */
  readonly error: Writable;
}

/** Resolves, when both directions have ended, with whether the pod was reached; never throws. */
export async function forward(
  { dial, pod, log }: ForwardContext,
  { port, input, output, error }: ForwardClient,
  gone: AbortSignal,
): Promise<boolean> {
  try {
    const socket = await dial(pod.uid, port, gone);
    const results = await Promise.allSettled([
      pipeline(input, socket, { signal: gone }),
      pipeline(socket, output, { signal: gone }),
    ]);
    for (const result of results) {
      if (result.status === "rejected")
        log.debug({ err: result.reason, port }, "a forwarded connection broke");
    }
    socket.destroy();
    return true;
  } catch (cause) {
    const words = `error forwarding port ${port} to pod ${pod.fullName}, uid ${pod.uid}: ${messageOf(cause)}`;
    log.debug({ err: cause, port }, "port-forward failed");
    error.write(words);
    return false;
  } finally {
    error.end();
  }
}

/** 1..65535, else undefined. */
export function parsePort(text: string | undefined): number | undefined {
  const port = /^\d{1,5}$/.test(text ?? "") ? Number(text) : 0;
  return port > 0 && port < 65_536 ? port : undefined;
}
