/** The smallest static ELF executable around a piece of machine code: one header, one loadable segment. Pure. */

import { type PauseArch, pauseCode } from "./program.ts";

const BASE = 0x400000n;
const HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const MACHINE: Readonly<Record<PauseArch, number>> = { x64: 62, arm64: 183 };

/** The executable file; a few hundred bytes. */
export function buildPause(arch: PauseArch): Buffer {
  const code = pauseCode(arch);
  const start = HEADER_BYTES + PROGRAM_HEADER_BYTES;
  const file = Buffer.alloc(start + code.length);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1], 0);
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(MACHINE[arch], 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BASE + BigInt(start), 24);
  file.writeBigUInt64LE(BigInt(HEADER_BYTES), 32);
  file.writeUInt16LE(HEADER_BYTES, 52);
  file.writeUInt16LE(PROGRAM_HEADER_BYTES, 54);
  file.writeUInt16LE(1, 56);
  const segment = HEADER_BYTES;
  file.writeUInt32LE(1, segment);
  file.writeUInt32LE(5, segment + 4);
  file.writeBigUInt64LE(BASE, segment + 16);
  file.writeBigUInt64LE(BASE, segment + 24);
  file.writeBigUInt64LE(BigInt(file.length), segment + 32);
  file.writeBigUInt64LE(BigInt(file.length), segment + 40);
  file.writeBigUInt64LE(0x10000n, segment + 48);
  code.copy(file, start);
  return file;
}
