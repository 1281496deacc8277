/** Commands in containers of a real Engine: terminals, input, failures, and what is left when one is given up. */

import { readdirSync, readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { containerOf, makePod, sandboxOf } from "../builders/runtime.ts";
import { createReal, never, removePod } from "../support/runtime.ts";

const runtime = createReal();
const pod = makePod("exec");
let id = "";

/** Whether a process of the machine has exactly these arguments. */
function isRunning(...args: readonly string[]): boolean {
  const wanted = `${args.join("\0")}\0`;
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .some((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8") === wanted;
      } catch {
        return false;
      }
    });
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await wait(20);
}

beforeAll(async () => {
  const sandbox = await runtime.runSandbox(sandboxOf(pod), never());
  id = await runtime.createContainer(containerOf(pod, sandbox.id), never());
  await runtime.startContainer(id, never());
});

afterAll(() => removePod(runtime, pod));

describe("a command", () => {
  it("tells its output and exit code", async () => {
    const command = ["sh", "-c", "hostname; echo no >&2; exit 3"];
    const { exitCode, output } = await runtime.execSync(id, command, 5000, never());
    expect(exitCode).toBe(3);
    expect(output.split("\n").sort()).toEqual(["", "no", pod.name]);
  });

  it("is killed with its children when its time is up", async () => {
    const hung = runtime.execSync(id, ["sh", "-c", "sleep 7771; true"], 400, never());
    await expect(hung).rejects.toMatchObject({ code: "CommandTimeout" });
    await until(() => !isRunning("sleep", "7771"));
  });

  it("is killed when the caller gives up", async () => {
    const giving = new AbortController();
    const hung = runtime.execSync(id, ["sh", "-c", "sleep 7772; true"], 60_000, giving.signal);
    const outcome = expect(hung).rejects.toMatchObject({ code: "Aborted" });
    await until(() => isRunning("sleep", "7772"));
    giving.abort();
    await outcome;
    await until(() => !isRunning("sleep", "7772"));
  });

  // A hundred commands take minutes on a machine that does much else.
  const patient = { timeout: 600_000 };
  it("that is given up at any moment of its start leaves no process", patient, async () => {
    const giveUp = async (attempt: number): Promise<void> => {
      const giving = new AbortController();
      const afterMs = attempt % 81;
      const [code, timeoutMs] =
        attempt % 2 === 0 ? ["Aborted", 60_000] : ["CommandTimeout", afterMs];
      const command = ["sleep", `${80_000 + attempt}`];
      const hung = runtime.execSync(id, command, timeoutMs, giving.signal);
      const outcome = expect(hung).rejects.toMatchObject({ code });
      if (code === "Aborted") void wait(afterMs).then(() => giving.abort());
      await outcome;
      expect(isRunning(...command)).toBe(false);
    };
    const attempts = Array.from({ length: 100 }, (_, attempt) => attempt);
    for (let first = 0; first < 100; first += 4)
      await Promise.all(attempts.slice(first, first + 4).map(giveUp));
    await wait(1_000);
    expect(attempts.filter((attempt) => isRunning("sleep", `${80_000 + attempt}`))).toEqual([]);
  });

  it("lets go of the streams when the signal fires in the middle, and can be killed then", async () => {
    const giving = new AbortController();
    const request = { command: ["sleep", "7773"], tty: false, stdin: true };
    const session = await runtime.exec(id, request, giving.signal);
    await until(() => isRunning("sleep", "7773"));
    giving.abort();
    expect(await text(session.stdout)).toBe("");
    expect(await text(session.stderr)).toBe("");
    expect(await session.exitCode).toBe(137);
    await session.kill();
    await until(() => !isRunning("sleep", "7773"));
  });

  it("that closes its outputs is waited for", async () => {
    const command = ["sh", "-c", "exec >&- 2>&-; sleep 0.5; exit 9"];
    const { exitCode } = await runtime.execSync(id, command, 10_000, never());
    expect(exitCode).toBe(9);
  });

  it("may write byte by byte", async () => {
    const request = {
      command: ["sh", "-c", "i=0; while [ $i -lt 20000 ]; do printf x; i=$((i+1)); done"],
      ...{ tty: false, stdin: false },
    };
    const session = await runtime.exec(id, request, never());
    // Let the frames gather in the socket.
    await wait(1000);
    session.stderr.resume();
    expect(await text(session.stdout)).toBe("x".repeat(20_000));
    expect(await session.exitCode).toBe(0);
  });

  it("echoes what it reads, to the end of its input", async () => {
    const session = await runtime.exec(id, { command: ["cat"], tty: false, stdin: true }, never());
    session.stderr.resume();
    const sent = "0123456789abcdef".repeat(262_144);
    session.stdin.end(sent);
    expect((await text(session.stdout)) === sent).toBe(true);
    expect(await session.exitCode).toBe(0);
  });

  it("that does not exist fails in the Engine's words while input is written", async () => {
    const request = { command: ["/missing"], tty: false, stdin: true };
    const session = await runtime.exec(id, request, never());
    const errors: Error[] = [];
    session.stdin.on("error", (error) => errors.push(error));
    const writing = setInterval(() => session.stdin.write(Buffer.alloc(65_536)), 1);
    try {
      const [out, err] = await Promise.all([text(session.stdout), text(session.stderr)]);
      expect(`${out}${err}`).toMatch(/no such file or directory/);
      expect(await session.exitCode).toBeGreaterThan(125);
    } finally {
      clearInterval(writing);
    }
    const sync = await runtime.execSync(id, ["/missing"], 5000, never());
    expect(sync.exitCode).toBeGreaterThan(125);
  });

  it("that ends before its input does not take the agent with it", async () => {
    const request = { command: ["true"], tty: false, stdin: true };
    const session = await runtime.exec(id, request, never());
    session.stdout.resume();
    session.stderr.resume();
    const writing = setInterval(() => session.stdin.write(Buffer.alloc(65_536)), 1);
    expect(await session.exitCode).toBe(0);
    await wait(50);
    clearInterval(writing);
  });

  it("in a container that is not there fails", async () => {
    const gone = runtime.execSync("0".repeat(64), ["true"], 5000, never());
    await expect(gone).rejects.toMatchObject({ code: "EngineNotFound" });
  });
});

describe("a terminal", () => {
  it("has the size it is given, at once and later", async () => {
    const command = [
      "sh",
      "-c",
      "sleep 0.2; stty size; trap 'stty size; exit 5' WINCH; sleep 60 & wait",
    ];
    const session = await runtime.exec(id, { command, tty: true, stdin: true }, never());
    await session.resize(100, 40);
    let output = "";
    const ended = new Promise<void>((resolve) => session.stdout.on("end", resolve));
    session.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (output === "40 100\r\n") void wait(100).then(() => session.resize(90, 30));
    });
    await ended;
    expect(output).toBe("40 100\r\n30 90\r\n");
    expect(await session.exitCode).toBe(5);
    await session.resize(1, 1);
  });

  it("passes on what is typed, and is killed", async () => {
    const session = await runtime.exec(id, { command: ["sh"], tty: true, stdin: true }, never());
    let output = "";
    session.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    session.stdin.write("echo $((40+2))\n");
    await until(() => output.includes("\r\n42\r\n"));
    expect(await text(session.stderr)).toBe("");
    await session.kill();
    expect(await session.exitCode).toBe(137);
  });
});
