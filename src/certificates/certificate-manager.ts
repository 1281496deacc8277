/**
 * Keeps one certificate of the node in force: asks for it where there is none, for a successor at 70 to 90 % of its life
 * or when it lacks a name, and puts what is issued into the store. One key on a work queue; each turn looks at what
 * there is, so that a crash anywhere goes on where it was: the key of a request is on the disk before the request is
 * made. Never gives up, never asks faster than its back-off, whatever the clock does. Made by agent-certificates.ts.
 */

import type { ApiClient } from "../api/client.ts";
import { Backoff } from "../core/backoff.ts";
import { type Clock, formatTime } from "../core/clock.ts";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { WorkQueue } from "../core/workqueue.ts";
import type { CertificateStore } from "./certificate-store.ts";
import { type Identity, identityOf, renewalTime, type Subject } from "./identity.ts";
import { askForCertificate, createKey, type SigningRequest } from "./signing-request.ts";

export interface CertificateManagerOptions {
  readonly purpose: "client" | "serving";
  readonly store: Pick<CertificateStore, "save" | "loadKey" | "saveKey" | "dropKey">;
  /** Whom it is for; undefined = nobody yet: asked again each minute, and at `wake`. */
  readonly subject: (signal: AbortSignal) => Promise<Subject | undefined>;
  /** The certificate in use. */
  readonly current: () => Identity | undefined;
  /** Takes a new one into use; it is in the store. */
  readonly onIssued: (identity: Identity) => Promise<void>;
  /** Calls `use` with the client to ask with; `failures` in a row so far may choose between several. */
  readonly withClient: <T>(failures: number, use: (client: ApiClient) => Promise<T>) => Promise<T>;
  /** False = only when there is none or it has ended. */
  readonly rotates: boolean;
  readonly clock: Clock;
  /** Gives [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
}

const SIGNER = {
  client: "kubernetes.io/kube-apiserver-client-kubelet",
  serving: "kubernetes.io/kubelet-serving",
} as const;
const USAGES = {
  client: ["digital signature", "client auth"],
  serving: ["digital signature", "server auth"],
} as const;

const KEY = "certificate";
/** How long a jump of the clock may go unnoticed. */
const CHECK_MS = 60_000;
/** Of looks at a request that nobody has decided; at first it takes as long as an approver and a signer take. */
const POLL = { initialMs: 250, maxMs: 30_000, resetMs: Number.POSITIVE_INFINITY };
/** The kubelet's, which ends at 32 s. */
const RETRY = { initialMs: 2_000, maxMs: 32_000, resetMs: 300_000 };
/** What was refused, or was over when it came (a clock that is wrong), leaves an object behind each time. */
const REFUSED = { initialMs: 30_000, maxMs: 900_000, resetMs: 7_200_000 };

export class CertificateManager {
  readonly #options: CertificateManagerOptions;
  readonly #queue: WorkQueue;
  readonly #poll = new Backoff(POLL);
  readonly #retry = new Backoff(RETRY);
  readonly #refused = new Backoff(REFUSED);
  /** Of the certificate that `renewalTime` was last asked about. */
  #plan: { of: Identity | undefined; fraction: number; receivedAt: number } | undefined;
  #failures = 0;
  #errors = 0;
  #problem: string | undefined;

  constructor(options: CertificateManagerOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      clock: options.clock,
      concurrency: 1,
      handle: (_key, signal) => this.#turn(signal),
      onError: (_key, error) => this.#onError(error),
    });
  }

  start(): void {
    this.#queue.add(KEY);
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
  }

  /** The subject may have changed. */
  wake(): void {
    this.#queue.add(KEY);
  }

  /** Failed attempts to get a certificate since the start. */
  get renewErrors(): number {
    return this.#errors;
  }

  /** What keeps it from a certificate that it wants; undefined = nothing. */
  get problem(): string | undefined {
    return this.#problem;
  }

  async #turn(signal: AbortSignal): Promise<number> {
    const { clock, current, subject: subjectOf } = this.#options;
    const subject = await subjectOf(signal);
    if (subject === undefined) return CHECK_MS;
    const dueInMs = this.#renewalTime(current(), subject) - clock.now();
    if (dueInMs > 0) return Math.min(dueInMs, CHECK_MS);
    const pauseMs = this.#refused.remaining(KEY, clock.monotonic());
    return pauseMs > 0 ? Math.min(pauseMs, CHECK_MS) : this.#renew(subject, signal);
  }

  #renewalTime(identity: Identity | undefined, subject: Subject): number {
    if (this.#plan === undefined || this.#plan.of !== identity)
      this.#plan = {
        of: identity,
        fraction: 0.7 + 0.2 * this.#options.random(),
        receivedAt: Number.NEGATIVE_INFINITY,
      };
    return renewalTime(identity, subject, { ...this.#plan, rotates: this.#options.rotates });
  }

  async #renew(subject: Subject, signal: AbortSignal): Promise<number> {
    const { purpose, store, clock, log, withClient } = this.#options;
    const request: SigningRequest = {
      ...{ key: await this.#key(), subject },
      ...{ signerName: SIGNER[purpose], usages: USAGES[purpose] },
    };
    const ask = (client: ApiClient) => askForCertificate(client, request, signal);
    const outcome = await withClient(this.#failures, ask);
    this.#failures = 0;
    switch (outcome.kind) {
      case "pending":
        if (this.#problem !== PENDING) log.info({ purpose }, PENDING);
        this.#problem = PENDING;
        return this.#poll.fail(KEY, clock.monotonic());
      case "refused":
        this.#poll.reset(KEY);
        await store.dropKey();
        throw new LongshoreError("ApiForbidden", `the ${purpose} certificate: ${outcome.why}`);
      case "issued":
        return this.#take(outcome.cert, request.key, subject);
    }
  }

  /** The key of the request under way, or a new one. One that has its certificate already is not used again. */
  async #key(): Promise<string> {
    const { store, current } = this.#options;
    const kept = await store.loadKey();
    const isUsed = kept !== undefined && identityOf(current()?.cert ?? "", kept) !== undefined;
    if (kept !== undefined && !isUsed && isKey(kept)) return kept;
    const key = createKey();
    await store.saveKey(key);
    return key;
  }

  async #take(cert: string, key: string, subject: Subject): Promise<number> {
    const { purpose, store, clock, log, onIssued } = this.#options;
    const identity = identityOf(cert, key);
    this.#poll.reset(KEY);
    if (identity === undefined) {
      await store.dropKey();
      throw new LongshoreError("ApiInvalid", `the ${purpose} certificate is not for its key`);
    }
    await store.save(identity, clock.now());
    await store.dropKey();
    await onIssued(identity);
    const fraction = 0.7 + 0.2 * this.#options.random();
    this.#plan = { of: identity, fraction, receivedAt: clock.now() };
    this.#problem = undefined;
    const until = formatTime(identity.notAfter);
    const dueInMs = this.#renewalTime(identity, subject) - clock.now();
    if (dueInMs > 0) {
      log.info({ purpose, until }, "new certificate");
      this.#refused.reset(KEY);
      return Math.min(dueInMs, CHECK_MS);
    }
    log.warn({ purpose, until }, "new certificate is over already; is this node's clock right?");
    return this.#refused.fail(KEY, clock.monotonic());
  }

  #onError(error: unknown): number | undefined {
    const { purpose, log, clock } = this.#options;
    if (hasCode(error, "Aborted")) return undefined;
    const words = error instanceof Error ? error.message : String(error);
    this.#errors++;
    this.#failures++;
    if (this.#problem === words) log.debug({ err: error, purpose }, "no new certificate");
    else log.warn({ err: error, purpose }, "no new certificate; trying again");
    this.#problem = words;
    const isRefusal = hasCode(error, "ApiForbidden", "ApiInvalid");
    return (isRefusal ? this.#refused : this.#retry).fail(KEY, clock.monotonic());
  }
}

const PENDING = "the certificate request waits to be approved (kubectl get csr)";

function isKey(pem: string): boolean {
  return /-----BEGIN EC PRIVATE KEY-----[\s\S]+-----END EC PRIVATE KEY-----/.test(pem);
}
