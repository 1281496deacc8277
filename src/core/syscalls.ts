/**
 * System calls that Node lacks: mount(2), umount2(2) and the datagram of sd_notify(3). The shape only; the
 * implementation (node:ffi with a spawned fall-back, D1) is made by `createSyscalls` in syscalls-linux.ts.
 */

export interface MountRequest {
  readonly source: string;
  readonly target: string;
  /** Empty for a bind mount. */
  readonly fstype: string;
  /** As mount(8) spells them after -o: "bind", "rbind", "ro", "nosuid", "noexec", "nodev", "remount", "rslave"… */
  readonly options: readonly string[];
  /** File system specific data, e.g. "size=1048576,mode=0777". */
  readonly data?: string;
}

export interface Syscalls {
  /** Throws CommandFailed with the errno's name in the message. */
  mount(request: MountRequest): Promise<void>;
  /** Detaches what is mounted on `target`; resolves when nothing is mounted there (EINVAL, ENOENT). */
  unmount(target: string): Promise<void>;
  /** Sends lines such as READY=1 to the service manager; does nothing when `socket` is undefined. */
  notify(socket: string | undefined, message: string): Promise<void>;
}
