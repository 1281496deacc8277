/**
 * A network namespace that plays the node: every command of the code under test runs inside it, so that the host's
 * tables and links stay as they are. Pods are processes with a namespace of their own. Needs root and iproute2.
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { readlinkSync } from "node:fs";
import { systemClock } from "../../src/core/clock.ts";
import { createExec, type Exec } from "../../src/core/exec.ts";
import type { Logger } from "../../src/core/logger.ts";
import type { Sandbox } from "../../src/runtime/runtime.ts";

export const silentLog: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

/** A logger that keeps the messages of warnings and errors. */
export function recordingLog(): { readonly log: Logger; readonly messages: string[] } {
  const messages: string[] = [];
  const keep = (fields: object, message: string): void => {
    const err = (fields as { readonly err?: Error }).err?.message ?? "";
    messages.push(`${message} ${err}`.trim());
  };
  const log: Logger = { ...silentLog, warn: keep, error: keep, child: () => log };
  return { log, messages };
}

export class NodeNamespace {
  readonly #name: string;
  readonly #children: ChildProcess[] = [];

  /** @param serviceRange goes to a link nobody answers on, so that what no rule catches goes nowhere. */
  constructor(name: string, serviceRange: string) {
    this.#name = name;
    execFileSync("ip", ["netns", "add", name]);
    this.run("ip", "link", "set", "lo", "up");
    this.run("ip", "link", "add", "sink", "type", "veth", "peer", "name", "sink-end");
    this.run("ip", "link", "set", "sink-end", "up");
    this.run("ip", "address", "add", "192.0.2.1/24", "dev", "sink");
    this.run("ip", "link", "set", "sink", "up");
    this.run("ip", "route", "add", serviceRange, "dev", "sink");
  }

  get namespaceFile(): string {
    return `/run/netns/${this.#name}`;
  }

  get exec(): Exec {
    const exec = createExec(systemClock);
    return (command, signal) =>
      exec(
        {
          ...command,
          file: "ip",
          args: ["netns", "exec", this.#name, command.file, ...command.args],
        },
        signal,
      );
  }

  /** Runs a command on the node, and throws if it fails. */
  run(file: string, ...args: string[]): string {
    return execFileSync("ip", ["netns", "exec", this.#name, file, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Starts a process on the node that lives until `remove`. */
  spawn(file: string, ...args: string[]): void {
    this.#keep(spawn("ip", ["netns", "exec", this.#name, file, ...args], { stdio: "ignore" }));
  }

  /** A process in a network namespace of its own. */
  async makePod(id: string, ip: string): Promise<TestPod> {
    const child = this.#keep(spawn("unshare", ["-n", "sleep", "600"], { stdio: "ignore" }));
    const pid = child.pid ?? 0;
    const own = readlinkSync("/proc/self/ns/net");
    for (let i = 0; i < 200 && namespaceOf(pid) === own; i++) await pause(10);
    return new TestPod(pid, id, ip, (server) => this.#keep(server));
  }

  async remove(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    execFileSync("ip", ["netns", "del", this.#name]);
  }

  #keep(child: ChildProcess): ChildProcess {
    this.#children.push(child);
    return child;
  }
}

export class TestPod {
  readonly pid: number;
  readonly sandbox: Sandbox;
  readonly #keep: (child: ChildProcess) => ChildProcess;

  constructor(pid: number, id: string, ip: string, keep: (child: ChildProcess) => ChildProcess) {
    this.pid = pid;
    this.#keep = keep;
    this.sandbox = {
      id,
      pod: { namespace: "default", name: id, uid: id },
      attempt: 0,
      state: "ready",
      hostNetwork: false,
      ips: [ip],
      hostPorts: [],
      pid,
      createdAt: 0,
      annotations: {},
    };
  }

  run(file: string, ...args: string[]): string {
    return execFileSync("nsenter", ["-t", String(this.pid), "-n", file, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Starts a process in the pod that lives as long as the node. */
  spawn(file: string, ...args: string[]): void {
    this.#keep(
      spawn("nsenter", ["-t", String(this.pid), "-n", file, ...args], { stdio: "ignore" }),
    );
  }

  /** A TCP server that answers each connection with `<name> <address of the client as it sees it>`. */
  async serve(port: number, name: string): Promise<void> {
    const program = `require("net").createServer((s) => s.end("${name} " + s.remoteAddress)).listen(${port}, "0.0.0.0")`;
    this.spawn(process.execPath, "-e", program);
    for (let i = 0; i < 200; i++) {
      if (this.run("ss", "-ltnH").includes(`:${port} `)) return;
      await pause(20);
    }
    throw new Error(`${name} does not listen`);
  }
}

/** Connects from a place and returns what the server says, or `refused` or `timeout`. */
export function ask(
  from: { run(file: string, ...args: string[]): string },
  ip: string,
  port: number,
): string {
  try {
    return from.run("busybox", "nc", "-w", "2", ip, String(port)).trim();
  } catch (error) {
    const words = String((error as { readonly stderr?: string }).stderr ?? error);
    return /refused/i.test(words) ? "refused" : "timeout";
  }
}

/** The host's own rules, without counters and dates. */
export function hostRules(): string {
  return execFileSync("iptables-save", { encoding: "utf8" })
    .replace(/^#.*$/gm, "")
    .replace(/\[\d+:\d+\]/g, "");
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}
