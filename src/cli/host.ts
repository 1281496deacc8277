/** What main.ts hands to every subcommand: the process and the machine as parameters. */

import type { Clock } from "../core/clock.ts";
import type { Exec } from "../core/exec.ts";
import type { Logger, LoggerOptions } from "../core/logger.ts";

export interface Host {
  readonly version: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly randomUid: () => string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isRoot: boolean;
  readonly hostname: string;
  readonly exec: Exec;
  /** Fires at SIGTERM or SIGINT. */
  readonly stop: AbortSignal;
  /** All of standard input. */
  stdin(): Promise<string>;
  stdout(text: string): void;
  stderr(text: string): void;
  createLogger(level: LoggerOptions["level"]): Logger;
}
