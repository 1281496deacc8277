/**
 * The proxy's loop: keeps the kernel's rules equal to the rule set computed from Services and EndpointSlices. Owns the
 * KUBE-* chains of one address family; one iptables-restore per sync, with only what changed. Nothing is written
 * before both stores are synced, and `stop` leaves the rules, so that connections keep working across a restart.
 * Made and started by agent.ts, one per family.
 */

import type { Store } from "../api/store.ts";
import type { EndpointSlice, Service } from "../api/types.ts";
import { Backoff } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import type { Iptables } from "../core/iptables.ts";
import type { Logger } from "../core/logger.ts";
import { WorkQueue } from "../core/workqueue.ts";
import { CANARY, CANARY_TABLES, FIREWALL, FIREWALL_JUMPS, JUMPS } from "./chains.ts";
import { backendsSignature, type Conntrack, computeUdpBackends } from "./conntrack.ts";
import { computeEndpoints } from "./endpoints.ts";
import { chainsOf, computeRestore, type RenderedRules, renderRules } from "./render.ts";
import type { RuleSettings } from "./rule.ts";
import { computeRuleSet } from "./rules.ts";
import { computeServicePorts } from "./services.ts";

export interface ProxierOptions {
  readonly services: Store<Service>;
  readonly endpointSlices: Store<EndpointSlice>;
  readonly nodeName: string;
  /** Sources inside it are pods; without it no traffic to cluster addresses is masqueraded. */
  readonly clusterCidr?: string;
  readonly iptables: Iptables;
  readonly conntrack: Conntrack;
  readonly clock: Clock;
  readonly log: Logger;
  readonly masqueradeAll: boolean;
  /** Time between looks at the canary chains, and the longest wait before a failed sync is tried again. */
  readonly syncPeriodMs: number;
  /** Least time between the end of a sync and the start of the next. */
  readonly minSyncPeriodMs: number;
}

/** For healthz: unhealthy when something has waited too long to reach the kernel. */
export interface ProxierState {
  /** Milliseconds since the epoch; undefined before the first success. */
  readonly lastSyncAt?: number;
  /** Since when a change waits for the kernel. */
  readonly pendingSince?: number;
  readonly lastError?: string;
}

const FULL_SYNC_MS = 3_600_000;
const SYNC = "sync";
const CANARY_CHECK = "canary";
const MASQUERADE_BIT = 14;

export class Proxier {
  readonly #options: ProxierOptions;
  readonly #queue: WorkQueue;
  readonly #backoff: Backoff;
  /** What the kernel holds for certain; undefined = unknown, the next sync is full. */
  #known: RenderedRules | undefined;
  #randomFully: boolean | undefined;
  #lastFullAt = 0;
  #lastEndAt = Number.NEGATIVE_INFINITY;
  #udpSignature: string | undefined;
  /** Since when changes wait for a sync, and since when those waited that the running sync writes. */
  #waitingSince: number | undefined;
  #writingSince: number | undefined;
  #lastSyncAt: number | undefined;
  #lastError: string | undefined;

  constructor(options: ProxierOptions) {
    this.#options = options;
    const retry = Math.max(options.minSyncPeriodMs, 1000);
    this.#backoff = new Backoff({
      initialMs: retry,
      maxMs: Math.max(options.syncPeriodMs, retry),
      resetMs: FULL_SYNC_MS,
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
    this.#options.services.onChange(() => this.request());
    this.#options.endpointSlices.onChange(() => this.request());
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
    const { services, endpointSlices, clock, log, minSyncPeriodMs, syncPeriodMs } = this.#options;
    // A store that is synced but empty tells nobody, so that is looked for, too.
    if (!services.isSynced || !endpointSlices.isSynced) return Math.min(1000, syncPeriodMs);
    const early = this.#lastEndAt + minSyncPeriodMs - clock.monotonic();
    if (early > 0) return early;
    const startedAt = clock.monotonic();
    this.#writingSince = this.#waitingSince;
    this.#waitingSince = undefined;
    try {
      await this.#program(signal);
    } catch (error) {
      // Nobody knows what the kernel holds now, so the next sync is full.
      this.#known = undefined;
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
    log.debug({ ms: Math.round(clock.monotonic() - startedAt) }, "service rules are in step");
    return Math.max(0, this.#lastFullAt + FULL_SYNC_MS - clock.monotonic());
  }

  async #program(signal: AbortSignal): Promise<void> {
    const { services, endpointSlices, nodeName, iptables, clock, log } = this.#options;
    const isFull =
      this.#known === undefined || clock.monotonic() - this.#lastFullAt >= FULL_SYNC_MS;
    const settings = await this.#settings(signal);
    const ports = computeServicePorts(services.list(), iptables.family);
    const endpoints = computeEndpoints(endpointSlices.list(), iptables.family, nodeName);
    const wanted = renderRules(computeRuleSet(ports, endpoints, settings));
    const existing = isFull ? chainsOf(await iptables.save("nat", signal)) : [];
    const restore = computeRestore(isFull ? undefined : this.#known, wanted, existing);
    if (restore.text !== "") await iptables.restore(restore.text, signal);
    if (isFull) await this.#hookUp(signal);
    this.#known = wanted;
    if (isFull) this.#lastFullAt = clock.monotonic();
    const { text, ...counts } = restore;
    log.debug({ isFull, bytes: text.length, ...counts }, "sent service rules");
    await this.#cleanConntrack(computeUdpBackends(ports, endpoints), signal);
  }

  /** The jumps, once the chains they lead to are there and complete, and the canaries. */
  async #hookUp(signal: AbortSignal): Promise<void> {
    const { iptables } = this.#options;
    await iptables.ensureChain("filter", FIREWALL, signal);
    for (const jump of [...JUMPS, ...FIREWALL_JUMPS]) await iptables.ensureJump(jump, signal);
    for (const table of CANARY_TABLES) await iptables.ensureChain(table, CANARY, signal);
  }

  async #settings(signal: AbortSignal): Promise<RuleSettings> {
    const { iptables, nodeName, clusterCidr, masqueradeAll } = this.#options;
    this.#randomFully ??= isAtLeast((await iptables.version(signal)).version, [1, 6, 2]);
    return {
      family: iptables.family,
      nodeName,
      ...(clusterCidr === undefined ? {} : { clusterCidr }),
      masqueradeAll,
      masqueradeBit: MASQUERADE_BIT,
      randomFully: this.#randomFully,
      // Needs route_localnet, which lets other hosts of the segment reach what listens on loopback.
      localhostNodePorts: false,
      nodePortIps: "all",
      dropInvalid: true,
    };
  }

  /** Failing here must not make the rules unknown: it is tried again at the next change. */
  async #cleanConntrack(
    backends: ReturnType<typeof computeUdpBackends>,
    signal: AbortSignal,
  ): Promise<void> {
    const signature = backendsSignature(backends);
    if (signature === this.#udpSignature) return;
    try {
      await this.#options.conntrack.cleanStale(backends, signal);
      this.#udpSignature = signature;
    } catch (err) {
      if (hasCode(err, "Aborted")) throw err;
      this.#options.log.warn({ err }, "could not delete stale UDP flows");
    }
  }

  async #checkCanary(signal: AbortSignal): Promise<number> {
    const { iptables, log, syncPeriodMs } = this.#options;
    for (const table of CANARY_TABLES) {
      if (this.#known === undefined) break;
      if ((await iptables.list(table, CANARY, signal)) !== undefined) continue;
      log.warn({ table }, "service rules were flushed by somebody; writing all of them again");
      this.#known = undefined;
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
