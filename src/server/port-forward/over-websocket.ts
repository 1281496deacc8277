/**
 * Port-forward over a WebSocket: a tunnel that carries a SPDY connection, and the legacy channels, of which each port
 * of the request has two (data and error) that begin with the port's number, for one connection as long as the socket.
 */

import { Duplex, PassThrough, Writable } from "node:stream";
import type { WebSocket } from "ws";
import type { Clock } from "../../core/clock.ts";
import { decodeMessage, encodeMessage } from "../streaming/channels.ts";
import { KeptSocket } from "../streaming/kept-socket.ts";
import type { WebSocketProtocol } from "../streaming/negotiate.ts";
import { type ForwardContext, forward } from "./forward.ts";

const CLOSE_BAD_DATA = 1007;

/** The bytes in the messages, as a socket. */
export function createTunnel(webSocket: WebSocket, clock: Clock): Duplex {
  const socket = new KeptSocket(webSocket, clock, (message) => {
    if (!tunnel.push(message)) socket.pause();
  });
  const tunnel = new Duplex({
    read: () => socket.resume(),
    write: (chunk: Buffer, _encoding, done) => socket.send(chunk, done),
    final: (done) => void socket.close().then(() => done(), done),
    destroy: (error, done) => {
      socket.terminate();
      done(error);
    },
  });
  // Also when nobody reads: the end would wait behind what was not read.
  socket.gone.addEventListener("abort", () => tunnel.destroy());
  return tunnel;
}

export async function forwardChannels(
  webSocket: WebSocket,
  protocol: WebSocketProtocol,
  ports: readonly number[],
  context: ForwardContext & { readonly clock: Clock },
): Promise<void> {
  const inputs = ports.map(() => new PassThrough());
  const socket = new KeptSocket(webSocket, context.clock, (bytes) => {
    const message = decodeMessage(protocol, bytes, 2 * ports.length - 1);
    if (message.kind === "malformed") void socket.close(CLOSE_BAD_DATA, message.reason);
    if (message.kind !== "data" || message.channel % 2 === 1) return;
    const input = inputs[message.channel / 2];
    if (input !== undefined && !input.destroyed && !input.write(message.data)) socket.pause();
  });
  const output = (channel: number): Writable =>
    new Writable({
      write: (chunk: Buffer, _encoding, done) =>
        socket.send(encodeMessage(protocol, channel, chunk), done),
    });
  socket.gone.addEventListener("abort", () => {
    for (const input of inputs) input.end();
  });
  const forwards = ports.map((port, index) => {
    const input = inputs[index] as PassThrough;
    input.on("drain", () => socket.resume());
    input.on("close", () => socket.resume());
    const [data, error] = [output(2 * index), output(2 * index + 1)];
    const number = Buffer.alloc(2);
    number.writeUInt16LE(port);
    data.write(number);
    error.write(number);
    return forward(context, { port, input, output: data, error }, socket.gone);
  });
  await Promise.all(forwards);
  await socket.close();
}
