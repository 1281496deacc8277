/**
 * A client that runs a command, whatever the transport: WebSocket or SPDY give one of these, exec.ts joins it to an
 * ExecSession. The streams carry back-pressure both ways.
 */

import { type Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { messageOf } from "../../core/errors.ts";
import type { ExecSession } from "../../runtime/runtime.ts";
import type { TerminalSize } from "./channels.ts";
import type { CommandOutcome } from "./status.ts";

/** What the request asked for. */
export interface RemoteCommandOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

export interface RemoteCommandConnection {
  /** Ends when the client closes its side of stdin; empty when stdin was not asked for. */
  readonly stdin: Readable;
  /** What was not asked for is swallowed. */
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Fires when the client is gone or the idle limit is over. */
  readonly gone: AbortSignal;
  onResize(listener: (size: TerminalSize) => void): void;
  /** Tells the outcome and closes; resolves when the connection is down. */
  finish(outcome: CommandOutcome): Promise<void>;
}

/** A sink for output that nobody asked for. */
export function swallow(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}

/** Runs a started command to its end, or kills it when `gone` fires: the client went away, the server stops. */
export async function joinCommand(
  connection: RemoteCommandConnection,
  session: ExecSession,
  {
    what,
    gone,
  }: { /** Begins the words of a failure. */ readonly what: string; readonly gone: AbortSignal },
): Promise<void> {
  // One after the other: kubectl sends two, of which the second must stay.
  let resized = Promise.resolve();
  connection.onResize(({ columns, rows }) => {
    // A terminal that cannot be resized any more belongs to a command that ended.
    resized = resized.then(() => session.resize(columns, rows)).catch(() => undefined);
  });
  // Awaited after the streams; until then nobody else looks at a rejection.
  session.exitCode.catch(() => undefined);
  const input = pipeline(connection.stdin, session.stdin, { signal: gone });
  // A command may end, or close its input, while the client still sends: no failure of the command.
  input.catch(() => undefined);
  try {
    await Promise.all([
      pipeline(session.stdout, connection.stdout, { signal: gone }),
      pipeline(session.stderr, connection.stderr, { signal: gone }),
    ]);
    const exitCode = await untilGone(session.exitCode, gone);
    await connection.finish({ kind: "exited", exitCode });
  } catch (error) {
    await session.kill();
    if (connection.gone.aborted) return;
    await connection.finish({ kind: "failed", message: `${what}: ${messageOf(error)}` });
  } finally {
    connection.stdin.destroy();
  }
}

function untilGone<T>(work: Promise<T>, gone: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(gone.reason);
    if (gone.aborted) return onAbort();
    gone.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => gone.removeEventListener("abort", onAbort));
  });
}
