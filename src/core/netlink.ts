/**
 * Talks to the kernel's rtnetlink through node:ffi, in this network namespace or in that of another process: a tenth of
 * the cost of running ip(8), whose start stops the whole program for as long as the child waits for a processor.
 * Synchronous. Used by network; what the
 * messages say is network/link-messages.ts.
 */

import { closeSync } from "node:fs";
import { getSystemErrorName } from "node:util";
import { LongshoreError } from "./errors.ts";
import { createEnterNamespace } from "./network-namespace.ts";

export interface NetlinkMessage {
  readonly type: number;
  /** Beside NLM_F_REQUEST and NLM_F_ACK. */
  readonly flags: number;
  /** What follows the header. */
  readonly payload: Buffer;
  /** For the error's message, e.g. "making link lsh…". */
  readonly doing: string;
}

export interface NetlinkSocket {
  /** Sends one message; returns the payload of the answer, empty when that is a mere acknowledgement. */
  ask(message: NetlinkMessage): Buffer;
}

export interface Netlink {
  /**
   * Runs `work` with a socket in the namespace of process `pid`, or in the node's. Throws NetworkFailed with the name of
   * the kernel's error.
   */
  within<T>(pid: number | undefined, work: (socket: NetlinkSocket) => T): T;
}

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;
const NLM_F_REQUEST_ACK = 1 | 4;
const NLMSG_ERROR = 2;
const HEADER_BYTES = 16;
const ANSWER_BYTES = 32 * 1024;

/**
 * Undefined where this Node has no node:ffi.
 * @param nodeNamespace file of the node's network namespace when that is not this process' own
 */
export function createNetlink(nodeNamespace?: string): Netlink | undefined {
  const ffi = process.getBuiltinModule("node:ffi");
  if (ffi === undefined) return undefined;
  const libc = loadLibc(ffi);
  const enter = createEnterNamespace(ffi);
  return {
    within(pid, work) {
      const namespace = pid === undefined ? nodeNamespace : `/proc/${pid}/ns/net`;
      const open = (): number => openSocket(libc);
      const fd = namespace === undefined ? open() : enter(namespace, open);
      try {
        return work({ ask: (message) => ask(libc, fd, message) });
      } finally {
        closeSync(fd);
      }
    },
  };
}

type Libc = ReturnType<typeof loadLibc>;

function loadLibc(ffi: typeof import("node:ffi")) {
  const { functions } = ffi.dlopen(null, {
    socket: { arguments: ["int32", "int32", "int32"], return: "int32" },
    send: { arguments: ["int32", "buffer", "uint64", "int32"], return: "int64" },
    recv: { arguments: ["int32", "buffer", "uint64", "int32"], return: "int64" },
    __errno_location: { arguments: [], return: "pointer" },
  });
  return { ...functions, errno: () => ffi.getInt32(functions.__errno_location(), 0) };
}

function failure(doing: string, errno: number): LongshoreError {
  return new LongshoreError("NetworkFailed", `${doing}: ${getSystemErrorName(-errno)}`);
}

function openSocket(libc: Libc): number {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) throw failure("making a netlink socket", libc.errno());
  return fd;
}

/** The kernel has answered when `send` returns. */
function ask(libc: Libc, fd: number, { type, flags, payload, doing }: NetlinkMessage): Buffer {
  const message = Buffer.alloc(HEADER_BYTES + payload.length);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(type, 4);
  message.writeUInt16LE(NLM_F_REQUEST_ACK | flags, 6);
  payload.copy(message, HEADER_BYTES);
  if (libc.send(fd, message, BigInt(message.length), 0) < 0n) throw failure(doing, libc.errno());
  let answer: Buffer = Buffer.alloc(0);
  for (;;) {
    const buffer = Buffer.alloc(ANSWER_BYTES);
    const length = Number(libc.recv(fd, buffer, BigInt(buffer.length), 0));
    if (length < 0) throw failure(doing, libc.errno());
    for (let at = 0; at + HEADER_BYTES <= length; ) {
      const size = buffer.readUInt32LE(at);
      const body = buffer.subarray(at + HEADER_BYTES, at + size);
      if (buffer.readUInt16LE(at + 4) === NLMSG_ERROR) {
        const errno = -body.readInt32LE(0);
        if (errno !== 0) throw failure(doing, errno);
        return answer;
      }
      answer = body;
      at += (size + 3) & ~3;
    }
  }
}
