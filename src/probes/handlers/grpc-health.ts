/** What goes over the wire for Check of grpc.health.v1.Health: both messages, in gRPC's frames. Pure; called by grpc.ts. */

import { LongshoreError } from "../../core/errors.ts";

const STATUSES = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVICE_TAG = 0x0a;
const STATUS_TAG = 0x08n;
/** One byte that says whether it is compressed, and the message's length. */
const FRAME_HEAD_BYTES = 5;

/** HealthCheckRequest. */
export function encodeRequest(service: string): Buffer {
  const text = Buffer.from(service);
  const field: number[] = text.length === 0 ? [] : [SERVICE_TAG];
  for (let rest = text.length; rest > 0; rest >>>= 7)
    field.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUInt32BE(field.length + text.length, 1);
  return Buffer.concat([head, Buffer.from(field), text]);
}

/** HealthCheckResponse: the name of its status, its number where that has none. Throws Unsupported on what is not one. */
export function parseResponse(frame: Buffer): string {
  const message = frame.subarray(FRAME_HEAD_BYTES);
  const isWhole = frame.length >= FRAME_HEAD_BYTES && frame.readUInt32BE(1) === message.length;
  if (!isWhole || frame[0] !== 0) throw malformed();
  let status = 0n;
  for (let at = 0; at < message.length; ) {
    const tag = readVarint(message, at);
    const type = Number(tag.value & 7n);
    const { value, end } = type === 0 || type === 2 ? readVarint(message, tag.end) : tag;
    if (tag.value === STATUS_TAG) status = value;
    at = end + ({ 0: 0, 1: 8, 2: Number(value), 5: 4 }[type] ?? Number.POSITIVE_INFINITY);
    if (at > message.length) throw malformed();
  }
  return STATUSES[Number(status)] ?? `${BigInt.asIntN(32, status)}`;
}

function readVarint(
  message: Buffer,
  start: number,
): { readonly value: bigint; readonly end: number } {
  let value = 0n;
  for (let at = start; at < start + 10; at++) {
    const byte = message[at];
    if (byte === undefined) break;
    value |= BigInt(byte & 0x7f) << BigInt(7 * (at - start));
    if (byte < 0x80) return { value, end: at + 1 };
  }
  throw malformed();
}

function malformed(): LongshoreError {
  return new LongshoreError("Unsupported", "cannot parse the health check's response");
}
