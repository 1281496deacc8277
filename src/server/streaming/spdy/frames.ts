/**
 * SPDY/3.1 frames as moby/spdystream speaks them (facts/kubelet-server.md §4): a parser that is fed chunks, and the few
 * frames a server sends. Pure. Header blocks stay compressed here; session.ts inflates them.
 */

import { LongshoreError } from "../../../core/errors.ts";

export type Frame =
  | {
      readonly kind: "data";
      readonly streamId: number;
      readonly fin: boolean;
      readonly data: Buffer;
    }
  | {
      readonly kind: "syn-stream";
      readonly streamId: number;
      readonly fin: boolean;
      readonly block: Buffer;
    }
  /** Its block must go through the inflater too. */
  | { readonly kind: "headers"; readonly block: Buffer }
  | { readonly kind: "rst-stream"; readonly streamId: number }
  | { readonly kind: "ping"; readonly id: number }
  | { readonly kind: "goaway" }
  /** SETTINGS and WINDOW_UPDATE: never needed in this dialect. */
  | { readonly kind: "ignored" };

const FLAG_FIN = 1;
const HEADER_BYTES = 8;
/** spdystream writes one frame for each Write of its user; nobody's is larger than this. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;
const MAX_CONTROL_BYTES = 1024 * 1024;

/** Status codes of RST_STREAM. */
export const RST = { protocolError: 1, refused: 3, cancel: 5 } as const;

export class FrameParser {
  #chunks: Buffer[] = [];
  #length = 0;

  /** Frames that are complete now. Throws `Unsupported` for what is no SPDY/3.1. */
  *push(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    for (let size = this.#nextSize(); size <= this.#length; size = this.#nextSize()) {
      yield parseFrame(this.#take(size));
    }
  }

  /** Bytes of the next frame; of its header while that is not there. */
  #nextSize(): number {
    if (this.#length < HEADER_BYTES) return HEADER_BYTES;
    const header = this.#peek(HEADER_BYTES);
    const length = header.readUIntBE(5, 3);
    const limit = isControl(header) ? MAX_CONTROL_BYTES : MAX_FRAME_BYTES;
    if (length > limit) throw malformed(`a frame of ${length} bytes`);
    return HEADER_BYTES + length;
  }

  #peek(size: number): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= size) return first;
    this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  #take(size: number): Buffer {
    const all = this.#peek(size);
    this.#chunks[0] = all.subarray(size);
    this.#length -= size;
    return all.subarray(0, size);
  }
}

function isControl(frame: Buffer): boolean {
  return frame.readUInt8(0) >= 0x80;
}

function malformed(what: string): LongshoreError {
  return new LongshoreError("Unsupported", `reading a SPDY connection: ${what}`);
}

function parseFrame(frame: Buffer): Frame {
  const fin = (frame.readUInt8(4) & FLAG_FIN) !== 0;
  const payload = frame.subarray(HEADER_BYTES);
  if (!isControl(frame))
    return { kind: "data", streamId: frame.readUInt32BE(0), fin, data: payload };
  const version = frame.readUInt16BE(0) & 0x7fff;
  if (version !== 3) throw malformed(`version ${version}`);
  const type = frame.readUInt16BE(2);
  const id = (): number => {
    if (payload.length < 4) throw malformed(`a frame of type ${type} without an id`);
    return payload.readUInt32BE(0) & 0x7fffffff;
  };
  switch (type) {
    case 1:
      return { kind: "syn-stream", streamId: id(), fin, block: payload.subarray(10) };
    case 3:
      return { kind: "rst-stream", streamId: id() };
    case 6:
      return { kind: "ping", id: id() };
    case 7:
      return { kind: "goaway" };
    case 8:
      return { kind: "headers", block: payload.subarray(4) };
    case 4:
    case 9:
      return { kind: "ignored" };
    default:
      throw malformed(`a control frame of type ${type}`);
  }
}

function controlFrame(type: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(0x8003, 0);
  header.writeUInt16BE(type, 2);
  header.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([header, payload]);
}

function words(...values: readonly number[]): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => {
    buffer.writeUInt32BE(value, 4 * index);
  });
  return buffer;
}

export function encodeData(streamId: number, data: Buffer, fin: boolean): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(streamId, 0);
  header.writeUInt8(fin ? FLAG_FIN : 0, 4);
  header.writeUIntBE(data.length, 5, 3);
  return Buffer.concat([header, data]);
}

/** zlib's header, once for the connection. */
const ZLIB_START = Buffer.from([0x78, 0x01]);
/** A stored block with the count 0, and the sync marker without which Go's inflater hangs at the next one. */
const EMPTY_BLOCK = Buffer.from([0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);

/** A reply without headers. @param isFirst of this connection: one deflate stream serves all of them. */
export function encodeReply(streamId: number, isFirst: boolean): Buffer {
  const block = isFirst ? Buffer.concat([ZLIB_START, EMPTY_BLOCK]) : EMPTY_BLOCK;
  return controlFrame(2, Buffer.concat([words(streamId), block]));
}

export function encodeReset(streamId: number, status: number): Buffer {
  return controlFrame(3, words(streamId, status));
}

export function encodePing(id: number): Buffer {
  return controlFrame(6, words(id));
}

export function encodeGoAway(lastStreamId: number): Buffer {
  return controlFrame(7, words(lastStreamId, 0));
}

const MAX_HEADERS = 1000;

/** An inflated header block. Throws `Unsupported` when it is cut short. */
export function parseHeaderBlock(block: Buffer): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  let at = 0;
  const number = (): number => {
    if (at + 4 > block.length) throw malformed("a header block that is cut short");
    at += 4;
    return block.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = number();
    if (at + length > block.length) throw malformed("a header block that is cut short");
    at += length;
    return block.toString("utf8", at - length, at);
  };
  const count = number();
  if (count > MAX_HEADERS) throw malformed(`${count} headers`);
  for (let i = 0; i < count; i += 1) headers.set(text().toLowerCase(), text());
  return headers;
}
