/**
 * One rule that iptables will not take must not keep those of other Services from the kernel: the Service that the
 * line belongs to, if it is refused twice, is left out until it changes or an hour is over, and the rest is written. Where
 * the line tells of no Service, or nothing but the table as a whole was refused (the legacy back-end does so), the failure
 * stays one. Called by kernel-rules.ts.
 */

import { hasCode, messageOf } from "../core/errors.ts";
import { refusedLineOf } from "../core/iptables.ts";
import { mergeChanges, type RuleChange } from "./render.ts";
import type { RuleBook } from "./rule-book.ts";

/** A hundred Services in one sync; the next one goes on. */
const MAX_TRIES = 200;

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
  let suspect: string | undefined;
  for (let tries = 1; ; tries++) {
    try {
      await to.send(change);
      return change;
    } catch (error) {
      const key = tries < MAX_TRIES ? culpritOf(book, error) : undefined;
      if (key === undefined) throw error;
      // The kernel may only have been short of something.
      const isSure = key === suspect;
      suspect = key;
      if (!isSure) continue;
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
