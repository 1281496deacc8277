/**
 * Text for iptables-restore --noflush: of a whole rule set, and of what takes the kernel from one to another, in bounded
 * pieces. Pure. A chain is the unit: one whose rules changed is sent whole, one that is gone is flushed and deleted.
 * Chains that are jumped to are sent before those that jump to them, and deleted after, so that what the kernel holds
 * between two pieces is valid. Called by the proxier, `longshore proxy render` and tests.
 */

import { jumpArgs, type Table } from "../core/iptables.ts";
import * as chain from "./chains.ts";
import { dispatchBits } from "./dispatch.ts";
import { type Chains, RULE_TABLES, type Rule, type RuleSet, type RuleTable, rule } from "./rule.ts";

/** What changes in a table. */
export interface TableChange {
  /** Chains that are new or different, with all their rules. */
  readonly changed: Chains;
  /** Chains that nothing jumps to once `changed` is written. */
  readonly removed: readonly string[];
}

export type RuleChange = Readonly<Record<RuleTable, TableChange>>;

/** Both changes, the later one after the earlier, as one; also when the earlier one got no further than half. */
export function mergeChanges(earlier: RuleChange, later: RuleChange): RuleChange {
  const merge = (a: TableChange, b: TableChange): TableChange => {
    const gone = new Set(b.removed);
    const changed = new Map([...a.changed, ...b.changed].filter(([name]) => !gone.has(name)));
    const removed = new Set([...a.removed, ...b.removed].filter((name) => !changed.has(name)));
    return { changed, removed: [...removed] };
  };
  return { filter: merge(earlier.filter, later.filter), nat: merge(earlier.nat, later.nat) };
}

/** The exact input of iptables-restore that writes all of a rule set. */
export function renderRuleSet(rules: RuleSet): string {
  return RULE_TABLES.map((table) =>
    renderTable(table, { changed: new Map(leavesFirst(rules[table])), removed: [] }),
  ).join("");
}

/** More lines than this make a piece; nft's time for one transaction grows faster than its size. */
const PIECE_LINES = 2500;

/**
 * Restore inputs, to be given to the kernel one after the other. What fits into one piece is one, so that a usual change
 * happens at once.
 */
export function* renderChange(change: RuleChange): Generator<string> {
  const size = RULE_TABLES.reduce((sum, table) => sum + sizeOf(change[table]), 0);
  if (size <= PIECE_LINES) {
    // The filter table first: what is about to lose its endpoints is refused before it falls through.
    const text = RULE_TABLES.map((table) => renderTable(table, change[table])).join("");
    if (text !== "") yield text;
    return;
  }
  for (const table of RULE_TABLES) yield* renderPieces(table, change[table]);
}

/** Restore inputs that delete chains, whatever jumps there are between them. */
export function renderRemoval(table: Table, chains: readonly string[]): Iterable<string> {
  return renderPieces(table, { changed: new Map(), removed: chains });
}

/**
 * Restore input that makes what is missing of jumps, canaries and KUBE-FIREWALL. One run, where a look and an insertion for
 * each would be thirty.
 * @param saved iptables-save before `rules` were written
 */
export function renderHooks(rules: RuleSet, saved: Readonly<Record<RuleTable, string>>): string {
  return RULE_TABLES.map((table) => {
    const lines = new Set(saved[table].split("\n"));
    const chains = new Set([...chainsOf(saved[table]), ...rules[table].keys()]);
    // A flushed KUBE-FIREWALL would be without a kubelet's rules.
    const wanted = table === "filter" ? [chain.CANARY, chain.FIREWALL] : [chain.CANARY];
    const missing = [
      ...wanted.filter((name) => !chains.has(name)).map((name) => `:${name} - [0:0]`),
      ...[...chain.JUMPS, ...chain.FIREWALL_JUMPS]
        .filter((jump) => jump.table === table)
        .map((jump) => ({ from: jump.from, text: rule(undefined, jumpArgs(jump)) }))
        .filter(({ from, text }) => !lines.has(`-A ${from} ${text}`))
        .map(({ from, text }) => `-I ${from} ${text}`),
    ];
    return missing.length === 0 ? "" : [`*${table}`, ...missing, "COMMIT\n"].join("\n");
  }).join("");
}

/** Names of the chains in the output of iptables-save. */
export function chainsOf(saved: string): string[] {
  return [...saved.matchAll(/^:(\S+) /gm)].map((match) => match[1] ?? "");
}

function* renderPieces(table: Table, { changed, removed }: TableChange): Generator<string> {
  for (const piece of inPieces(leavesFirst(changed), ([, rules]) => rules.length + 1))
    yield renderTable(table, { changed: new Map(piece), removed: [] });
  // Nothing reaches them any more, but they may jump to each other: all are emptied before the first one goes.
  for (const piece of inPieces(removed, () => 1))
    yield renderTable(table, { changed: new Map(piece.map((name) => [name, []])), removed: [] });
  for (const piece of inPieces(removed, () => 1))
    yield renderTable(table, { changed: new Map(), removed: piece });
}

function* inPieces<T>(all: Iterable<T>, linesOf: (one: T) => number): Generator<readonly T[]> {
  let piece: T[] = [];
  let lines = 0;
  for (const one of all) {
    if (lines > 0 && lines + linesOf(one) > PIECE_LINES) {
      yield piece;
      piece = [];
      lines = 0;
    }
    piece.push(one);
    lines += linesOf(one);
  }
  if (piece.length > 0) yield piece;
}

function sizeOf({ changed, removed }: TableChange): number {
  let lines = 2 * removed.length;
  for (const rules of changed.values()) lines += rules.length + 1;
  return lines;
}

function renderTable(table: Table, { changed, removed }: TableChange): string {
  if (changed.size === 0 && removed.length === 0) return "";
  const parts = ["*", table, "\n"];
  for (const name of [...changed.keys(), ...removed]) parts.push(":", name, " - [0:0]\n");
  for (const [name, rules] of changed)
    for (const rule of rules) parts.push("-A ", name, " ", rule, "\n");
  for (const name of removed) parts.push("-X ", name, "\n");
  parts.push("COMMIT\n");
  return parts.join("");
}

/** Sorted by how far a chain is from the last one of a way through it. */
function leavesFirst(chains: Chains): [string, readonly Rule[]][] {
  return [...chains].sort(([a], [b]) => distanceOf(a) - distanceOf(b) || (a < b ? -1 : 1));
}

function distanceOf(name: string): number {
  if (name === chain.MARK_MASQ) return 0;
  if (name === chain.NODEPORTS) return 900;
  if (!chain.isServiceChain(name)) return 901;
  const bits = dispatchBits(name);
  // The more is fixed, the further down: 37 digits at most.
  if (bits !== undefined) return 800 - bits;
  const kinds = ["KUBE-SEP-", "KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-"];
  return 1 + kinds.findIndex((kind) => name.startsWith(kind));
}
