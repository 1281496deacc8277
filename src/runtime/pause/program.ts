/**
 * The sandbox's program as machine code, one table for each architecture: the same dozen system calls, written by hand.
 * It makes a network namespace of its own (unless started with an argument), drops every capability, and waits: it
 * reaps what is orphaned to it and ends on SIGTERM or SIGINT. Refused the namespace, it ends with UNSHARE_REFUSED.
 * Read by elf.ts.
 */

export type PauseArch = "x64" | "arm64";

/** Exit code when the kernel or the Engine's profile refuses unshare(CLONE_NEWNET). */
export const UNSHARE_REFUSED = 70;

/** Each row: the bytes in hexadecimal, and the instructions they are. */
type Row = readonly [code: string, instructions: string];

const X64: readonly Row[] = [
  ["488b0424 83f801 7717", "argc = [rsp]; argc > 1 → plain"],
  ["b810010000 bf00000040 0f05", "unshare(CLONE_NEWNET)"],
  ["85c0 7407 bf46000000 eb74", "0 → plain; else exit(70)"],
  ["b87e000000 488d3d74000000 488d3575000000 0f05", "plain: capset(header, zeros)"],
  ["b80e000000 31ff 488d357d000000 31d2 41ba08000000 0f05", "rt_sigprocmask(BLOCK, all, 0, 8)"],
  ["b880000000 488d3d67000000 31f6 31d2 41ba08000000 0f05", "wait: rt_sigtimedwait(all, 0, 0, 8)"],
  ["83f80f 7428 83f802 7423 83f811 75d9", "TERM, INT → done; not CHLD → wait"],
  ["b83d000000 48c7c7ffffffff 31f6 ba01000000 4531d2 0f05", "reap: wait4(-1, 0, WNOHANG, 0)"],
  ["85c0 7fe4 ebbb", "> 0 → reap; else → wait"],
  ["31ff", "done: code = 0"],
  ["b8e7000000 0f05 0f1f440000", "exit: exit_group(code); padding"],
];

const ARM64: readonly Row[] = [
  ["e00340f9 1f0400f1 e8000054", "argc = [sp]; argc > 1 → plain"],
  ["280c80d2 0000a8d2 010000d4", "unshare(CLONE_NEWNET)"],
  ["600000b4 c00880d2 21000014", "0 → plain; else exit(70)"],
  ["680b80d2 40040010 61040010 010000d4", "plain: capset(header, zeros)"],
  ["e81080d2 000080d2 a1040010 020080d2 030180d2 010000d4", "rt_sigprocmask(BLOCK, all, 0, 8)"],
  ["281180d2 00040010 010080d2 020080d2 030180d2 010000d4", "wait: rt_sigtimedwait(all, 0, 0, 8)"],
  ["1f3c00f1 c0010054 1f0800f1 80010054 1f4400f1 a1feff54", "TERM, INT → done; not CHLD → wait"],
  ["882080d2 00008092 010080d2 220080d2 030080d2 010000d4", "reap: wait4(-1, 0, WNOHANG, 0)"],
  ["1f000071 2cffff54 ecffff17", "> 0 → reap; else → wait"],
  ["000080d2", "done: code = 0"],
  ["c80b80d2 010000d4 1f2003d5", "exit: exit_group(code); padding"],
];

/** What the code refers to: the header of capset (version 3), six zero words, and the set of all signals. */
const DATA = `2205082000000000${"00".repeat(24)}${"ff".repeat(8)}`;

/** The code with its data, to be loaded at any address that is a multiple of 8. */
export function pauseCode(arch: PauseArch): Buffer {
  const rows = arch === "x64" ? X64 : ARM64;
  const code = rows.map(([bytes]) => bytes.replaceAll(" ", "")).join("");
  return Buffer.from(code + DATA, "hex");
}
