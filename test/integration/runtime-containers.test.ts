/** Containers of a real Engine: how they end, what they are given, and their logs. */

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Container, ContainerConfig, LogOptions } from "../../src/runtime/runtime.ts";
import { containerOf, makePod, sandboxOf } from "../builders/runtime.ts";
import { createReal, never, removePod } from "../support/runtime.ts";

const runtime = createReal();
const pod = makePod("containers");
const dir = mkdtempSync(join(tmpdir(), "runtime2-mounts-"));
let sandboxId = "";
let attempt = 0;

beforeAll(async () => {
  sandboxId = (await runtime.runSandbox(sandboxOf(pod), never())).id;
});

afterAll(async () => {
  await removePod(runtime, pod);
  rmSync(dir, { recursive: true, force: true });
});

async function start(change: Partial<ContainerConfig>): Promise<string> {
  attempt += 1;
  const id = await runtime.createContainer(
    containerOf(pod, sandboxId, { attempt, ...change }),
    never(),
  );
  await runtime.startContainer(id, never());
  return id;
}

async function look(id: string): Promise<Container> {
  const { containers } = await runtime.list(never(), pod.uid);
  return containers.find((one) => one.id === id) as Container;
}

async function read(id: string, options: LogOptions): Promise<string> {
  let lines = "";
  for await (const { stream, data } of runtime.logs(id, options, never()))
    lines += `${stream === "stdout" ? "" : "!"}${data.toString()}`;
  return lines;
}

/** Runs to the end: following its log waits for that. */
async function run(change: Partial<ContainerConfig>): Promise<{ id: string; output: string }> {
  const id = await start(change);
  return { id, output: await read(id, { follow: true }) };
}

const sh = (script: string): readonly string[] => ["sh", "-c", script];

describe("a container", () => {
  it("tells how it ended", async () => {
    const { id } = await run({ command: sh("exit 7") });
    const seen = await look(id);
    expect(seen).toMatchObject({
      state: "exited",
      exitCode: 7,
      pid: 0,
      oomKilled: false,
      error: "",
    });
    expect(seen.startedAt).toBeGreaterThanOrEqual(seen.createdAt);
    expect(seen.finishedAt).toBeGreaterThanOrEqual(seen.startedAt);
  });

  it("that takes more memory than its limit is told as killed for it", async () => {
    const command = sh("x=$(head -c 67108864 /dev/zero | tr '\\0' x); echo held");
    const resources = { cpuShares: 2, memoryBytes: 16 * 1024 * 1024 };
    const { id } = await run({ command, resources });
    expect(await look(id)).toMatchObject({ exitCode: 137, oomKilled: true });
  });

  it("whose program is missing says so when started", async () => {
    attempt += 1;
    const config = containerOf(pod, sandboxId, { attempt, command: ["/missing"] });
    const id = await runtime.createContainer(config, never());
    await expect(runtime.startContainer(id, never())).rejects.toMatchObject({
      code: "ContainerStartFailed",
      message: expect.stringContaining('exec: "/missing"'),
    });
    expect(await look(id)).toMatchObject({ state: "created", exitCode: 127 });
  });

  it("gets its environment, user, groups, folder and rights", async () => {
    const { output } = await run({
      command: sh('echo $A; id -u; id -G; pwd; grep -E "CapEff|NoNewPrivs" /proc/self/status'),
      ...{ env: ["A=1 2"], user: "1000:2000", supplementalGroups: ["3000"], workingDir: "/etc" },
      ...{ dropCapabilities: ["ALL"], noNewPrivileges: true },
    });
    const words = output.replaceAll("\t", " ").split("\n");
    expect(words).toEqual([
      ...["1 2", "1000", "2000 3000", "/etc", "CapEff: 0000000000000000", "NoNewPrivs: 1", ""],
    ]);
  });

  it("sees what is mounted, and writes only where it may", async () => {
    writeFileSync(join(dir, "file"), "here\n");
    const propagation = "private" as const;
    const { output } = await run({
      command: sh("cat /ro/file; touch /ro/no 2>&1; echo new > /rw/made; echo root > /root/x 2>&1"),
      readOnlyRootfs: true,
      mounts: [
        { hostPath: dir, containerPath: "/ro", readOnly: true, propagation },
        { hostPath: dir, containerPath: "/rw", readOnly: false, propagation },
      ],
    });
    // The shell's own complaint goes to the other stream, which may come in between.
    const stdout = output.split("\n").filter((line) => !line.includes("can't create"));
    expect(stdout.join("\n")).toMatch(/^here\ntouch: \/ro\/no: Read-only file system$/m);
    expect(output).toMatch(/can't create \/root\/x: Read-only file system/);
    expect(readFileSync(join(dir, "made"), "utf8")).toBe("new\n");
  });

  it("is refused a mount of what is missing, and nothing is made in its place", async () => {
    const hostPath = join(dir, "missing");
    const mount = {
      hostPath,
      containerPath: "/x",
      readOnly: false,
      propagation: "private" as const,
    };
    await expect(start({ mounts: [mount] })).rejects.toThrow(/bind source path does not exist/);
    expect(statSync(hostPath, { throwIfNoEntry: false })).toBeUndefined();
  });
});

describe("logs", () => {
  const script = "for i in 1 2 3; do echo out$i; sleep 0.05; echo err$i >&2; sleep 0.05; done";

  it("end when a followed container ends, and can be read again by tail and time", async () => {
    const { id, output } = await run({ command: sh(script) });
    const all = "out1\n!err1\nout2\n!err2\nout3\n!err3\n";
    expect(output).toBe(all);
    expect(await read(id, { follow: false })).toBe(all);
    expect(await read(id, { follow: false, tail: 2 })).toBe("out3\n!err3\n");
    expect(await read(id, { follow: false, tail: 0 })).toBe("");
    expect(await read(id, { follow: false, tail: 99 })).toBe(all);
    const times: number[] = [];
    for await (const { time } of runtime.logs(id, { follow: false }, never()))
      times.push(Date.parse(time));
    const sinceMs = (times[3] as number) - 1;
    expect(await read(id, { follow: false, sinceMs })).toBe("!err2\nout3\n!err3\n");
    expect(await read(id, { follow: false, sinceMs, tail: 1 })).toBe("!err3\n");
    expect(await read(id, { follow: false, sinceMs, tail: 5 })).toBe("!err2\nout3\n!err3\n");
    expect(await read(id, { follow: false, sinceMs: (times[5] as number) + 60_000 })).toBe("");
  });

  it("of a terminal are lines of one stream, however long", async () => {
    const long = "head -c 200000 /dev/zero | tr '\\0' x";
    const { id } = await run({ command: sh(`echo one; echo two >&2; ${long}; echo`), tty: true });
    const records = [];
    for await (const record of runtime.logs(id, { follow: false }, never())) records.push(record);
    expect(records.slice(0, 2).map(({ data }) => data.toString())).toEqual(["one\r\n", "two\r\n"]);
    expect(records.every(({ time }) => !Number.isNaN(Date.parse(time)))).toBe(true);
    const text = records.map(({ data }) => data.toString()).join("");
    expect(text.replace(/[^x]/g, "").length).toBe(200_000);
  });

  it("stop being followed when the signal fires", async () => {
    const id = await start({ command: sh("echo up; sleep 1000") });
    const giving = new AbortController();
    const seen: string[] = [];
    for await (const { data } of runtime.logs(id, { follow: true }, giving.signal)) {
      seen.push(data.toString());
      giving.abort();
    }
    expect(seen).toEqual(["up\n"]);
    await runtime.stopContainer(id, 0, never());
  });

  it("are read without being held", async () => {
    const { id } = await run({
      command: sh("yes $(head -c 500 /dev/zero | tr '\\0' y) | head -c 40000000"),
    });
    let peak = 0;
    let bytes = 0;
    const before = process.memoryUsage().rss;
    for await (const { data } of runtime.logs(id, { follow: false }, never())) {
      bytes += data.length;
      peak = Math.max(peak, process.memoryUsage.rss());
    }
    expect(bytes).toBeGreaterThan(20_000_000);
    expect(peak - before).toBeLessThan(60_000_000);
  });
});
