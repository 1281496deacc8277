import { describe, expect, it } from "vitest";
import { buildPause } from "../../../../src/runtime/pause/elf.ts";
import { pauseCode } from "../../../../src/runtime/pause/program.ts";

const NEW_NETWORK = 0x40000000;

describe.each([
  { arch: "x64", machine: 62 },
  { arch: "arm64", machine: 183 },
] as const)("the sandbox's program for $arch", ({ arch, machine }) => {
  const file = buildPause(arch);

  it("is a static executable of that machine", () => {
    expect(file.subarray(0, 7).toString("latin1")).toBe("\x7fELF\x02\x01\x01");
    expect(file.readUInt16LE(16), "ET_EXEC").toBe(2);
    expect(file.readUInt16LE(18)).toBe(machine);
    expect(file.readUInt16LE(56), "segments").toBe(1);
  });

  it("loads all of itself, readable and executable but not writable, and begins in it", () => {
    const header = Number(file.readBigUInt64LE(32));
    expect([file.readUInt32LE(header), file.readUInt32LE(header + 4)]).toEqual([1, 5]);
    const base = file.readBigUInt64LE(header + 16);
    const entry = Number(file.readBigUInt64LE(24) - base);
    expect(file.readBigUInt64LE(header + 32)).toBe(BigInt(file.length));
    expect(file.subarray(entry)).toEqual(pauseCode(arch));
    expect(entry % 8).toBe(0);
  });
});

it("the x64 code's jumps and addresses point at what they name", () => {
  const code = pauseCode("x64");
  const data = code.length - 40;
  const referred = [...code.subarray(0, data).keys()]
    .filter((at) => code[at] === 0x48 && code[at + 1] === 0x8d)
    .map((at) => at + 7 + code.readInt32LE(at + 3) - data);
  expect(referred, "header, zeros, all signals, all signals").toEqual([0, 8, 32, 32]);
  expect(code.readUInt32LE(15)).toBe(NEW_NETWORK);
  expect(code.readUInt32LE(data)).toBe(0x20080522);
});
