/**
 * Whether the kernel still holds what it was given: compares iptables-save with the rule set by what decides a rule's
 * effect (addresses, interface, protocol, port, target) and not by its text, which iptables writes in its own way. Pure.
 * Called by the proxier once an hour.
 */

import { type Chains, RULE_TABLES, type Rule, type RuleSet, type RuleTable } from "./rule.ts";

/** A chain that is not as it should be, for the log; undefined when all are. */
export function findDifference(
  rules: RuleSet,
  saved: Readonly<Record<RuleTable, string>>,
): string | undefined {
  for (const table of RULE_TABLES) {
    const name = firstDifference(rules[table], saved[table]);
    if (name !== undefined) return `${table} ${name}`;
  }
  return undefined;
}

function firstDifference(wanted: Chains, saved: string): string | undefined {
  const found = new Map<string, string[]>();
  for (const line of saved.split("\n")) {
    if (line.startsWith(":")) found.set(line.slice(1, line.indexOf(" ")), []);
    if (!line.startsWith("-A ")) continue;
    const end = line.indexOf(" ", 3);
    found.get(line.slice(3, end))?.push(line.slice(end + 1));
  }
  for (const [name, rules] of wanted) {
    const there = found.get(name);
    if (there === undefined || there.length !== rules.length) return name;
    if (rules.some((rule, index) => effectOf(rule) !== effectOf(there[index] ?? ""))) return name;
  }
  return undefined;
}

const DECISIVE = /(! )?(?<!\S)(-[sdipj]|--dport|--to-destination) (\S+)/g;

function effectOf(rule: Rule): string {
  const text = rule.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  return [...text.matchAll(DECISIVE)]
    .map(
      ([, not = "", option, value = ""]) => `${not}${option} ${value.replace(/\/(32|128)$/, "")}`,
    )
    .sort()
    .join(" ");
}
