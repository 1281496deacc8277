/**
 * The two-way connection to a program, of an exec or of an attach: from the Engine's one byte stream to two outputs
 * with back-pressure. The socket is always destroyed at the end: one that is half open, because the program never
 * started, would hang for two minutes. Used by exec.ts and attach.ts.
 */

import { type Duplex, PassThrough, Writable } from "node:stream";
import { splitFrames } from "./frames.ts";

export interface Hijacked {
  readonly stdin: Writable;
  readonly stdout: PassThrough;
  readonly stderr: PassThrough;
  /** Resolves when the connection is down; the outputs have been ended then. */
  readonly closed: Promise<void>;
  /** Drops the connection. */
  letGo(): void;
}

/** @param use what the program was started with; with a terminal there are no frames. */
export function joinHijacked(
  socket: Duplex,
  use: { readonly tty: boolean; readonly stdin: boolean },
  signal: AbortSignal,
): Hijacked {
  const letGo = (): void => void socket.destroy();
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const closed = new Promise<void>((resolve) => {
    socket.once("close", resolve);
    socket.once("end", letGo);
    // What went wrong on the socket shows in the exit code; without a listener it would end the agent.
    socket.on("error", letGo);
  }).then(() => {
    signal.removeEventListener("abort", letGo);
    stdout.end();
    stderr.end();
  });
  if (use.tty) stderr.end();
  distribute(socket, { stdout, stderr, isTty: use.tty });
  signal.addEventListener("abort", letGo, { once: true });
  if (signal.aborted) letGo();
  const stdin = use.stdin ? socket : new Writable({ write: (_chunk, _encoding, done) => done() });
  return { stdin, stdout, stderr, closed, letGo };
}

interface Outputs {
  readonly stdout: PassThrough;
  readonly stderr: PassThrough;
  readonly isTty: boolean;
}

/** From the socket to the outputs; the socket waits for the slower of the two readers. */
function distribute(socket: Duplex, { stdout, stderr, isTty }: Outputs): void {
  const isFull = (): boolean => stdout.writableNeedDrain || stderr.writableNeedDrain;
  let rest: Buffer = Buffer.alloc(0);
  const onFrames = (chunk: Buffer): void => {
    const split = splitFrames(rest.length === 0 ? chunk : Buffer.concat([rest, chunk]));
    rest = split.rest;
    for (const { stream, data } of split.frames)
      (stream === "stderr" ? stderr : stdout).write(data);
  };
  socket.on("data", (chunk: Buffer) => {
    if (isTty) stdout.write(chunk);
    else onFrames(chunk);
    if (isFull()) socket.pause();
  });
  for (const output of [stdout, stderr]) {
    output.on("drain", () => {
      if (!isFull()) socket.resume();
    });
    // A reader that went away must not hold up the other.
    output.on("close", () => socket.resume());
  }
}
