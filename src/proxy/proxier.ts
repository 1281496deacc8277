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
import type { Iptables } from "../core/iptables.ts";
import type { Logger } from "../core/logger.ts";
import { WorkQueue } from "../core/workqueue.ts";
import { ServiceChanges } from "./changes.ts";
import type { Conntrack } from "./conntrack.ts";
import { KernelRules } from "./kernel-rules.ts";
import type { ProxyObserver, RuleCounts } from "./observer.ts";
import type { ProxyRulesOptions } from "./options.ts";
import type { OnLeftOut } from "./refusals.ts";
import { RuleBook } from "./rule-book.ts";

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
  readonly observer?: ProxyObserver;
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
    const { services, endpointSlices, iptables } = options;
    this.#changes = new ServiceChanges(services, endpointSlices, iptables.family);
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
    const { clock, observer, iptables } = this.#options;
    this.#waitingSince ??= clock.now();
    observer?.onSyncQueued(iptables.family);
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
    const { clock, iptables, log, observer } = this.#options;
    const startedAt = clock.monotonic();
    const book = await this.#openBook(signal);
    await this.#verify(book, signal);
    observer?.onSyncStarted(iptables.family);
    const keys = this.#changes.take();
    const isFull = !this.#isKnown;
    try {
      await this.#compute(book, keys, signal);
      const onLeftOut: OnLeftOut = (key, skipped) => {
        log.warn({ service: key, skipped }, "a Service is left out of the rules");
        this.#tellSkipped(key, skipped);
      };
      const written = isFull
        ? await this.#kernel.writeAll(book, onLeftOut, signal)
        : await this.#kernel.write(book, onLeftOut, signal);
      this.#isKnown = true;
      if (isFull) this.#lastVerifiedAt = clock.monotonic();
      this.#tellSynced({ isFull, owned: book.ruleCount, written, startedAt });
    } catch (error) {
      this.#changes.putBack(keys);
      observer?.onFailed(iptables.family, isFull);
      throw error;
    }
    await this.#cleanConntrack(book, signal);
  }

  #tellSynced(turn: {
    readonly isFull: boolean;
    readonly owned: RuleCounts;
    readonly written: RuleCounts;
    readonly startedAt: number;
  }): void {
    const { clock, iptables, log, observer } = this.#options;
    const { startedAt, ...report } = turn;
    const seconds = (clock.monotonic() - startedAt) / 1000;
    log.debug({ ...report, seconds }, "synced service rules");
    observer?.onSynced({ ...report, family: iptables.family, seconds });
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
    const { family, randomFully } = book.options;
    const isOther = book.setOptions({ ...rules(), family, randomFully });
    const todo = new Set([...changed, ...(isOther ? book.keys() : [])]);
    let count = 0;
    for (const key of todo) {
      todo.delete(key);
      this.#tellSkipped(key, book.set(key, this.#changes.objectsOf(key)));
      const isBatchEnd = ++count % BATCH === 0;
      // What is added to a Set while it is gone through is gone through, too.
      if ((isBatchEnd || todo.size === 0) && book.updateComments())
        for (const other of book.keys()) todo.add(other);
      if (isBatchEnd) await sleep(clock, 0, signal);
    }
  }

  #tellSkipped(key: string, skipped: readonly string[] | undefined): void {
    const { observer, iptables } = this.#options;
    const [namespace = "", name = ""] = key.split("/");
    if (skipped !== undefined) observer?.onSkipped(iptables.family, { namespace, name, skipped });
  }

  /** Once an hour: somebody may have changed what the canary does not show. */
  async #verify(book: RuleBook, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    if (!this.#isKnown || clock.monotonic() - this.#lastVerifiedAt < HOUR_MS) return;
    this.#changes.putBack(book.leftOut);
    const chain = await this.#kernel.findDifference(book.rules, signal);
    this.#lastVerifiedAt = clock.monotonic();
    if (chain === undefined) return;
    log.warn({ chain }, "service rules were changed by somebody; writing all of them again");
    this.#isKnown = false;
  }

  /** Failing here must not make the rules unknown: it is tried again at the next sync. */
  async #cleanConntrack(book: RuleBook, signal: AbortSignal): Promise<void> {
    const { clock, conntrack, iptables, observer } = this.#options;
    const { udpVersion } = book;
    if (udpVersion === this.#cleanedVersion) return;
    const startedAt = clock.monotonic();
    try {
      const { interfaceIps } = book.options;
      const deleted = await conntrack.cleanStale(book.udpPorts, interfaceIps, signal);
      this.#cleanedVersion = udpVersion;
      const seconds = (clock.monotonic() - startedAt) / 1000;
      observer?.onConntrackCleaned(iptables.family, seconds, deleted);
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
