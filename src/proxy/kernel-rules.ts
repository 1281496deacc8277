/**
 * The proxy's rules as the kernel has them: writes changes and whole rule sets through iptables, hooks the chains into the
 * built-in ones, and looks whether all is still there. Decides nothing about when or again: that is proxier.ts, which owns it.
 */

import type { Iptables, Table } from "../core/iptables.ts";
import { CANARY, CANARY_TABLES, FIREWALL, FIREWALL_JUMPS, JUMPS } from "./chains.ts";
import { chainsOf, type RuleChange, renderChange } from "./render.ts";
import type { RuleSet } from "./rule.ts";
import { computeFullChange } from "./rule-book.ts";
import { findDifference } from "./verify.ts";

export class KernelRules {
  readonly #iptables: Iptables;

  constructor(iptables: Iptables) {
    this.#iptables = iptables;
  }

  async write(change: RuleChange, signal: AbortSignal): Promise<void> {
    for (const text of renderChange(change)) await this.#iptables.restore(text, signal);
  }

  /** Over whatever is there: chains of former times go, and jumps are made once what they lead to is complete. */
  async writeAll(rules: RuleSet, signal: AbortSignal): Promise<RuleChange> {
    const change = computeFullChange(rules, {
      filter: chainsOf(await this.#iptables.save("filter", signal)),
      nat: chainsOf(await this.#iptables.save("nat", signal)),
    });
    await this.write(change, signal);
    await this.#iptables.ensureChain("filter", FIREWALL, signal);
    for (const jump of [...JUMPS, ...FIREWALL_JUMPS]) await this.#iptables.ensureJump(jump, signal);
    for (const table of CANARY_TABLES) await this.#iptables.ensureChain(table, CANARY, signal);
    return change;
  }

  /** A chain that is not what it should be, or undefined. Reads everything, so not often. */
  async findDifference(rules: RuleSet, signal: AbortSignal): Promise<string | undefined> {
    return findDifference(rules, {
      filter: await this.#iptables.save("filter", signal),
      nat: await this.#iptables.save("nat", signal),
    });
  }

  /** The table that somebody flushed, or undefined. */
  async findLostCanary(signal: AbortSignal): Promise<Table | undefined> {
    for (const table of CANARY_TABLES)
      if ((await this.#iptables.list(table, CANARY, signal)) === undefined) return table;
    return undefined;
  }
}
