/**
 * One rule that iptables will not take must not keep those of other Services from the kernel: the Service that the
 * refused line belongs to is left out until it changes, and the rest is written again. Where the line tells of no Service, or
 * nothing but the table as a whole was refused (the legacy back-end does so), the failure stays one. Called by the proxier.
 */

import { hasCode, messageOf } from "../core/errors.ts";
import { refusedLineOf } from "../core/iptables.ts";
import { mergeChanges, type RuleChange } from "./render.ts";
import type { RuleBook } from "./rule-book.ts";

/** Beyond this many in one sync something else is wrong; the next one goes on. */
const MAX_LEFT_OUT = 100;

/** Is told the key of a Service and all that is left out of it. */
export type OnLeftOut = (key: string, skipped: readonly string[]) => void;

/**
 * Sends `change`, and what becomes of it when Services are left out.
 * @returns the change that the kernel took
 */
export async function writeWithoutRefused(
  book: RuleBook,
  first: RuleChange,
  to: {
    readonly send: (change: RuleChange) => Promise<void>;
    readonly onLeftOut: OnLeftOut;
  },
): Promise<RuleChange> {
  let change = first;
  for (let leftOut = 0; ; leftOut++) {
    try {
      await to.send(change);
      return change;
    } catch (error) {
      const key = leftOut < MAX_LEFT_OUT ? culpritOf(book, error) : undefined;
      if (key === undefined) throw error;
      to.onLeftOut(key, book.leaveOut(key, reasonOf(error)));
      change = mergeChanges(change, book.take());
    }
  }
}

function culpritOf(book: RuleBook, error: unknown): string | undefined {
  if (!hasCode(error, "CommandFailed")) return undefined;
  const [, chain, rule] = /^-A (\S+) (.*)$/.exec(refusedLineOf(error) ?? "") ?? [];
  return chain === undefined || rule === undefined ? undefined : book.ownerOf(chain, rule);
}

/** The line first: the program's words about it repeat those around it. */
function reasonOf(error: unknown): string {
  const line = hasCode(error, "CommandFailed") ? refusedLineOf(error) : undefined;
  return `all of it, as iptables refuses the rule ${line}: ${messageOf(error).slice(0, 200)}`;
}
