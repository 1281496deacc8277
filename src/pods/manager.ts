/**
 * PodManager: when to look at which pod, one queue key per UID (records.ts has what is known of each). Everything that happens (changes of pods,
 * runtime events, probe results, finished pulls, timers) only adds a key; worker.ts does the rest. At start it adopts
 * what the runtime still holds and ends what has no object. Until the pod network is ready only pods of the host's
 * network are looked at. Made by agent-pods.ts; the server reads it as PodDirectory.
 */

import { involvedPod } from "../api/events.ts";
import { keyOf } from "../api/store.ts";
import type { Pod } from "../api/types.ts";
import { jitteredDelay } from "../core/backoff.ts";
import { classOf, messageOf } from "../core/errors.ts";
import { WorkQueue } from "../core/workqueue.ts";
import type { RuntimeEvent } from "../runtime/runtime.ts";
import { Admitter } from "./admission/admitter.ts";
import { createApply } from "./apply.ts";
import { Chores } from "./chores.ts";
import type { PodDirectory, PodView } from "./directory.ts";
import type { PodFacts, TurnFailure } from "./explain.ts";
import { findIgnored } from "./ignored.ts";
import { lookUpCredentials } from "./image-credentials.ts";
import { imageStateOf } from "./image-volumes.ts";
import { ImageManager, type ImageManagerOptions } from "./images.ts";
import { LifecycleHooks } from "./lifecycle-hooks.ts";
import type { PodManagerOptions } from "./manager-options.ts";
import { StartTimes } from "./observer.ts";
import { Operations } from "./operations.ts";
import { isForgettable, type PodRecord } from "./record.ts";
import { PodRecords } from "./records.ts";
import { Resizer } from "./resize/resizer.ts";
import { Starter } from "./starter.ts";
import { StatusWriter } from "./status-writer.ts";
import { PodWorker } from "./worker.ts";

/** Turns mostly wait for the Engine, so there are more than pods. */
const CONCURRENCY = 512;
const RETRY = { initialMs: 500, maxMs: 10_000 };

export class PodManager implements PodDirectory {
  readonly #options: PodManagerOptions;
  readonly #records: PodRecords;
  readonly #queue: WorkQueue;
  readonly #failures = new Map<string, TurnFailure>();
  readonly #images: ImageManager;
  readonly #statuses: StatusWriter;
  readonly #operations: Operations;
  readonly #worker: PodWorker;
  readonly #admitter: Admitter;
  readonly #chores: Chores;
  readonly #startTimes: StartTimes;
  readonly #controller = new AbortController();
  #watching: Promise<void> | undefined;

  constructor(options: PodManagerOptions) {
    this.#options = options;
    const { clock, random, observer } = options;
    this.#startTimes = new StartTimes(clock, observer);
    const onNew = (record: PodRecord, problem: string | undefined): void => {
      this.#admitter.admit(record, problem);
      this.#startTimes.seen(record.pod);
    };
    this.#records = new PodRecords({ clock, onNew });
    const log = options.log.child({ part: "pods" });
    const onDone = (podUid: string): void => this.sync(podUid);
    const maxParallel = options.maxParallelImagePulls;
    const credentials: ImageManagerOptions["credentials"] = (pod, image, signal) =>
      lookUpCredentials(options, pod, image, signal);
    const access = options.imageAccess;
    const onPulled = (podUid: string, tookMs: number): void =>
      this.#startTimes.pulled(podUid, tookMs);
    this.#images = new ImageManager({
      ...{ ...options, log, access, maxParallel, credentials, onDone, onPulled },
    });
    const find = (podUid: string): PodRecord | undefined => this.#records.get(podUid);
    const client = options.client;
    this.#statuses = new StatusWriter({ client, clock, random, log, find, onWritten: onDone });
    this.#operations = new Operations(onDone);
    const parts = { images: this.#images, operations: this.#operations };
    this.#admitter = new Admitter({ ...options, log, records: this.#records, onEnded: onDone });
    const onOrphan = (pod: Pod): void => {
      this.#records.acceptOrphan(pod);
      this.#queue.add(pod.metadata.uid);
    };
    this.#chores = new Chores({ ...options, log, records: this.#records, onOrphan });
    const starter = new Starter(options);
    const hooks = new LifecycleHooks({ ...options, operations: this.#operations });
    const saveCheckpoint = (): Promise<void> => this.#chores.saveCheckpoint();
    const activeBeside = (podUid: string): readonly Pod[] => this.#admitter.activeBeside(podUid);
    const deferred = (): readonly PodRecord[] =>
      [...this.#records.values()].filter(isResizeDeferred);
    const resizer = new Resizer({ ...options, activeBeside, deferred, saveCheckpoint });
    this.#worker = new PodWorker({
      ...options,
      ...{ ...parts, log, resizer, saveCheckpoint },
      statuses: this.#statuses,
      computeSpecHash: options.compute.computeSpecHash,
      apply: createApply({
        ...{ ...options, ...parts, starter, hooks, resizer, saveCheckpoint },
      }),
    });
    this.#queue = new WorkQueue({
      clock,
      concurrency: CONCURRENCY,
      ...{ name: "pods", observer: options.observer },
      handle: (key, signal) => this.#handle(key, signal),
      onError: (key, error) => this.#onError(key, error),
    });
  }

  /** Takes on the pods already in the store, listens for changes, and adopts what the runtime holds. */
  async start(): Promise<void> {
    const { pods, runtime, log } = this.#options;
    this.#records.restore(await this.#chores.restore());
    pods.onChange((change) => this.#lookAt(this.#records.change(change)));
    for (const pod of pods.list()) this.#lookAt(this.#records.accept(pod));
    const { signal } = this.#controller;
    this.#watching = runtime
      .watchEvents((event) => this.#onRuntimeEvent(event), signal)
      .catch((error: unknown) => {
        if (signal.aborted) return;
        log.error({ err: error }, "runtime events ended; pods are only looked at periodically");
      });
    this.#chores.start();
  }

  /** Ends the turns under way; containers stay as they are. */
  async stop(): Promise<void> {
    this.#controller.abort();
    await this.#queue.stop();
    await Promise.all([this.#images.stop(), this.#statuses.stop(), this.#operations.stop()]);
    await this.#watching;
    await this.#chores.stop();
  }

  /** Everything may have changed: look at all pods. */
  resync(): void {
    for (const uid of this.#records.keys()) this.#queue.add(uid);
    this.#chores.due("orphans");
  }

  /** Something about this pod changed (probe result, pull): look at it. */
  sync(podUid: string): void {
    if (this.#records.has(podUid)) this.#queue.add(podUid);
  }

  /** Ends a pod for good and at once, unless it is critical or ends already. */
  evict(podUid: string, eviction: { readonly signal: string; readonly message: string }): void {
    this.#admitter.evict(podUid, eviction);
  }

  /** Something the pod refers to changed: what failed for it is tried at once. */
  retry(podUid: string): void {
    this.#records.get(podUid)?.startFailures.clear();
    this.sync(podUid);
  }

  /** For `longshore explain`: what is known of each pod. */
  facts(): readonly PodFacts[] {
    const { clock, probes, node } = this.#options;
    return [...this.#records.values()].map((record) => ({
      record,
      ignored: findIgnored(record.pod.spec, node()),
      now: clock.now(),
      imageOf: (spec) => imageStateOf(this.#images, record.pod, spec),
      probes: probes.report(record.uid),
      statusWrite: this.#statuses.look(record),
      turn: this.#queue.look(record.uid),
      failure: this.#failures.get(record.uid),
    }));
  }

  find(namespace: string, name: string): PodView | undefined {
    return this.#records.find(namespace, name);
  }

  list(): readonly PodView[] {
    return this.#records.list();
  }

  #lookAt(podUids: readonly string[]): void {
    for (const uid of podUids) this.#queue.add(uid);
  }

  #onRuntimeEvent(event: RuntimeEvent): void {
    switch (event.kind) {
      case "pod-changed":
        if (!this.#records.hasSeen(event.podUid, event.at)) this.sync(event.podUid);
        break;
      case "resync":
        this.resync();
        break;
    }
  }

  async #handle(key: string, signal: AbortSignal): Promise<number | undefined> {
    const record = this.#records.get(key);
    if (record === undefined) return undefined;
    await this.#admitter.settle(record, signal);
    // Whoever makes it ready calls resync().
    if (!this.#options.network.isReady && record.pod.spec.hostNetwork !== true) return undefined;
    const before = record.backoff.size === 0 ? undefined : [...record.backoff.values()];
    if (record.phase === "sync" && record.verdict === undefined) {
      this.#options.objects.retainPod(record.pod);
      this.#tellProblem(record);
    }
    const again = await this.#turn(record, signal);
    if (record.phase !== "sync") this.#options.objects.releasePod(key);
    if (record.phase === "terminated") this.#chores.due("cgroups");
    this.#failures.delete(key);
    if (hasChanged(before, record)) this.#chores.due("checkpoint");
    if (!isForgettable(record)) return again;
    await this.#options.files.remove(key);
    this.#forget(record);
    return undefined;
  }

  async #turn(record: PodRecord, signal: AbortSignal): Promise<number | undefined> {
    const { clock, observer } = this.#options;
    const startedAt = clock.monotonic();
    const operation = this.#startTimes.turn(record.uid) ? "create" : "sync";
    const held = amountHeld(record);
    try {
      return await this.#worker.sync(record, signal);
    } finally {
      // Also when the turn failed after it: the next one starts from here.
      if (amountHeld(record) !== held) this.#onFreed(record);
      const seconds = (clock.monotonic() - startedAt) / 1000;
      observer.turned(record.phase === "sync" ? operation : "kill", seconds);
      this.#startTimes.look(record.uid, record.status);
    }
  }

  #tellProblem(record: PodRecord): void {
    const { problem, isProblemTold, pod } = record;
    if (problem === undefined || isProblemTold) return;
    record.isProblemTold = true;
    const message = `${problem}: the pod goes on with the spec it had before`;
    this.#options.events.record(involvedPod(pod), "Warning", "InvalidPodSpec", message);
  }

  /** What one pod gave back may be what another waits for, and it may weigh less in its class. */
  #onFreed(record: PodRecord): void {
    if (record.allocation?.generation !== undefined) this.#chores.due("cgroups");
    for (const { uid, resizePending } of this.#records.values())
      if (resizePending !== undefined) this.#queue.add(uid);
  }

  #onError(key: string, error: unknown): number {
    const attempt = this.#failures.get(key)?.count ?? 0;
    const at = this.#options.clock.now();
    this.#failures.set(key, { count: attempt + 1, at, message: messageOf(error) });
    const pod = this.#records.get(key)?.pod;
    const fields = { pod: pod === undefined ? key : keyOf(pod), attempt, err: error };
    if (classOf(error) === "bug") this.#options.log.error(fields, "the pod's turn failed");
    else this.#options.log.warn(fields, "the pod's turn failed; it will be tried again");
    return jitteredDelay(attempt, RETRY, this.#options.random);
  }

  #forget(record: PodRecord): void {
    const { uid } = record;
    this.#records.delete(uid);
    this.#queue.forget(uid);
    this.#images.forgetPod(uid);
    this.#startTimes.forget(uid);
    this.#statuses.forget(uid);
    this.#operations.retain(uid, new Set());
    this.#options.objects.releasePod(uid);
    this.#options.pods.forget(uid);
    if (record.backoff.size > 0) this.#chores.due("checkpoint");
  }
}

function isResizeDeferred({ phase, resizePending }: PodRecord): boolean {
  return phase === "sync" && resizePending?.reason === "Deferred";
}

function hasChanged(before: readonly object[] | undefined, { backoff }: PodRecord): boolean {
  const after = [...backoff.values()];
  return after.length !== (before?.length ?? 0) || after.some((entry, i) => entry !== before?.[i]);
}

/** Changes when what the pod holds of the node may have become less, or what is kept for its resize. */
function amountHeld(record: PodRecord): string {
  const { phase, status, allocation } = record;
  return `${phase} ${status.phase} ${allocation?.generation} ${isResizeDeferred(record)}`;
}
