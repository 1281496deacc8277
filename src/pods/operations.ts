/**
 * What goes on with a container apart from its worker's turns, because it may take as long as a grace period: its hooks
 * and its stop. One of each kind per container; its end, or the error it ended with, makes the worker look again.
 * Owned by PodManager: apply.ts begins them, worker.ts reads them into the snapshot and throws their errors to the loop.
 */

export type OperationKind = "post-start" | "pre-stop" | "stop";

export interface OperationState {
  /** `failed` = it came to its end without success, and that is that. */
  readonly status: "running" | "done" | "failed";
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** Of a stop or preStop: the grace period it was begun with. */
  readonly graceSeconds: number;
}

export type ContainerOperations = Readonly<Partial<Record<OperationKind, OperationState>>>;

interface Entry {
  state: OperationState;
  readonly controller: AbortController;
  done: Promise<void>;
}

interface OperationRequest {
  readonly podUid: string;
  readonly containerId: string;
  readonly kind: OperationKind;
  readonly now: number;
  readonly graceSeconds: number;
  /** Rejects only with what the pod's loop should try again. */
  readonly run: (signal: AbortSignal) => Promise<"done" | "failed">;
}

const NONE: ContainerOperations = {};

export class Operations {
  readonly #onDone: (podUid: string) => void;
  /** By pod UID, container ID, kind. */
  readonly #entries = new Map<string, Map<string, Map<OperationKind, Entry>>>();
  readonly #errors = new Map<string, unknown>();

  constructor(onDone: (podUid: string) => void) {
    this.#onDone = onDone;
  }

  /** Begins one; one of the same kind that still goes on is given up for it. */
  begin(request: OperationRequest): void {
    const { podUid, containerId, kind, graceSeconds, now } = request;
    this.cancel(podUid, containerId, kind);
    const pod = this.#entries.get(podUid) ?? new Map<string, Map<OperationKind, Entry>>();
    this.#entries.set(podUid, pod);
    const kinds = pod.get(containerId) ?? new Map<OperationKind, Entry>();
    pod.set(containerId, kinds);
    const controller = new AbortController();
    const state = { status: "running", since: now, graceSeconds } as const;
    const entry: Entry = { state, controller, done: Promise.resolve() };
    kinds.set(kind, entry);
    entry.done = this.#run(request, entry, kinds);
  }

  of(podUid: string, containerId: string): ContainerOperations {
    const kinds = this.#entries.get(podUid)?.get(containerId);
    if (kinds === undefined) return NONE;
    return Object.fromEntries([...kinds].map(([kind, { state }]) => [kind, state]));
  }

  /** What goes on is given up: it counts as failed. */
  cancel(podUid: string, containerId: string, kind: OperationKind): void {
    const entry = this.#entries.get(podUid)?.get(containerId)?.get(kind);
    entry?.controller.abort();
  }

  /** The error one of the pod's operations ended with since the last call. */
  takeError(podUid: string): unknown {
    const error = this.#errors.get(podUid);
    this.#errors.delete(podUid);
    return error;
  }

  /** Forgets those of containers that no longer exist. */
  retain(podUid: string, containerIds: ReadonlySet<string>): void {
    const pod = this.#entries.get(podUid);
    for (const [id, kinds] of pod ?? []) {
      if (containerIds.has(id)) continue;
      for (const { controller } of kinds.values()) controller.abort();
      pod?.delete(id);
    }
    if (pod?.size === 0) this.#entries.delete(podUid);
  }

  /** Gives up everything under way and waits for it; what runs in the containers stays as it is. */
  async stop(): Promise<void> {
    const entries = [...this.#entries.values()].flatMap((pod) =>
      [...pod.values()].flatMap((kinds) => [...kinds.values()]),
    );
    for (const { controller } of entries) controller.abort();
    await Promise.all(entries.map(({ done }) => done));
  }

  async #run(
    request: OperationRequest,
    entry: Entry,
    kinds: Map<OperationKind, Entry>,
  ): Promise<void> {
    const { podUid, kind, run } = request;
    const { signal } = entry.controller;
    try {
      entry.state = { ...entry.state, status: await run(signal) };
    } catch (error) {
      if (signal.aborted) {
        // It was begun, and is not to be begun again.
        entry.state = { ...entry.state, status: "failed" };
        return;
      }
      // Forgotten, so that the next plan begins it again.
      if (kinds.get(kind) === entry) kinds.delete(kind);
      this.#errors.set(podUid, error);
    }
    if (!signal.aborted) this.#onDone(podUid);
  }
}
