/** Real programs, short ones: `sh` and `cat` of the host. Time limits come from the fake clock. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createExec, execOk } from "../../../src/core/exec.ts";
import { FakeClock } from "../../fakes/clock.ts";

const clock = new FakeClock();
const exec = createExec(clock);
const signal = new AbortController().signal;

function sh(script: string) {
  return { file: "sh", args: ["-c", script] };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    if ((error as { code?: string }).code === "ESRCH") return false;
    throw error;
  }
}

test("a command gives its output, its errors and its exit code", async () => {
  await expect(exec(sh("echo out; echo err >&2; exit 3"), signal)).resolves.toEqual({
    code: 3,
    stdout: "out\n",
    stderr: "err\n",
  });
  expect(clock.pendingTimers).toBe(0);
});

test("input arrives whole and large output comes back whole", async () => {
  const input = "0123456789abcdef".repeat(256 * 1024);
  const result = await exec({ file: "cat", args: [], input }, signal);
  expect(result.stdout === input).toBe(true);
});

test("a program that does not read its input is no error", async () => {
  const input = "x".repeat(4 * 1024 * 1024);
  await expect(exec({ ...sh("exit 0"), input }, signal)).resolves.toMatchObject({ code: 0 });
});

test("env replaces the environment", async () => {
  const result = await exec({ ...sh("echo $A-$HOME"), env: { PATH: "/bin", A: "1" } }, signal);
  expect(result.stdout).toBe("1-\n");
});

test("a missing program is CommandMissing and says which", async () => {
  await expect(exec({ file: "longshore-no-such", args: [] }, signal)).rejects.toMatchObject({
    code: "CommandMissing",
    message: expect.stringContaining("longshore-no-such"),
  });
});

test("a command that takes too long is killed and is CommandTimeout", async () => {
  const folder = await mkdtemp(join(tmpdir(), "longshore-exec-"));
  const pidFile = join(folder, "pid");
  const command = { ...sh(`echo $$ >${pidFile}; exec sleep 60`), timeoutMs: 500 };
  const outcome = expect(exec(command, signal)).rejects.toMatchObject({ code: "CommandTimeout" });
  let pid = 0;
  await expect.poll(async () => (pid = Number(await readFile(pidFile, "utf8")))).toBeGreaterThan(1);
  await clock.advance(500);
  await outcome;
  await expect.poll(() => isAlive(pid)).toBe(false);
  await rm(folder, { recursive: true });
});

test("a command that is given up is Aborted", async () => {
  const controller = new AbortController();
  const running = exec(sh("exec sleep 60"), controller.signal);
  controller.abort();
  await expect(running).rejects.toMatchObject({ code: "Aborted" });
});

test("execOk gives the output, and CommandFailed with the program's own words", async () => {
  await expect(execOk(exec, sh("echo fine"), signal)).resolves.toBe("fine\n");
  await expect(execOk(exec, sh("echo broken >&2; exit 4"), signal)).rejects.toMatchObject({
    code: "CommandFailed",
    message: expect.stringMatching(/ended with 4: broken$/),
  });
});
