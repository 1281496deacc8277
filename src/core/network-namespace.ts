/**
 * Other network namespaces, through node:ffi: doing something on this thread while it is in one, and TCP connections to
 * the loopback of one. Synchronous where the thread is away, so that nothing else runs there; a socket stays in the
 * namespace in which it was made. Used by netlink.ts and by the server's port-forward.
 */

import { closeSync, openSync } from "node:fs";
import { Socket } from "node:net";
import { constants } from "node:os";
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { sleep } from "./abort.ts";
import type { Clock } from "./clock.ts";
import { LongshoreError, messageOf } from "./errors.ts";

type Ffi = typeof import("node:ffi");

const CLONE_NEWNET = 0x40000000;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
const AF_INET = 2;
const AF_INET6 = 10;
const { EALREADY, EINPROGRESS, EISCONN } = constants.errno;
const LONGEST_LOOK_MS = 50;

export type EnterNamespace = <T>(path: string, work: () => T) => T;

function failure(doing: string, errno: number): LongshoreError {
  return new LongshoreError("NetworkFailed", `${doing}: ${getSystemErrorName(-errno)}`);
}

/** The function throws NetworkFailed with the name of the kernel's error. */
export function createEnterNamespace(ffi: Ffi): EnterNamespace {
  const { functions: libc } = ffi.dlopen(null, {
    setns: { arguments: ["int32", "int32"], return: "int32" },
    __errno_location: { arguments: [], return: "pointer" },
  });
  return (path, work) => {
    const own = openSync("/proc/thread-self/ns/net", "r");
    try {
      const other = openNamespace(path);
      const entered = libc.setns(other, CLONE_NEWNET);
      const errno = entered === 0 ? 0 : ffi.getInt32(libc.__errno_location(), 0);
      closeSync(other);
      if (errno !== 0) throw failure(`entering ${path}`, errno);
      try {
        return work();
      } finally {
        // A program that is lost in a pod's namespace must not go on.
        if (libc.setns(own, CLONE_NEWNET) !== 0) process.abort();
      }
    } finally {
      closeSync(own);
    }
  };
}

function openNamespace(path: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    throw new LongshoreError("NetworkFailed", `entering ${path}: ${messageOf(cause)}`, { cause });
  }
}

/** Connects to a port of the loopback in the namespace of a process: first 127.0.0.1, then ::1. */
export type DialLoopback = (pid: number, port: number, signal: AbortSignal) => Promise<Socket>;

/** Undefined where this Node has no node:ffi. The connections are half-open ones: each side ends by itself. */
export function createDialLoopback(clock: Clock): DialLoopback | undefined {
  const ffi = process.getBuiltinModule("node:ffi");
  if (ffi === undefined) return undefined;
  const enter = createEnterNamespace(ffi);
  const { functions: libc } = ffi.dlopen(null, {
    socket: { arguments: ["int32", "int32", "int32"], return: "int32" },
    connect: { arguments: ["int32", "buffer", "uint32"], return: "int32" },
    __errno_location: { arguments: [], return: "pointer" },
  });
  const errnoOf = (result: number): number =>
    result >= 0 ? 0 : ffi.getInt32(libc.__errno_location(), 0);
  const open = (path: string, family: number): number =>
    enter(path, () => {
      const fd = libc.socket(family, SOCK_STREAM_NONBLOCK_CLOEXEC, 0);
      const errno = errnoOf(fd);
      if (errno !== 0) throw failure("making a socket", errno);
      return fd;
    });
  const connect = async (
    pid: number,
    { family, address }: LoopbackAddress,
    signal: AbortSignal,
  ): Promise<Socket> => {
    const fd = open(`/proc/${pid}/ns/net`, family);
    try {
      // On a loopback the second look finds it done; it takes longer only where nobody accepts.
      for (let delay = 1; ; delay = Math.min(2 * delay, LONGEST_LOOK_MS)) {
        const errno = errnoOf(libc.connect(fd, address, address.length));
        if (errno === 0 || errno === EISCONN) return new Socket({ fd, allowHalfOpen: true });
        if (errno !== EINPROGRESS && errno !== EALREADY)
          throw new LongshoreError("NetworkFailed", `connect: ${getSystemErrorMessage(-errno)}`);
        await sleep(clock, delay, signal);
      }
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  };
  return async (pid, port, signal) => {
    try {
      return await connect(pid, ipv4(port), signal);
    } catch (first) {
      if (signal.aborted) throw first;
      try {
        return await connect(pid, ipv6(port), signal);
      } catch (second) {
        const words = `IPv4: dial tcp4 127.0.0.1:${port}: ${messageOf(first)} IPv6: dial tcp6 [::1]:${port}: ${messageOf(second)}`;
        throw new LongshoreError("NetworkFailed", words, { cause: first });
      }
    }
  };
}

interface LoopbackAddress {
  readonly family: number;
  /** struct sockaddr_in or sockaddr_in6. */
  readonly address: Buffer;
}

function ipv4(port: number): LoopbackAddress {
  return { family: AF_INET, address: socketAddress(AF_INET, port, 16, 4, [127, 0, 0, 1]) };
}

function ipv6(port: number): LoopbackAddress {
  return { family: AF_INET6, address: socketAddress(AF_INET6, port, 28, 23, [1]) };
}

function socketAddress(
  family: number,
  port: number,
  length: number,
  at: number,
  ip: readonly number[],
): Buffer {
  const buffer = Buffer.alloc(length);
  buffer.set(new Uint8Array(new Uint16Array([family]).buffer));
  buffer.writeUInt16BE(port, 2);
  buffer.set(ip, at);
  return buffer;
}
