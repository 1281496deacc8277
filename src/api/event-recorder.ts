/**
 * Writes core/v1 Events. `record` never waits: it puts into a bounded queue which one worker empties. Repeats of an
 * event raise the count of the one that exists; an object that is too loud is cut off (25 at once, one more each 5
 * minutes: client-go's numbers); `stop` flushes for at most 2 s. Made by agent.ts; all others see EventSink.
 */

import { withDeadline } from "../core/abort.ts";
import { type Clock, formatTime } from "../core/clock.ts";
import { classOf, hasCode } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { WorkQueue } from "../core/workqueue.ts";
import type { ApiClient } from "./client.ts";
import { EventLimiter } from "./event-limiter.ts";
import type { EventSink, EventType, InvolvedObject } from "./events.ts";
import { LruMap } from "./lru-map.ts";
import { EVENTS } from "./resources.ts";

export interface EventRecorderOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** source.component and reportingComponent, e.g. "kubelet". */
  readonly component: string;
  /** The node's name. */
  readonly host: string;
}

interface Report {
  /** Name of the Event if it has to be made; the same at each try, so that a try that arrived is recognised. */
  readonly name: string;
  readonly at: number;
  readonly about: InvolvedObject;
  readonly type: EventType;
  readonly reason: string;
  readonly message: string;
}

/** An Event that exists on the server. */
interface Written {
  readonly name: string;
  readonly count: number;
}

const MAX_QUEUED = 1_000;
const MAX_REMEMBERED = 4_096;
const MAX_TRIES = 12;
const RETRY_MS = 10_000;
const FLUSH_MS = 2_000;
/** Characters; a message beyond any reader's patience must not make the request too large. */
const MAX_MESSAGE = 16_384;

export class EventRecorder implements EventSink {
  readonly #options: EventRecorderOptions;
  readonly #limiter = new EventLimiter(MAX_REMEMBERED);
  readonly #written = new LruMap<string, Written>(MAX_REMEMBERED);
  readonly #reports: Report[] = [];
  readonly #queue: WorkQueue;
  #tries = 0;
  #sequence = 0;
  #isStarted = false;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      clock: options.clock,
      concurrency: 1,
      handle: async (_key, signal) => {
        await this.#sendFirst(signal);
        return this.#reports.length > 0 ? 0 : undefined;
      },
      onError: (_key, error) => this.#afterFailure(error),
    });
  }

  /** Sends what was recorded so far, and from now on. */
  start(): void {
    this.#isStarted = true;
    this.#queue.add("send");
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
    const { clock, log } = this.#options;
    const deadline = {
      clock,
      ms: FLUSH_MS,
      signal: new AbortController().signal,
      code: "ApiTimeout",
      message: `flushing events took longer than ${FLUSH_MS / 1000} s`,
    } as const;
    try {
      await withDeadline(deadline, async (signal) => {
        while (this.#reports.length > 0) await this.#sendFirst(signal);
      });
    } catch (error) {
      log.debug({ err: error, dropped: this.#reports.length }, "events dropped at the end");
    }
  }

  record(about: InvolvedObject, type: EventType, reason: string, message: string): void {
    const { clock, log } = this.#options;
    const at = clock.now();
    const object = { kind: about.kind, namespace: about.namespace, name: about.name, reason };
    if (!this.#limiter.take(`${about.kind}/${about.namespace}/${about.name}/${about.uid}`, at)) {
      log.debug(object, "event dropped: too many about this object");
      return;
    }
    if (this.#reports.length >= MAX_QUEUED) {
      log.debug(object, "event dropped: the queue is full");
      return;
    }
    const stamp = BigInt(at) * 1_000_000n + BigInt(this.#sequence++ % 1_000_000);
    const name = `${about.name}.${stamp.toString(16)}`;
    this.#reports.push({ name, at, about, type, reason, message: message.slice(0, MAX_MESSAGE) });
    if (this.#isStarted) this.#queue.add("send");
  }

  async #sendFirst(signal: AbortSignal): Promise<void> {
    const [report] = this.#reports;
    if (report === undefined) return;
    await this.#send(report, signal);
    this.#reports.shift();
    this.#tries = 0;
  }

  async #send(report: Report, signal: AbortSignal): Promise<void> {
    const key = aggregationKey(report);
    const written = this.#written.get(key);
    const isRaised = written !== undefined && (await this.#raise(report, written, signal));
    if (!isRaised) await this.#create(report, signal);
    const next: Written = isRaised
      ? { name: written.name, count: written.count + 1 }
      : { name: report.name, count: 1 };
    this.#written.set(key, next);
  }

  /** False when the Event is gone: they live for an hour. */
  async #raise(report: Report, written: Written, signal: AbortSignal): Promise<boolean> {
    const ref = { namespace: namespaceOf(report), name: written.name, type: "strategic" } as const;
    const body = { count: written.count + 1, lastTimestamp: formatTime(report.at) };
    try {
      await this.#options.client.patch(EVENTS, ref, body, signal);
      return true;
    } catch (error) {
      if (!hasCode(error, "ApiNotFound")) throw error;
      return false;
    }
  }

  async #create(report: Report, signal: AbortSignal): Promise<void> {
    const { component, host, client } = this.#options;
    const namespace = namespaceOf(report);
    const timestamp = formatTime(report.at);
    const event = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: report.name, namespace },
      involvedObject: report.about,
      type: report.type,
      reason: report.reason,
      message: report.message,
      source: { component, host },
      reportingComponent: component,
      reportingInstance: host,
      firstTimestamp: timestamp,
      lastTimestamp: timestamp,
      count: 1,
    };
    try {
      await client.create(EVENTS, namespace, event, signal);
    } catch (error) {
      if (!hasCode(error, "ApiAlreadyExists")) throw error;
    }
  }

  /** Delay before the next try of the worker. What can never succeed is dropped. */
  #afterFailure(error: unknown): number | undefined {
    if (hasCode(error, "Aborted")) return undefined;
    this.#tries++;
    if (classOf(error) === "transient" && this.#tries < MAX_TRIES) return RETRY_MS;
    this.#tries = 0;
    const dropped = this.#reports.shift();
    this.#options.log.debug({ err: error, reason: dropped?.reason }, "event dropped");
    return 0;
  }
}

/** Equal for repeats. Without the object's resourceVersion, which moves between them. */
function aggregationKey({ about, type, reason, message }: Report): string {
  return JSON.stringify([{ ...about, resourceVersion: undefined }, type, reason, message]);
}

/** Events about cluster-wide objects live in "default". */
function namespaceOf(report: Report): string {
  return report.about.namespace ?? "default";
}
