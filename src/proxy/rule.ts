/**
 * The vocabulary of the rule set: a rule is its text after the chain's name, a chain is its rules in order, a rule set
 * is the chains of both tables. Values only, so that a rule set can be compared, rendered, explained and traced.
 * Used by everything in proxy/.
 */

import { LongshoreError } from "../core/errors.ts";

/** One rule in iptables-restore's words, without `-A CHAIN`. */
export type Rule = string;

/** Chain → its rules, in order. A chain with no rules is there and empty. */
export type Chains = ReadonlyMap<string, readonly Rule[]>;

export type RuleTable = "filter" | "nat";

export type RuleSet = Readonly<Record<RuleTable, Chains>>;

export const RULE_TABLES: readonly RuleTable[] = ["filter", "nat"];

/** What is put together to a rule; the comment comes first, as kube-proxy does. */
export function rule(
  comment: string | undefined,
  match: readonly string[],
  ...target: readonly string[]
): Rule {
  const said = comment === undefined ? [] : ["-m", "comment", "--comment", comment];
  return [...said, ...match, ...target].map(quote).join(" ");
}

/** iptables-restore splits at blanks outside double quotes, and knows backslash inside them. */
function quote(argument: string): string {
  if (/^[\w!./:,=+@%[\]-]+$/.test(argument)) return argument;
  // A line break would end the rule and begin another: whoever builds rules must not have let it come this far.
  if (/\p{Cc}/u.test(argument))
    throw new LongshoreError("Bug", `a rule cannot hold ${JSON.stringify(argument)}`);
  return `"${argument.replace(/[\\"]/g, (character) => `\\${character}`)}"`;
}
