/**
 * The proxy's rules as the kernel has them: writes changes and whole rule sets through iptables, hooks the chains into the
 * built-in ones, and looks whether all is still there. Decides nothing about when or again: that is proxier.ts, which owns it.
 */

import type { Iptables, Table } from "../core/iptables.ts";
import { CANARY, CANARY_TABLES } from "./chains.ts";
import type { RuleCounts } from "./observer.ts";
import { type OnLeftOut, writeWithoutRefused } from "./refusals.ts";
import { chainsOf, type RuleChange, renderChange, renderHooks } from "./render.ts";
import type { RuleSet, RuleTable } from "./rule.ts";
import { computeFullChange, type RuleBook } from "./rule-book.ts";
import { findDifference } from "./verify.ts";

export class KernelRules {
  readonly #iptables: Iptables;

  constructor(iptables: Iptables) {
    this.#iptables = iptables;
  }

  /**
   * What changed since the book was last written.
   * @returns how many rules were sent
   */
  async write(book: RuleBook, onLeftOut: OnLeftOut, signal: AbortSignal): Promise<RuleCounts> {
    return this.#send(book, book.take(), { onLeftOut, signal });
  }

  /** Over whatever is there: chains of former times go, and jumps are made once what they lead to is complete. */
  async writeAll(book: RuleBook, onLeftOut: OnLeftOut, signal: AbortSignal): Promise<RuleCounts> {
    book.take();
    const saved = {
      filter: await this.#iptables.save("filter", signal),
      nat: await this.#iptables.save("nat", signal),
    };
    const existing = { filter: chainsOf(saved.filter), nat: chainsOf(saved.nat) };
    const change = computeFullChange(book.rules, existing);
    const written = await this.#send(book, change, { onLeftOut, signal });
    const hooks = renderHooks(book.rules, saved);
    if (hooks !== "") await this.#iptables.restore(hooks, signal);
    await this.#iptables.ensureChain("mangle", CANARY, signal);
    return written;
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

  async #send(
    book: RuleBook,
    change: RuleChange,
    by: { readonly onLeftOut: OnLeftOut; readonly signal: AbortSignal },
  ): Promise<RuleCounts> {
    const send = async (each: RuleChange): Promise<void> => {
      for (const text of renderChange(each)) await this.#iptables.restore(text, by.signal);
    };
    const sent = await writeWithoutRefused(book, change, { send, onLeftOut: by.onLeftOut });
    const count = (table: RuleTable) =>
      sent[table].changed.values().reduce((sum, rules) => sum + rules.length, 0);
    return { filter: count("filter"), nat: count("nat") };
  }
}
