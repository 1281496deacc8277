/** tcpSocket probes: a connection that is made and closed is success. */

import { connect } from "node:net";
import { withDeadline } from "../../core/abort.ts";
import type { Clock } from "../../core/clock.ts";
import { hasCode } from "../../core/errors.ts";
import type { ProbeOutcome } from "../verdict.ts";
import { dialWords, joinHostPort } from "./go-words.ts";

export interface TcpProbe {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly timeoutMs: number;
}

export async function probeTcp(probe: TcpProbe, signal: AbortSignal): Promise<ProbeOutcome> {
  const { host, port, clock, timeoutMs } = probe;
  const address = joinHostPort(host, port);
  const message = `dial tcp ${address}: i/o timeout`;
  const deadline = { clock, ms: timeoutMs, signal, code: "CommandTimeout", message } as const;
  try {
    await withDeadline(deadline, (inner) => dial(host, port, inner));
    return { kind: "success", message: "" };
  } catch (error) {
    if (hasCode(error, "Aborted")) throw error;
    if (hasCode(error, "CommandTimeout")) return { kind: "failure", message };
    return { kind: "failure", message: dialWords(address, error) };
  }
}

function dial(host: string, port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const onAbort = (): void => void socket.destroy(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("error", reject);
    socket.on("connect", () => {
      socket.destroy();
      resolve();
    });
    socket.on("close", () => signal.removeEventListener("abort", onAbort));
  });
}
