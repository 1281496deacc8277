/**
 * iptables in memory: tables, chains, rules as words. As strict as the kernel where the proxy depends on it: a restore
 * changes a table whole or not at all, jumps need their chain, and a chain that is jumped to cannot be deleted.
 * Held to the real one by test/contract/iptables.test.ts.
 */

import { LongshoreError } from "../../src/core/errors.ts";
import {
  type Iptables,
  type Jump,
  jumpArgs,
  restoreFailed,
  type Table,
} from "../../src/core/iptables.ts";
import { parseRestore, targetOf } from "../support/iptables-parser.ts";

type Chains = Map<string, string[][]>;

const BUILT_IN: Readonly<Record<Table, readonly string[]>> = {
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
};

const MATCHES = "addrtype comment conntrack mark recent sctp statistic tcp udp".split(" ");

const TARGETS = ["ACCEPT", "DROP", "REJECT", "RETURN", "MARK", "MASQUERADE", "DNAT"];

export class FakeIptables implements Iptables {
  readonly family = "IPv4";
  readonly #tables = new Map<Table, Chains>();
  /** Every text given to `restore`, also those that failed. */
  readonly restores: string[] = [];
  /** Extensions that rules may name with `-m`; a test takes one out to have its rules refused. */
  readonly matches = new Set(MATCHES);
  /** Errors that the next restores throw, first one first; undefined = that one works. */
  readonly failures: (Error | undefined)[] = [];

  constructor() {
    for (const table of ["filter", "nat", "mangle"] as const)
      this.#tables.set(table, new Map(BUILT_IN[table].map((chain) => [chain, []])));
  }

  async version() {
    return { version: "1.8.9", backend: "nft" } as const;
  }

  async isUsable(): Promise<boolean> {
    return true;
  }

  async restore(text: string): Promise<void> {
    this.restores.push(text);
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    for (const [index, line] of text.split("\n").entries())
      for (const [, match = ""] of line.matchAll(/ -m (\S+)/g))
        if (!this.matches.has(match))
          throw restoreFailed(
            "fake",
            text,
            `no match ${match}\nError occurred at line: ${index + 1}`,
          );
    for (const [name, parsed] of parseRestore(text)) {
      const next: Chains = new Map(
        [...this.#chains(name as Table)].map(([chain, rules]) => [chain, [...rules]]),
      );
      for (const chain of parsed.chains) next.set(chain, []);
      const at = (chain: string): string[][] => {
        const rules = next.get(chain);
        if (rules === undefined) throw refused(`no chain ${chain}`);
        return rules;
      };
      for (const { chain, words } of parsed.rules) at(chain).push([...words]);
      for (const { chain, words } of parsed.inserted) at(chain).unshift([...words]);
      for (const chain of parsed.deleted) deleteChain(next, chain);
      for (const [chain, rules] of next) checkTargets(next, chain, rules);
      this.#tables.set(name as Table, next);
    }
  }

  async save(table: Table): Promise<string> {
    const chains = [...this.#chains(table)];
    const heads = chains.map(([chain]) => `:${chain} - [0:0]\n`);
    const rules = chains.flatMap(([chain, all]) => all.map((words) => line(chain, words)));
    return `*${table}\n${heads.join("")}${rules.join("")}COMMIT\n`;
  }

  async list(table: Table, chain: string): Promise<string | undefined> {
    const rules = this.#chains(table).get(chain);
    if (rules === undefined) return undefined;
    const head = BUILT_IN[table].includes(chain) ? `-P ${chain} ACCEPT\n` : `-N ${chain}\n`;
    return head + rules.map((words) => line(chain, words)).join("");
  }

  async ensureChain(table: Table, chain: string): Promise<void> {
    const chains = this.#chains(table);
    if (!chains.has(chain)) chains.set(chain, []);
  }

  async ensureJump(jump: Jump, _signal?: AbortSignal, position = 1): Promise<void> {
    const chains = this.#chains(jump.table);
    const rules = chains.get(jump.from);
    if (rules === undefined || !chains.has(jump.to)) throw refused(`no chain for ${jump.to}`);
    if (rules.some((words) => isSame(words, jumpArgs(jump)))) return;
    if (position > rules.length + 1) throw refused(`position ${position} is too big`);
    rules.splice(position - 1, 0, [...jumpArgs(jump)]);
  }

  async removeJump(jump: Jump): Promise<void> {
    const rules = this.#chains(jump.table).get(jump.from) ?? [];
    const kept = rules.filter((words) => !isSame(words, jumpArgs(jump)));
    rules.splice(0, rules.length, ...kept);
  }

  /** What somebody else does to us: everything gone. */
  flush(): void {
    for (const [table, chains] of this.#tables) {
      chains.clear();
      for (const chain of BUILT_IN[table]) chains.set(chain, []);
    }
  }

  #chains(table: Table): Chains {
    const chains = this.#tables.get(table);
    if (chains === undefined) throw refused(`no table ${table}`);
    return chains;
  }
}

function deleteChain(chains: Chains, chain: string): void {
  if (!chains.delete(chain)) throw refused(`no chain ${chain}`);
  for (const rules of chains.values()) {
    if (rules.some((words) => targetOf(words) === chain))
      throw refused(`${chain} is still jumped to`);
  }
}

function checkTargets(chains: Chains, chain: string, rules: readonly string[][]): void {
  for (const words of rules) {
    const target = targetOf(words);
    if (target === undefined || TARGETS.includes(target) || chains.has(target)) continue;
    throw refused(`${chain} jumps to ${target}, which is not there`);
  }
}

function line(chain: string, words: readonly string[]): string {
  const quoted = words.map((word) => (/[^\w!./:,=+@%-]/.test(word) ? JSON.stringify(word) : word));
  return `${["-A", chain, ...quoted].join(" ")}\n`;
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((word, index) => word === b[index]);
}

function refused(words: string): LongshoreError {
  return new LongshoreError("CommandFailed", `fake iptables-restore: ${words}`);
}
