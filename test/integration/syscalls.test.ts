/** mount, umount and sd_notify against the kernel, once through node:ffi and once through the spawned programs. */

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { createSyscalls } from "../../src/core/syscalls-linux.ts";

const TMPFS_MAGIC = 0x1021994;
const exec = createExec(systemClock);

describe.each([
  ["node:ffi", true],
  ["spawned programs", false],
])("system calls through %s", (_name, useFfi) => {
  const syscalls = createSyscalls({ exec, useFfi });
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "volumes-sys-"));
    mkdirSync(join(root, "a b"));
  });
  afterEach(() => {
    const left = readFileSync("/proc/self/mountinfo", "utf8").includes(root);
    if (left) execFileSync("umount", ["-R", "-l", join(root, "a b")]);
    rmSync(root, { recursive: true, force: true });
    expect(left).toBe(false);
  });

  it("mount a tmpfs of a size and unmount it, twice", async () => {
    const target = join(root, "a b");
    const data = "size=1048576,mode=0777";
    await syscalls.mount({ source: "tmpfs", target, fstype: "tmpfs", options: ["nosuid"], data });
    expect(statfsSync(target)).toMatchObject({ type: TMPFS_MAGIC, blocks: 256 });
    await syscalls.unmount(target);
    expect(statfsSync(target).type).not.toBe(TMPFS_MAGIC);
    await syscalls.unmount(target);
    await syscalls.unmount(join(root, "nowhere"));
  });

  it("bind read-only and shared", async () => {
    const target = join(root, "a b");
    const options = ["bind", "ro", "rshared"];
    await syscalls.mount({ source: root, target, fstype: "", options });
    expect(() => writeFileSync(join(target, "f"), "")).toThrow(/EROFS/);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).toMatch(/a\\040b ro,.* shared:/);
    await syscalls.unmount(target);
  });

  it("detach what is busy", async () => {
    const target = join(root, "a b");
    await syscalls.mount({ source: "tmpfs", target, fstype: "tmpfs", options: [] });
    const holder = spawn("sleep", ["60"], { cwd: target });
    try {
      await syscalls.unmount(target);
    } finally {
      holder.kill();
    }
  });

  it("say which mount failed and why", async () => {
    const request = { source: "tmpfs", target: join(root, "nowhere"), fstype: "tmpfs" };
    await expect(syscalls.mount({ ...request, options: [] })).rejects.toMatchObject({
      code: "CommandFailed",
      message: expect.stringMatching(/nowhere.*(ENOENT|does not exist)/),
    });
    await expect(syscalls.mount({ ...request, options: ["sideways"] })).rejects.toMatchObject({
      code: "Unsupported",
    });
  });

  it("say nothing without a socket", async () => {
    await syscalls.notify(undefined, "READY=1");
  });
});

const RECEIVER = `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)
n=sys.argv[1]
s.bind("\\0"+n[1:] if n[0]=="@" else n)
print("bound",flush=True)
print(s.recv(4096).decode(),flush=True)`;

it.each(["path", "abstract"])("sd_notify reaches a socket bound by %s", async (form) => {
  const dir = mkdtempSync(join(tmpdir(), "volumes-notify-"));
  const name = form === "path" ? join(dir, "s") : `@${dir}`;
  const receiver = spawn("python3", ["-c", RECEIVER, name]);
  let heard = "";
  receiver.stdout.on("data", (chunk) => {
    heard += String(chunk);
  });
  const ended = new Promise((resolve) => receiver.on("close", resolve));
  await expect.poll(() => heard).toContain("bound");
  await createSyscalls({ exec }).notify(name, "READY=1\nSTATUS=up");
  await ended;
  expect(heard).toContain("READY=1\nSTATUS=up");
  rmSync(dir, { recursive: true });
});
