/**
 * Reads what `iptables-save -c` prints: tables, chains with their policy, rules as words with their packet counters.
 * Pure. Other programs' rules are in it too, so nothing is refused but text that is no such listing.
 */

import { LongshoreError } from "../../core/errors.ts";

export interface SavedRule {
  readonly chain: string;
  /** As the kernel has it, with `-A CHAIN`. */
  readonly text: string;
  readonly packets: number;
}

export interface SavedChain {
  /** What becomes of a packet at its end; `-` = it goes back to where it came from. */
  readonly policy: string;
  readonly rules: readonly SavedRule[];
}

/** Table → chain. */
export type SavedRules = ReadonlyMap<string, ReadonlyMap<string, SavedChain>>;

export function parseSavedRules(text: string): SavedRules {
  const tables = new Map<string, Map<string, { policy: string; rules: SavedRule[] }>>();
  let table = new Map<string, { policy: string; rules: SavedRule[] }>();
  for (const [index, line] of text.split("\n").entries()) {
    const match =
      /^(?:\*(\S+)|:(\S+) (\S+).*|(?:\[(\d+):\d+\] )?(-A (\S+).*)|COMMIT|#.*|\s*)$/.exec(line);
    if (match === null)
      throw new LongshoreError("CommandFailed", `line ${index + 1} of iptables-save: ${line}`);
    const [, name, chain, policy = "-", packets, rule, ruleChain = ""] = match;
    if (name !== undefined) {
      table = new Map();
      tables.set(name, table);
    } else if (chain !== undefined) table.set(chain, { policy, rules: [] });
    else if (rule !== undefined)
      table
        .get(ruleChain)
        ?.rules.push({ chain: ruleChain, text: rule, packets: Number(packets ?? 0) });
  }
  return tables;
}

/** Splits at blanks outside double quotes; a backslash inside them takes the next character as it is. */
export function splitWords(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(
    ([, quoted, plain]) => plain ?? (quoted ?? "").replace(/\\(.)/g, "$1"),
  );
}
