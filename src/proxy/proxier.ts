/**
 * The proxy's loop: keeps the kernel's rules equal to what Services and EndpointSlices ask for. Owns the KUBE-* chains of
 * one address family. A sync computes only the Services that changed and sends only the chains whose rules did; the
 * first one, one after a failure, after a flush by somebody, or after the hourly look found a difference, sends all, in pieces.
 * Nothing is written before both stores are synced, and `stop` leaves the rules. Made by agent.ts, one per family.
 */

import type { Store } from "../api/store.ts";
import type { EndpointSlice, Service } from "../api/types.ts";
import { sleep } from "../core/abort.ts";
import { Backoff } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import type { Family } from "../core/ip.ts";
import type { Iptables } from "../core/iptables.ts";
import type { Logger } from "../core/logger.ts";
import { WorkQueue } from "../core/workqueue.ts";
import { ServiceChanges } from "./changes.ts";
import type { Conntrack } from "./conntrack.ts";
import { KernelRules } from "./kernel-rules.ts";
import type { ProxyRulesOptions } from "./options.ts";
import type { RuleChange } from "./render.ts";
import { RULE_TABLES, type RuleTable, type Skipped } from "./rule.ts";
import { RuleBook } from "./rule-book.ts";
import type { HealthCheck } from "./service-rules.ts";

/** What the rules depend on that somebody else knows; the rest the proxier finds out itself. */
export type ProxierRules = Omit<ProxyRulesOptions, "family" | "randomFully">;

export interface ProxierOptions {
  readonly services: Store<Service>;
  readonly endpointSlices: Store<EndpointSlice>;
  /** Read at each sync; after a change that no store tells of, call `request`. */
  readonly rules: () => ProxierRules;
  readonly iptables: Iptables;
  readonly conntrack: Conntrack;
  readonly clock: Clock;
  readonly log: Logger;
  /** Time between looks at the canary chains, and the longest wait before a failed sync is tried again. */
  readonly syncPeriodMs: number;
  /** Least time between the end of a sync and the start of the next. */
  readonly minSyncPeriodMs: number;
  /** Told after each sync, also one that failed. Must not throw. */
  readonly onSync?: (report: SyncReport) => void;
}

export interface SyncReport {
  readonly family: Family;
  readonly kind: "full" | "partial";
  readonly error?: unknown;
  readonly durationMs: number;
  /** Rules that the kernel should hold now, and those that this sync sent. */
  readonly rules: Readonly<Record<RuleTable, number>>;
  readonly sent: Readonly<Record<RuleTable, number>>;
  /** When the endpoint changes that this sync brought to the kernel happened; milliseconds since the epoch. */
  readonly triggers: readonly number[];
  /** All objects that are left out now, not only those of this sync. */
  readonly skipped: readonly Skipped[];
  readonly healthChecks: readonly HealthCheck[];
  readonly noLocalEndpoints: { readonly internal: number; readonly external: number };
}

/** For healthz: unhealthy when something has waited too long to reach the kernel. */
export interface ProxierState {
  /** Milliseconds since the epoch; undefined before the first success. */
  readonly lastSyncAt?: number;
  /** Since when a change waits for the kernel. */
  readonly pendingSince?: number;
  readonly lastError?: string;
}

const HOUR_MS = 3_600_000;
const SYNC = "sync";
const CANARY_CHECK = "canary";
/** Services computed before others may have a turn. */
const BATCH = 200;

export class Proxier {
  readonly #options: ProxierOptions;
  readonly #queue: WorkQueue;
  readonly #backoff: Backoff;
  readonly #changes: ServiceChanges;
  readonly #kernel: KernelRules;
  #book: RuleBook | undefined;
  /** False while nobody knows what the kernel holds: the next sync is full. */
  #isKnown = false;
  #lastVerifiedAt = 0;
  /** `RuleBook.udpVersion` that stale flows were last cleaned for. */
  #cleanedVersion = -1;
  #lastEndAt = Number.NEGATIVE_INFINITY;
  /** Since when changes wait for a sync, and since when those waited that the running sync writes. */
  #waitingSince: number | undefined;
  #writingSince: number | undefined;
  #lastSyncAt: number | undefined;
  #lastError: string | undefined;

  constructor(options: ProxierOptions) {
    const log = options.log.child({ family: options.iptables.family });
    this.#options = { ...options, log };
    this.#changes = new ServiceChanges(options.services, options.endpointSlices);
    this.#kernel = new KernelRules(options.iptables);
    const retry = Math.max(options.minSyncPeriodMs, 1000);
    this.#backoff = new Backoff({
      initialMs: retry,
      maxMs: Math.max(options.syncPeriodMs, retry),
      resetMs: HOUR_MS,
    });
    this.#queue = new WorkQueue({
      clock: options.clock,
      concurrency: 1,
      handle: (key, signal) => (key === SYNC ? this.#sync(signal) : this.#checkCanary(signal)),
      onError: (key, error) => this.#failed(key, error),
    });
  }

  get state(): ProxierState {
    const pendingSince = this.#writingSince ?? this.#waitingSince;
    return {
      ...(this.#lastSyncAt === undefined ? {} : { lastSyncAt: this.#lastSyncAt }),
      ...(pendingSince === undefined ? {} : { pendingSince }),
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
    };
  }

  /** Begins to follow the stores. Call once. */
  start(): void {
    this.#changes.start(() => this.request());
    this.request();
    this.#queue.add(CANARY_CHECK, this.#options.syncPeriodMs);
  }

  /** Asks for a sync, at once or as soon as `minSyncPeriodMs` allows. */
  request(): void {
    this.#waitingSince ??= this.#options.clock.now();
    this.#queue.add(SYNC);
  }

  /** Waits for a sync that runs; the rules stay. */
  stop(): Promise<void> {
    return this.#queue.stop();
  }

  async #sync(signal: AbortSignal): Promise<number> {
    const { clock, minSyncPeriodMs, syncPeriodMs } = this.#options;
    // A store that is synced but empty tells nobody, so that is looked for, too.
    if (!this.#changes.isSynced) return Math.min(1000, syncPeriodMs);
    const early = this.#lastEndAt + minSyncPeriodMs - clock.monotonic();
    if (early > 0) return early;
    this.#writingSince = this.#waitingSince;
    this.#waitingSince = undefined;
    try {
      await this.#program(signal);
    } catch (error) {
      this.#isKnown = false;
      this.#waitingSince = this.#writingSince ?? this.#waitingSince;
      this.#lastError = messageOf(error);
      throw error;
    } finally {
      this.#writingSince = undefined;
      this.#lastEndAt = clock.monotonic();
    }
    this.#backoff.reset(SYNC);
    this.#lastError = undefined;
    this.#lastSyncAt = clock.now();
    return Math.max(0, this.#lastVerifiedAt + HOUR_MS - clock.monotonic());
  }

  async #program(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const startedAt = clock.monotonic();
    const book = await this.#openBook(signal);
    await this.#verify(book, signal);
    const changes = this.#changes.take();
    const kind = this.#isKnown ? "partial" : "full";
    const report = { kind, startedAt, triggers: changes.triggers } as const;
    try {
      await this.#compute(book, changes.keys, signal);
      const change = book.take();
      const written = this.#isKnown ? change : await this.#kernel.writeAll(book.rules, signal);
      if (this.#isKnown) await this.#kernel.write(change, signal);
      else this.#lastVerifiedAt = clock.monotonic();
      this.#isKnown = true;
      this.#report(book, report, { written });
    } catch (error) {
      this.#changes.putBack(changes);
      this.#report(book, { ...report, triggers: [] }, { error });
      throw error;
    }
    await this.#cleanConntrack(book, signal);
  }

  /** The rule set, made by the first sync. */
  async #openBook(signal: AbortSignal): Promise<RuleBook> {
    const { iptables, rules, log } = this.#options;
    if (this.#book !== undefined) return this.#book;
    const { version, backend } = await iptables.version(signal);
    log.info({ version, backend }, "service rules go through iptables");
    const { family } = iptables;
    this.#book = new RuleBook({ ...rules(), family, randomFully: isAtLeast(version, [1, 6, 2]) });
    return this.#book;
  }

  /** Brings the rule set up to date, with pauses in which others may run. */
  async #compute(book: RuleBook, changed: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    const { rules, clock } = this.#options;
    const set = async (keys: Iterable<string>): Promise<void> => {
      let count = 0;
      for (const key of keys) {
        book.set(key, this.#changes.objectsOf(key));
        if (++count % BATCH === 0) await sleep(clock, 0, signal);
      }
    };
    const isOther = book.setOptions({ ...book.options, ...rules() });
    await set(isOther ? changed.union(new Set(book.keys())) : changed);
    if (book.updateComments()) await set(book.keys());
  }

  /** Once an hour: somebody may have changed what the canary does not show. */
  async #verify(book: RuleBook, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    if (!this.#isKnown || clock.monotonic() - this.#lastVerifiedAt < HOUR_MS) return;
    const chain = await this.#kernel.findDifference(book.rules, signal);
    this.#lastVerifiedAt = clock.monotonic();
    if (chain === undefined) return;
    log.warn({ chain }, "service rules were changed by somebody; writing all of them again");
    this.#isKnown = false;
  }

  #report(
    book: RuleBook,
    {
      startedAt,
      ...report
    }: Pick<SyncReport, "kind" | "triggers"> & { readonly startedAt: number },
    { written, error }: { readonly written?: RuleChange; readonly error?: unknown },
  ): void {
    const { clock, iptables, log, onSync } = this.#options;
    const durationMs = clock.monotonic() - startedAt;
    const sent = { filter: 0, nat: 0 };
    for (const table of RULE_TABLES)
      for (const rules of written?.[table].changed.values() ?? []) sent[table] += rules.length;
    log.debug({ ...report, sent, ms: Math.round(durationMs) }, "synced service rules");
    onSync?.({
      ...report,
      ...(error === undefined ? {} : { error }),
      family: iptables.family,
      durationMs,
      rules: book.ruleCount,
      sent,
      skipped: book.skipped,
      healthChecks: book.healthChecks,
      noLocalEndpoints: book.noLocalEndpoints,
    });
  }

  /** Failing here must not make the rules unknown: it is tried again at the next sync. */
  async #cleanConntrack(book: RuleBook, signal: AbortSignal): Promise<void> {
    const { udpVersion } = book;
    if (udpVersion === this.#cleanedVersion) return;
    try {
      const { interfaceIps } = book.options;
      await this.#options.conntrack.cleanStale(book.udpPorts, interfaceIps, signal);
      this.#cleanedVersion = udpVersion;
    } catch (err) {
      if (hasCode(err, "Aborted")) throw err;
      this.#options.log.warn({ err }, "could not delete stale UDP flows");
    }
  }

  async #checkCanary(signal: AbortSignal): Promise<number> {
    const { log, syncPeriodMs } = this.#options;
    const table = this.#isKnown ? await this.#kernel.findLostCanary(signal) : undefined;
    if (table !== undefined) {
      log.warn({ table }, "service rules were flushed by somebody; writing all of them again");
      this.#isKnown = false;
      this.request();
    }
    return syncPeriodMs;
  }

  #failed(key: string, error: unknown): number | undefined {
    const { log, clock, syncPeriodMs } = this.#options;
    if (hasCode(error, "Aborted")) return undefined;
    if (key === CANARY_CHECK) {
      // A busy lock is no answer; the next look tells.
      log.warn({ err: error }, "could not look whether the service rules are still there");
      return syncPeriodMs;
    }
    const retryMs = this.#backoff.fail(SYNC, clock.now());
    log.error({ err: error, retryMs }, "writing the service rules failed");
    return retryMs;
  }
}

function isAtLeast(version: string, least: readonly number[]): boolean {
  const parts = version.split(".").map(Number);
  for (const [index, number] of least.entries()) {
    const difference = (parts[index] ?? 0) - number;
    if (difference !== 0) return difference > 0;
  }
  return true;
}
