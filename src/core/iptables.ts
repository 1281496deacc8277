/**
 * The iptables programs of one address family, as their two users need them: network (its own few chains) and proxy
 * (Kubernetes' chains). Text goes in by iptables-restore without flushing; jumps into built-in chains are checked
 * and prepended one at a time. Every run waits up to 5 s for the lock. A fake with the same behaviour is
 * test/fakes/iptables.ts; test/contract/iptables.test.ts holds both to one suite.
 */

import { LongshoreError } from "./errors.ts";
import { type Exec, execOk } from "./exec.ts";
import type { Family } from "./ip.ts";

export type Table = "filter" | "nat" | "mangle";

/** A jump from a chain into another; `match` comes before the comment, as `-C` compares the rules' text. */
export interface Jump {
  readonly table: Table;
  readonly from: string;
  readonly to: string;
  readonly match?: readonly string[];
  readonly comment?: string;
}

export interface IptablesVersion {
  readonly version: string;
  readonly backend: "nft" | "legacy";
}

export interface Iptables {
  readonly family: Family;
  /** Throws CommandMissing when the programs are not installed. */
  version(signal: AbortSignal): Promise<IptablesVersion>;
  /** True when rules of this family can be made on this host. */
  isUsable(signal: AbortSignal): Promise<boolean>;
  /** Feeds `text` to iptables-restore --noflush; each table is changed whole or not at all. */
  restore(text: string, signal: AbortSignal): Promise<void>;
  save(table: Table, signal: AbortSignal): Promise<string>;
  /** The rules of one chain, as `-S` prints them; undefined when there is no such chain. */
  list(table: Table, chain: string, signal: AbortSignal): Promise<string | undefined>;
  /** Idempotent. */
  ensureChain(table: Table, chain: string, signal: AbortSignal): Promise<void>;
  /** Idempotent; a new jump goes to `position`, 1 (the front) unless given. */
  ensureJump(jump: Jump, signal: AbortSignal, position?: number): Promise<void>;
  /** Removes every copy; absent is success. */
  removeJump(jump: Jump, signal: AbortSignal): Promise<void>;
}

const LOCK_WAIT = ["-w", "5"] as const;
const RUN_TIMEOUT_MS = 300_000;

/** The rule of a jump, without command and chain. */
export function jumpArgs(jump: Jump): readonly string[] {
  const comment = jump.comment === undefined ? [] : ["-m", "comment", "--comment", jump.comment];
  return [...(jump.match ?? []), ...comment, "-j", jump.to];
}

export function createIptables(options: {
  readonly exec: Exec;
  readonly family: Family;
}): Iptables {
  const { exec, family } = options;
  const program = family === "IPv4" ? "iptables" : "ip6tables";
  const run = (table: Table, args: readonly string[], signal: AbortSignal) =>
    exec(
      { file: program, args: [...LOCK_WAIT, "-t", table, ...args], timeoutMs: RUN_TIMEOUT_MS },
      signal,
    );
  /** Exit status 1 answers "no"; anything else but 0 is a failure to ask. */
  const ask = async (table: Table, args: readonly string[], signal: AbortSignal) => {
    const result = await run(table, args, signal);
    if (result.code > 1) {
      throw new LongshoreError(
        "CommandFailed",
        `${program} -t ${table} ${args.join(" ")} ended with ${result.code}: ${result.stderr.trim()}`,
      );
    }
    return result;
  };
  const must = (table: Table, args: readonly string[], signal: AbortSignal) =>
    execOk(exec, { file: program, args: [...LOCK_WAIT, "-t", table, ...args] }, signal);

  return {
    family,
    async version(signal) {
      const text = await execOk(exec, { file: program, args: ["--version"] }, signal);
      const version = /v(\d+(?:\.\d+)*)/.exec(text)?.[1] ?? "0";
      return { version, backend: text.includes("nf_tables") ? "nft" : "legacy" };
    },
    async isUsable(signal) {
      return (await run("nat", ["-S", "POSTROUTING"], signal)).code === 0;
    },
    async restore(text, signal) {
      const args = [...LOCK_WAIT, "--noflush", "--counters"];
      const file = `${program}-restore`;
      const result = await exec({ file, args, input: text, timeoutMs: RUN_TIMEOUT_MS }, signal);
      if (result.code !== 0) throw restoreFailed(file, text, result.stderr);
    },
    save: (table, signal) => execOk(exec, { file: `${program}-save`, args: ["-t", table] }, signal),
    async list(table, chain, signal) {
      const result = await ask(table, ["-S", chain], signal);
      return result.code === 0 ? result.stdout : undefined;
    },
    async ensureChain(table, chain, signal) {
      const made = await ask(table, ["-N", chain], signal);
      if (made.code === 0) return;
      await must(table, ["-S", chain], signal);
    },
    async ensureJump(jump, signal, position = 1) {
      const check = await ask(jump.table, ["-C", jump.from, ...jumpArgs(jump)], signal);
      if (check.code === 0) return;
      await must(jump.table, ["-I", jump.from, String(position), ...jumpArgs(jump)], signal);
    },
    async removeJump(jump, signal) {
      const args = ["-D", jump.from, ...jumpArgs(jump)];
      // A chain that does not exist gives 1 or 2, by version: the same answer as a rule that does not exist.
      while ((await run(jump.table, args, signal)).code === 0);
    },
  };
}

/** The line of a restore's text that was refused, where the program named one. */
export function refusedLineOf(error: LongshoreError): string | undefined {
  return error.cause instanceof RefusedLine ? error.cause.text : undefined;
}

class RefusedLine {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Names the line iptables-restore stumbled over, with one line before and after it. */
export function restoreFailed(file: string, text: string, stderr: string): LongshoreError {
  const number = Number(/line:? (\d+)/.exec(stderr)?.[1] ?? 0);
  const words = `${file}: ${stderr.trim().replace(/\s+/g, " ").slice(0, 1000)}`;
  if (number === 0) return new LongshoreError("CommandFailed", words);
  const lines = text.split("\n");
  const around = lines.slice(Math.max(0, number - 2), number + 1).join(" | ");
  const cause = new RefusedLine(lines[number - 1] ?? "");
  return new LongshoreError("CommandFailed", `${words}: ${around}`, { cause });
}
