/**
 * Writes pod statuses to the API server: per pod one at a time, the newest only, nothing when equal, and again until
 * it succeeds. Works on its own queue, so that an API server that is away never holds up a pod. Fed by worker.ts.
 */

import type { ApiClient } from "../api/client.ts";
import { PODS } from "../api/resources.ts";
import type { Pod } from "../api/types.ts";
import { jitteredDelay } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import { canonicalJson } from "../core/hash.ts";
import type { Logger } from "../core/logger.ts";
import { WorkQueue } from "../core/workqueue.ts";
import { type PodRecord, updateRecord } from "./record.ts";
import { computeStatusPatch, isEcho } from "./status-patch.ts";

export interface StatusWriterOptions {
  readonly client: Pick<ApiClient, "patch">;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly find: (podUid: string) => PodRecord | undefined;
  /** The status of an ending pod is on the API server, or the object changed besides or is gone from there. */
  readonly onWritten: (podUid: string) => void;
}

export interface StatusWrite {
  readonly state: "written" | "pending";
  /** Milliseconds since the epoch; only while pending. */
  readonly since?: number;
  /** Why the last attempt failed. */
  readonly error?: string;
}

const CONCURRENCY = 8;
const RETRY = { initialMs: 200, maxMs: 10_000 };

export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #queue: WorkQueue;
  readonly #failures = new Map<string, { readonly count: number; readonly message: string }>();
  /** Since when the API server has waited for a status, by pod UID; milliseconds since the epoch. */
  readonly #pendingSince = new Map<string, number>();
  /** What the server took last, by pod UID: it may have made it look different. */
  readonly #accepted = new Map<string, { desired: string; resourceVersion: string }>();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      clock: options.clock,
      concurrency: CONCURRENCY,
      handle: (uid, signal) => this.#write(uid, signal),
      onError: (uid, error) => this.#onError(uid, error),
    });
  }

  /** Asks for the record's status to be written if it differs. */
  publish(record: PodRecord): void {
    if (this.isWritten(record)) return;
    if (!this.#pendingSince.has(record.uid))
      this.#pendingSince.set(record.uid, this.#options.clock.now());
    this.#queue.add(record.uid);
  }

  /** For people: what keeps the record's status from the API server. */
  look(record: PodRecord): StatusWrite {
    if (this.isWritten(record)) return { state: "written" };
    const error = this.#failures.get(record.uid)?.message;
    const since = this.#pendingSince.get(record.uid) ?? this.#options.clock.now();
    return { state: "pending", since, ...(error === undefined ? {} : { error }) };
  }

  /** True when the API server is known to have the record's status. */
  isWritten(record: PodRecord): boolean {
    if (record.isApiGone) return true;
    const accepted = this.#accepted.get(record.uid);
    if (
      accepted?.resourceVersion === record.pod.metadata.resourceVersion &&
      accepted.desired === canonicalJson(record.status)
    )
      return true;
    return computeStatusPatch(record.pod, record.pod.status ?? {}, record.status) === undefined;
  }

  forget(podUid: string): void {
    this.#queue.forget(podUid);
    this.#accepted.delete(podUid);
    this.#failures.delete(podUid);
    this.#pendingSince.delete(podUid);
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  async #write(uid: string, signal: AbortSignal): Promise<undefined> {
    const record = this.#options.find(uid);
    if (record === undefined || record.isApiGone) return;
    const patch = computeStatusPatch(record.pod, record.pod.status ?? {}, record.status);
    if (patch === undefined) {
      this.#pendingSince.delete(uid);
      return;
    }
    const desired = canonicalJson(record.status);
    const { namespace, name } = record.pod.metadata;
    let isEchoed = false;
    const ref = { namespace, name, subresource: "status", type: "strategic" } as const;
    try {
      const stored = await this.#options.client.patch(PODS, ref, patch, signal);
      this.#accepted.set(uid, { desired, resourceVersion: stored.metadata.resourceVersion });
      this.#logPhase(record, stored);
      isEchoed = record.phase === "sync" && isEcho(record.desired, stored, record.status);
      updateRecord(record, stored);
    } catch (error) {
      // A conflict may pass, or the name belongs to another pod by now: the store will tell, so it is tried again.
      if (!hasCode(error, "ApiNotFound")) throw error;
      record.isApiGone = true;
    }
    this.#failures.delete(uid);
    this.#pendingSince.delete(uid);
    if (!isEchoed) this.#options.onWritten(uid);
  }

  #logPhase(record: PodRecord, stored: Pod): void {
    const phase = stored.status?.phase;
    if (phase === record.pod.status?.phase) return;
    const { namespace, name } = stored.metadata;
    this.#options.log.info({ pod: `${namespace}/${name}`, phase }, "pod changed its phase");
  }

  #onError(uid: string, error: unknown): number {
    const attempt = this.#failures.get(uid)?.count ?? 0;
    this.#failures.set(uid, { count: attempt + 1, message: messageOf(error) });
    const fields = { podUid: uid, err: error };
    const message = "the pod status could not be written; it will be tried again";
    if (attempt === 0) this.#options.log.warn(fields, message);
    else this.#options.log.debug(fields, message);
    return jitteredDelay(attempt, RETRY, this.#options.random);
  }
}
