/**
 * The Engine's multiplexed streams (logs, attach, exec without a terminal): frames of one byte stream, three zero
 * bytes, four bytes length, data. Pure, and a loop: dockerode's demultiplexer calls itself for every frame, and a
 * program that writes byte by byte makes it overflow the stack. Used by logs.ts and exec.ts.
 */

export interface Frame {
  readonly stream: "stdout" | "stderr";
  readonly data: Buffer;
}

const HEADER_BYTES = 8;
const STDERR = 2;

/** The whole frames at the start of `bytes`, and what is left for when more has come. Both are views, not copies. */
export function splitFrames(bytes: Buffer): { readonly frames: readonly Frame[]; rest: Buffer } {
  const frames: Frame[] = [];
  let start = 0;
  while (bytes.length - start >= HEADER_BYTES) {
    const data = start + HEADER_BYTES;
    const end = data + bytes.readUInt32BE(start + 4);
    if (end > bytes.length) break;
    const stream = bytes[start] === STDERR ? "stderr" : "stdout";
    frames.push({ stream, data: bytes.subarray(data, end) });
    start = end;
  }
  return { frames, rest: bytes.subarray(start) };
}
