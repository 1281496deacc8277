/**
 * Text of a rule set, and the text that takes the kernel from one rendered set to another. Pure. A chain is the unit:
 * one whose rules changed is sent whole, one that is unchanged is not mentioned, one that is gone is flushed and
 * deleted in the same restore. Called by the proxier; the text goes to iptables-restore --noflush.
 */

import { isServiceChain } from "./chains.ts";
import type { Rule, RuleSet } from "./rule.ts";

/** Chain → the text of its rules, one `-A` line each. */
export type RenderedChains = ReadonlyMap<string, string>;

export interface RenderedRules {
  readonly filter: RenderedChains;
  readonly nat: RenderedChains;
}

export interface RestoreText {
  /** Empty when nothing is to be done. */
  readonly text: string;
  readonly changedChains: number;
  readonly deletedChains: number;
}

export function renderRules(rules: RuleSet): RenderedRules {
  return { filter: renderChains(rules.filter), nat: renderChains(rules.nat) };
}

export function renderRule(chain: string, rule: Rule): string {
  const comment = rule.comment === undefined ? [] : ["-m", "comment", "--comment", rule.comment];
  return ["-A", chain, ...[...comment, ...rule.match, ...rule.target].map(quote)].join(" ");
}

/** Everything, as the first sync sends it to an empty kernel. */
export function renderAll(rules: RenderedRules): string {
  return computeRestore(undefined, rules, []).text;
}

/**
 * @param known what the kernel holds for certain; undefined = unknown, so that everything is sent.
 * @param existing chains of the nat table seen in the kernel; the service chains among them that are not wanted go.
 */
export function computeRestore(
  known: RenderedRules | undefined,
  wanted: RenderedRules,
  existing: readonly string[],
): RestoreText {
  const stale = [...existing, ...(known?.nat.keys() ?? [])].filter(
    (chain) => isServiceChain(chain) && !wanted.nat.has(chain),
  );
  // The filter table first: what is about to lose its endpoints is refused before it falls through.
  const tables = [
    diffTable("filter", known?.filter, wanted.filter, []),
    diffTable("nat", known?.nat, wanted.nat, [...new Set(stale)]),
  ];
  return {
    text: tables.map((table) => table.text).join(""),
    changedChains: tables.reduce((sum, table) => sum + table.changedChains, 0),
    deletedChains: tables.reduce((sum, table) => sum + table.deletedChains, 0),
  };
}

/** Names of the chains in the output of iptables-save. */
export function chainsOf(saved: string): string[] {
  return [...saved.matchAll(/^:(\S+) /gm)].map((match) => match[1] ?? "");
}

function diffTable(
  table: string,
  known: RenderedChains | undefined,
  wanted: RenderedChains,
  stale: readonly string[],
): RestoreText {
  const changed = [...wanted].filter(([chain, text]) => known?.get(chain) !== text);
  const counts = { changedChains: changed.length, deletedChains: stale.length };
  if (changed.length === 0 && stale.length === 0) return { text: "", ...counts };
  const lines = [
    `*${table}`,
    ...[...changed.map(([chain]) => chain), ...stale].map((chain) => `:${chain} - [0:0]`),
    ...changed.map(([, text]) => text).filter((text) => text !== ""),
    ...stale.map((chain) => `-X ${chain}`),
    "COMMIT",
  ];
  return { text: `${lines.join("\n")}\n`, ...counts };
}

function renderChains(chains: ReadonlyMap<string, readonly Rule[]>): RenderedChains {
  return new Map(
    [...chains].map(([chain, rules]) => [
      chain,
      rules.map((rule) => renderRule(chain, rule)).join("\n"),
    ]),
  );
}

/** iptables-restore splits at blanks outside double quotes, and knows backslash inside them. */
function quote(argument: string): string {
  return /^[\w!./:,=+@%-]+$/.test(argument)
    ? argument
    : `"${argument.replace(/[\\"]/g, (character) => `\\${character}`)}"`;
}
