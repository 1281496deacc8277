/**
 * Images of containers by pull policy. `ensure` answers at once for what is present; a pull goes on apart from the
 * worker's turn, one at a time per image and at most `maxParallel` in all, and `onDone` tells the worker. Failures back
 * off from 10 s to 5 min per pod and image. Owned by PodManager; `state` feeds the snapshot.
 */

import { type EventSink, involvedPod } from "../api/events.ts";
import type { Container as ContainerSpec, Pod } from "../api/types.ts";
import { Backoff } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import type { Image, ImageCredentials, Runtime } from "../runtime/runtime.ts";
import { fieldPathOf } from "./containers.ts";
import { Slots } from "./slots.ts";
import type { ImageState } from "./snapshot.ts";

export interface ImageManagerOptions {
  readonly runtime: Pick<Runtime, "inspectImage" | "pullImage">;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly maxParallel: number;
  readonly credentials: (
    pod: Pod,
    image: string,
    signal: AbortSignal,
  ) => Promise<ImageCredentials | undefined>;
  readonly onDone: (podUid: string) => void;
}

type Entry =
  | { readonly kind: "pulling"; readonly image: string }
  | { readonly kind: "present"; readonly image: string; readonly imageId: string }
  | {
      readonly kind: "failed";
      readonly image: string;
      readonly reason: string;
      readonly message: string;
      readonly failedAt: number;
      readonly retryAt: number;
    };

/** How long ErrImagePull is shown before it becomes ImagePullBackOff. */
const ERROR_SHOWN_MS = 5_000;
const RECHECK_MS = 10_000;

/** The policy of a container that names none: Always for `latest`, as the API server defaults it. */
function pullPolicyOf(spec: ContainerSpec): string {
  if (spec.imagePullPolicy !== undefined) return spec.imagePullPolicy;
  const image = spec.image ?? "";
  const tag = /:([^/:@]+)$/.exec(image)?.[1];
  return !image.includes("@") && (tag === undefined || tag === "latest")
    ? "Always"
    : "IfNotPresent";
}

export class ImageManager {
  readonly #options: ImageManagerOptions;
  readonly #entries = new Map<string, Map<string, Entry>>();
  readonly #backoff = new Backoff({ initialMs: 10_000, maxMs: 300_000, resetMs: 600_000 });
  readonly #lastOfImage = new Map<string, Promise<void>>();
  readonly #controller = new AbortController();
  readonly #slots: Slots;
  readonly #pulls = new Set<Promise<void>>();

  constructor(options: ImageManagerOptions) {
    this.#options = options;
    this.#slots = new Slots(options.maxParallel);
  }

  /** What is known of the image of one container of a pod, for the snapshot. */
  state(podUid: string, spec: ContainerSpec): ImageState {
    const entry = this.#entries.get(podUid)?.get(spec.name);
    if (entry === undefined || entry.image !== spec.image) return { kind: "unknown" };
    if (entry.kind !== "failed") return entry;
    const now = this.#options.clock.now();
    const { reason, message, retryAt, failedAt } = entry;
    if (reason !== "ErrImagePull" || now - failedAt < ERROR_SHOWN_MS) {
      const until = reason === "ErrImagePull" ? failedAt + ERROR_SHOWN_MS : retryAt;
      return { kind: "failed", reason, message, waitMs: until - now, mayRetry: now >= retryAt };
    }
    return {
      kind: "failed",
      reason: "ImagePullBackOff",
      message: `Back-off pulling image "${entry.image}": ErrImagePull: ${message}`,
      waitMs: retryAt - now,
      mayRetry: now >= retryAt,
    };
  }

  /** Finds the image or begins to pull it. Engine errors other than a bad name are thrown to the worker's loop. */
  async ensure(pod: Pod, spec: ContainerSpec, signal: AbortSignal): Promise<void> {
    const image = spec.image ?? "";
    const policy = pullPolicyOf(spec);
    let found: Image | undefined;
    try {
      found = await this.#options.runtime.inspectImage(image, signal);
    } catch (error) {
      if (!hasCode(error, "ImageInvalidName")) throw error;
      const message = `Failed to apply default image tag "${image}": ${messageOf(error)}`;
      return this.#refuse(pod, spec, "InvalidImageName", message, "InspectFailed");
    }
    if (found !== undefined && policy !== "Always") {
      this.#event(
        pod,
        spec,
        "Normal",
        "Pulled",
        `Container image "${image}" already present on machine`,
      );
      return this.#set(pod, spec, { kind: "present", image, imageId: found.id });
    }
    if (policy === "Never") {
      const message = `Container image "${image}" is not present with pull policy of Never`;
      return this.#refuse(pod, spec, "ErrImageNeverPull", message, "ErrImageNeverPull");
    }
    this.#set(pod, spec, { kind: "pulling", image });
    const pull = this.#pullInTurn(pod, spec, image).finally(() => this.#pulls.delete(pull));
    this.#pulls.add(pull);
  }

  /** The next start of this container looks for its image again. */
  forget(podUid: string, name: string): void {
    this.#entries.get(podUid)?.delete(name);
  }

  forgetPod(podUid: string): void {
    for (const { image } of this.#entries.get(podUid)?.values() ?? [])
      this.#backoff.reset(`${podUid}/${image}`);
    this.#entries.delete(podUid);
  }

  /** Gives up the pulls under way and waits for them. */
  async stop(): Promise<void> {
    this.#controller.abort();
    await Promise.all(this.#pulls);
  }

  async #pullInTurn(pod: Pod, spec: ContainerSpec, image: string): Promise<void> {
    const startedAt = this.#options.clock.monotonic();
    const before = this.#lastOfImage.get(image) ?? Promise.resolve();
    const turn = before.then(() => this.#slots.run(() => this.#pull(pod, spec, image, startedAt)));
    this.#lastOfImage.set(image, turn);
    await turn;
    if (this.#lastOfImage.get(image) === turn) this.#lastOfImage.delete(image);
    this.#options.onDone(pod.metadata.uid);
  }

  /** Never rejects: the outcome is the entry. */
  async #pull(pod: Pod, spec: ContainerSpec, image: string, askedAt: number): Promise<void> {
    if (!this.#isWanted(pod, spec, image)) return;
    const { clock, runtime, credentials } = this.#options;
    const key = `${pod.metadata.uid}/${image}`;
    const startedAt = clock.monotonic();
    this.#event(pod, spec, "Normal", "Pulling", `Pulling image "${image}"`);
    try {
      const { signal } = this.#controller;
      const login = await credentials(pod, image, signal);
      const pulled = await runtime.pullImage(image, login, signal);
      const took = seconds(clock.monotonic() - startedAt);
      const waited = seconds(clock.monotonic() - askedAt);
      const message = `Successfully pulled image "${image}" in ${took} (${waited} including waiting). Image size: ${pulled.sizeBytes} bytes.`;
      this.#event(pod, spec, "Normal", "Pulled", message);
      this.#backoff.reset(key);
      if (this.#isWanted(pod, spec, image))
        this.#set(pod, spec, { kind: "present", image, imageId: pulled.id });
    } catch (error) {
      if (!this.#isWanted(pod, spec, image)) return;
      const message = messageOf(error);
      const reason = hasCode(error, "ImageInvalidName") ? "InvalidImageName" : "ErrImagePull";
      this.#event(pod, spec, "Warning", "Failed", `Failed to pull image "${image}": ${message}`);
      this.#event(pod, spec, "Warning", "Failed", `Error: ${reason}`);
      const failedAt = clock.now();
      const retryAt = failedAt + this.#backoff.fail(key, failedAt);
      this.#set(pod, spec, { kind: "failed", image, reason, message, failedAt, retryAt });
    }
  }

  /** False when the pod went away or changed its image meanwhile. */
  #isWanted(pod: Pod, spec: ContainerSpec, image: string): boolean {
    if (this.#controller.signal.aborted) return false;
    const entry = this.#entries.get(pod.metadata.uid)?.get(spec.name);
    return entry?.kind === "pulling" && entry.image === image;
  }

  #refuse(pod: Pod, spec: ContainerSpec, reason: string, message: string, event: string): void {
    this.#event(pod, spec, "Warning", event, message);
    this.#event(pod, spec, "Warning", "Failed", `Error: ${reason}`);
    const failedAt = this.#options.clock.now();
    const retryAt = failedAt + RECHECK_MS;
    this.#set(pod, spec, {
      kind: "failed",
      image: spec.image ?? "",
      reason,
      message,
      failedAt,
      retryAt,
    });
  }

  #set(pod: Pod, spec: ContainerSpec, entry: Entry): void {
    const { uid } = pod.metadata;
    const entries = this.#entries.get(uid) ?? new Map<string, Entry>();
    entries.set(spec.name, entry);
    this.#entries.set(uid, entries);
  }

  #event(
    pod: Pod,
    spec: ContainerSpec,
    type: "Normal" | "Warning",
    reason: string,
    message: string,
  ): void {
    const about = involvedPod(pod, fieldPathOf(pod, spec.name));
    this.#options.events.record(about, type, reason, message);
  }
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(3).replace(/\.?0+$/, "")}s`;
}
