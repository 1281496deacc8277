/**
 * mount(2), umount2(2) and the datagram of sd_notify(3) for Linux: through node:ffi where this Node has it (a third
 * of a millisecond, and sd_notify comes from the main process), else through mount(8), umount(8) and
 * systemd-notify(1), for which a unit needs NotifyAccess=all. Made once by agent.ts; used by volumes and main.
 */

import { getSystemErrorName } from "node:util";
import { LongshoreError } from "./errors.ts";
import { type Command, type Exec, execOk } from "./exec.ts";
import type { MountRequest, Syscalls } from "./syscalls.ts";

const FLAGS: Readonly<Record<string, number>> = {
  ro: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  remount: 32,
  noatime: 1024,
  bind: 4096,
  rbind: 4096 | 16384,
};
const PROPAGATION: Readonly<Record<string, number>> = {
  private: 1 << 18,
  rprivate: (1 << 18) | 16384,
  slave: 1 << 19,
  rslave: (1 << 19) | 16384,
  shared: 1 << 20,
  rshared: (1 << 20) | 16384,
};
const BIND_RECURSIVE = 4096 | 16384;
const REMOUNT_BIND = 32 | 4096;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const MSG_NOSIGNAL = 0x4000;

interface MountCall {
  readonly source: string;
  readonly fstype: string;
  readonly flags: number;
  readonly data: string;
}

/** The kernel takes a bind, its flags and its propagation in calls of their own, as mount(8) makes them. */
export function computeMountCalls(request: MountRequest): readonly MountCall[] {
  let flags = 0;
  let propagation = 0;
  for (const option of request.options) {
    const flag = FLAGS[option];
    const change = PROPAGATION[option];
    if (flag !== undefined) flags |= flag;
    else if (change !== undefined) propagation = change;
    else throw new LongshoreError("Unsupported", `mount option ${option} of ${request.target}`);
  }
  const { source, fstype } = request;
  const call = { source, fstype, data: request.data ?? "" };
  const calls: MountCall[] = [];
  const isNewBind = (flags & REMOUNT_BIND) === 4096;
  const bindFlags = flags & ~BIND_RECURSIVE;
  if (isNewBind) calls.push({ ...call, flags: flags & BIND_RECURSIVE });
  if (isNewBind && bindFlags !== 0) calls.push({ ...call, flags: bindFlags | REMOUNT_BIND });
  if (!isNewBind && (fstype !== "" || flags !== 0)) calls.push({ ...call, flags });
  if (propagation !== 0) calls.push({ source: "none", fstype: "", flags: propagation, data: "" });
  return calls;
}

export interface SyscallsOptions {
  readonly exec: Exec;
  /** False takes the spawned programs even where node:ffi exists; for tests of the fall-back. */
  readonly useFfi?: boolean;
}

export function createSyscalls(options: SyscallsOptions): Syscalls {
  const ffi = options.useFfi === false ? undefined : process.getBuiltinModule("node:ffi");
  return ffi === undefined ? spawnedSyscalls(options.exec) : ffiSyscalls(ffi);
}

type Libc = ReturnType<typeof loadLibc>;

function loadLibc(ffi: typeof import("node:ffi")) {
  const { functions } = ffi.dlopen(null, {
    mount: { arguments: ["string", "string", "string", "uint64", "string"], return: "int32" },
    umount2: { arguments: ["string", "int32"], return: "int32" },
    socket: { arguments: ["int32", "int32", "int32"], return: "int32" },
    sendto: {
      arguments: ["int32", "buffer", "uint64", "int32", "buffer", "uint32"],
      return: "int64",
    },
    close: { arguments: ["int32"], return: "int32" },
    __errno_location: { arguments: [], return: "pointer" },
  });
  return { ...functions, errno: () => ffi.getInt32(functions.__errno_location(), 0) };
}

function failure(doing: string, errno: number): LongshoreError {
  return new LongshoreError("CommandFailed", `${doing}: ${getSystemErrorName(-errno)}`);
}

function ffiSyscalls(ffi: typeof import("node:ffi")): Syscalls {
  const libc = loadLibc(ffi);
  return {
    async mount(request) {
      for (const { source, fstype, flags, data } of computeMountCalls(request)) {
        // errno is read before anything else may run on this thread.
        const result = libc.mount(source, request.target, fstype, BigInt(flags), data);
        const errno = result === 0 ? 0 : libc.errno();
        if (errno !== 0) throw failure(`mounting ${source} on ${request.target}`, errno);
      }
    },
    async unmount(target) {
      const name = umount(libc, target, UMOUNT_NOFOLLOW);
      const again = name === "EBUSY" ? umount(libc, target, UMOUNT_NOFOLLOW | MNT_DETACH) : name;
      if (again === undefined || again === "EINVAL" || again === "ENOENT") return;
      throw new LongshoreError("CommandFailed", `unmounting ${target}: ${again}`);
    },
    async notify(socket, message) {
      if (socket !== undefined) sendDatagram(libc, socket, Buffer.from(message));
    },
  };
}

/** The name of the error, or undefined when it was unmounted. */
function umount(libc: Libc, target: string, flags: number): string | undefined {
  const result = libc.umount2(target, flags);
  return result === 0 ? undefined : getSystemErrorName(-libc.errno());
}

function sendDatagram(libc: Libc, path: string, message: Buffer): void {
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  if (fd < 0) throw failure("making a datagram socket", libc.errno());
  const address = socketAddress(path);
  const length = BigInt(message.length);
  const sent = libc.sendto(fd, message, length, MSG_NOSIGNAL, address, address.length);
  const errno = sent < 0n ? libc.errno() : 0;
  libc.close(fd);
  if (errno !== 0) throw failure(`notifying ${path}`, errno);
}

/** struct sockaddr_un; a leading @ means Linux' abstract names, which start with a zero byte. */
function socketAddress(path: string): Buffer {
  const family = Buffer.from(new Uint16Array([AF_UNIX]).buffer);
  return Buffer.concat([family, Buffer.from(path.replace(/^@/, "\0"))]);
}

/** Messages of mount(8) are matched below, so they must not be translated. */
const ENVIRONMENT = { LC_ALL: "C", PATH: "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin" };

function spawnedSyscalls(exec: Exec): Syscalls {
  const run = (command: Command) =>
    execOk(exec, { env: ENVIRONMENT, ...command }, new AbortController().signal);
  return {
    async mount(request) {
      const { source, target, fstype, data } = request;
      computeMountCalls(request);
      const options = [...request.options, ...(data === undefined ? [] : [data])].join(",");
      const isPropagationOnly = fstype === "" && request.options.every((o) => o in PROPAGATION);
      if (isPropagationOnly) {
        for (const option of request.options)
          await run({ file: "mount", args: [`--make-${option}`, "--", target] });
        return;
      }
      const args = [
        // Descriptors of ours are named by links that must be taken as they are.
        "-c",
        ...(fstype === "" ? [] : ["-t", fstype]),
        ...(options === "" ? [] : ["-o", options]),
        ...["--", source, target],
      ];
      await run({ file: "mount", args });
    },
    async unmount(target) {
      const signal = new AbortController().signal;
      const command = { file: "umount", env: ENVIRONMENT };
      const first = await exec({ ...command, args: ["-c", "--", target] }, signal);
      if (first.code === 0 || /not mounted|no mount point|not found/.test(first.stderr)) return;
      await run({ ...command, args: ["-c", "-l", "--", target] });
    },
    async notify(socket, message) {
      if (socket === undefined) return;
      const env = { ...ENVIRONMENT, NOTIFY_SOCKET: socket };
      const args = message.split("\n").filter((line) => line !== "");
      await run({ file: "systemd-notify", args, env });
    },
  };
}
