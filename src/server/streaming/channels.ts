/**
 * The messages of the channel.k8s.io protocols: one byte (or digit) names the channel, the rest is data, binary or
 * base64. Pure codec; used by websocket-command.ts and port-forward.
 */

import type { WebSocketProtocol } from "./negotiate.ts";

export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

export type ClientMessage =
  | { readonly kind: "data"; readonly channel: number; readonly data: Buffer }
  /** The client sends no more on this channel. */
  | { readonly kind: "close"; readonly channel: number }
  | { readonly kind: "ignored" }
  | { readonly kind: "malformed"; readonly reason: string };

const DIGIT_0 = 0x30;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** @returns a Buffer to send as a binary message, or a string to send as text. */
export function encodeMessage(
  protocol: WebSocketProtocol,
  channel: number,
  data: Buffer,
): Buffer | string {
  return protocol.encoding === "base64"
    ? `${String.fromCharCode(DIGIT_0 + channel)}${data.toString("base64")}`
    : Buffer.concat([Buffer.of(channel), data]);
}

/** Text and binary messages are read alike: the protocol decides, not the frame. */
export function decodeMessage(
  protocol: WebSocketProtocol,
  message: Buffer,
  lastChannel: number = CHANNEL.resize,
): ClientMessage {
  const first = message[0];
  if (first === undefined) return { kind: "ignored" };
  const rest = message.subarray(1);
  if (protocol.encoding === "binary") return binaryMessage(protocol, first, rest, lastChannel);
  const channel = first - DIGIT_0;
  if (channel < 0 || channel > Math.max(9, lastChannel))
    return { kind: "malformed", reason: "the channel is not an ASCII digit" };
  const text = rest.toString("latin1");
  if (!BASE64.test(text) || text.length % 4 !== 0)
    return { kind: "malformed", reason: "the data is not base64" };
  return dataMessage(channel, Buffer.from(text, "base64"), lastChannel);
}

function binaryMessage(
  protocol: WebSocketProtocol,
  first: number,
  rest: Buffer,
  lastChannel: number,
): ClientMessage {
  if (!protocol.hasClose || first !== CHANNEL.close) return dataMessage(first, rest, lastChannel);
  const channel = rest[0];
  return channel === undefined || rest.length !== 1
    ? { kind: "malformed", reason: "a close message names exactly one channel" }
    : { kind: "close", channel };
}

function dataMessage(channel: number, data: Buffer, lastChannel: number): ClientMessage {
  return channel > lastChannel || data.length === 0
    ? { kind: "ignored" }
    : { kind: "data", channel, data };
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** `{"Width":101,"Height":33}`; undefined for anything else. */
export function parseResize(text: string): TerminalSize | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (value === null || typeof value !== "object") return undefined;
  const { Width: columns, Height: rows } = value as { Width?: unknown; Height?: unknown };
  return isSize(columns) && isSize(rows) ? { columns, rows } : undefined;
}

function isSize(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) <= 0xffff;
}
