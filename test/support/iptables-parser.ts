/**
 * Reads the text of iptables-restore and iptables-save: tables, chains, rules as words, deletions. Throws on a line it
 * does not understand, so that nothing in a test is skipped unseen. Used by the packet tracer and the fake iptables.
 */

export interface ParsedRule {
  readonly chain: string;
  /** Everything after the chain's name, unquoted. */
  readonly words: readonly string[];
}

export interface ParsedTable {
  /** Chains in the order of their `:` lines. */
  readonly chains: readonly string[];
  readonly rules: readonly ParsedRule[];
  /** Put in front one after the other, so that the last one is first. */
  readonly inserted: readonly ParsedRule[];
  readonly deleted: readonly string[];
}

export function parseRestore(text: string): ReadonlyMap<string, ParsedTable> {
  const tables = new Map<string, ParsedTable>();
  type Open = { name: string; chains: string[]; deleted: string[] } & Record<
    "rules" | "inserted",
    ParsedRule[]
  >;
  let open: Open | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "" || line.startsWith("#")) continue;
    if (line.startsWith("*")) {
      if (open !== undefined)
        throw new Error(`line ${index + 1}: table ${open.name} has no COMMIT`);
      open = { name: line.slice(1), chains: [], rules: [], inserted: [], deleted: [] };
      continue;
    }
    if (open === undefined) throw new Error(`line ${index + 1} is outside of a table: ${line}`);
    const [command = "", chain = "", ...words] = splitWords(line);
    if (command === "COMMIT") {
      tables.set(open.name, open);
      open = undefined;
    } else if (command.startsWith(":")) open.chains.push(command.slice(1));
    else if (command === "-A") open.rules.push({ chain, words });
    else if (command === "-I") open.inserted.push({ chain, words });
    else if (command === "-X") open.deleted.push(chain);
    else throw new Error(`line ${index + 1} is not understood: ${line}`);
  }
  if (open !== undefined) throw new Error(`table ${open.name} has no COMMIT`);
  return tables;
}

/** Splits at blanks outside double quotes; a backslash inside them takes the next character as it is. */
export function splitWords(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(
    ([, quoted, plain]) => plain ?? (quoted ?? "").replace(/\\(.)/g, "$1"),
  );
}

/** The target of a rule, or undefined when it has none. */
export function targetOf(words: readonly string[]): string | undefined {
  const at = words.indexOf("-j");
  return at < 0 ? undefined : words[at + 1];
}
