/**
 * Images of containers by pull policy. `ensure` answers at once for what is present and open to the pod; what needs
 * credentials or a pull goes on apart from the worker's turn, and `onDone` tells the worker. Failed pulls back off from
 * 10 s to 5 min per pod and image. Owned by PodManager; `state` feeds the snapshot.
 */

import { type EventSink, type EventType, involvedPod } from "../api/events.ts";
import type { Container as ContainerSpec, Pod } from "../api/types.ts";
import { Backoff } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { TokenBucket } from "../core/token-bucket.ts";
import type { ImageAccess } from "../images/access.ts";
import type { Credential } from "../images/keyring.ts";
import { Puller, type PullResult } from "../images/puller.ts";
import type { Image, Runtime } from "../runtime/runtime.ts";
import { fieldPathOf, findContainer } from "./containers.ts";
import { Slots } from "./slots.ts";
import type { ImageState } from "./snapshot.ts";

export interface ImageManagerOptions {
  readonly runtime: Pick<Runtime, "inspectImage" | "pullImage">;
  readonly access: Pick<ImageAccess, keyof ImageAccess>;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly maxParallel: number;
  /** Pulls a second and how many at once before that counts; 0 = without limit. */
  readonly registryPullQPS: number;
  readonly registryBurst: number;
  readonly credentials: (
    pod: Pod,
    image: string,
    signal: AbortSignal,
  ) => Promise<readonly Credential[]>;
  readonly onDone: (podUid: string) => void;
  readonly onPulled?: (podUid: string, tookMs: number) => void;
}

interface Failure {
  readonly reason: string;
  readonly message: string;
  readonly retryAt: number;
}

type Entry =
  | { readonly kind: "pulling"; readonly image: string; readonly giveUp: AbortController }
  | { readonly kind: "present"; readonly image: string; readonly imageId: string }
  /** After `shownUntil` not its reason is shown, but that it backs off. */
  | ({ readonly kind: "failed"; readonly image: string; readonly shownUntil: number } & Failure);

interface PodImages {
  readonly entries: Map<string, Entry>;
  /** The last failed pull of each image, kept for the time of its back-off. */
  readonly failures: Map<string, Failure>;
}

interface Wanted {
  readonly pod: Pod;
  readonly spec: ContainerSpec;
  readonly image: string;
  readonly policy: string;
  /** The image as it is on the node. */
  readonly found: Image | undefined;
}

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
  readonly #puller: Puller;
  readonly #pods = new Map<string, PodImages>();
  readonly #backoff = new Backoff({ initialMs: 10_000, maxMs: 300_000, resetMs: 600_000 });
  readonly #underway = new Set<Promise<void>>();

  constructor(options: ImageManagerOptions) {
    this.#options = options;
    const slots = new Slots(options.maxParallel);
    const limit = (work: () => Promise<PullResult>): Promise<PullResult> => slots.run(work);
    const pace = new TokenBucket(options.registryPullQPS, options.registryBurst);
    this.#puller = new Puller({ ...options, limit, pace });
  }

  /** What is known of the image of one container of a pod, for the snapshot. */
  state(podUid: string, spec: ContainerSpec): ImageState {
    const entry = this.#pods.get(podUid)?.entries.get(spec.name);
    if (entry === undefined || entry.image !== spec.image) return { kind: "unknown" };
    const now = this.#options.clock.now();
    switch (entry.kind) {
      case "pulling":
        return { kind: "pulling" };
      case "present":
        return { kind: "present", imageId: entry.imageId };
      case "failed": {
        const { image, reason, message, retryAt, shownUntil } = entry;
        const mayRetry = now >= retryAt;
        if (now < shownUntil) {
          const waitMs = Math.min(shownUntil, retryAt) - now;
          return { kind: "failed", reason, message, waitMs, mayRetry };
        }
        return {
          kind: "failed",
          reason: "ImagePullBackOff",
          message: `Back-off pulling image "${image}": ${reason}: ${message}`,
          waitMs: retryAt - now,
          mayRetry,
        };
      }
    }
  }

  /** Finds the image or begins to pull it. Engine errors other than a bad name are thrown to the worker's loop. */
  async ensure(pod: Pod, spec: ContainerSpec, signal: AbortSignal): Promise<void> {
    const { runtime, access } = this.#options;
    const image = spec.image ?? "";
    const policy = pullPolicyOf(spec);
    let found: Image | undefined;
    try {
      found = await runtime.inspectImage(image, signal);
    } catch (error) {
      if (!hasCode(error, "ImageInvalidName")) throw error;
      const message = `Failed to apply default image tag "${image}": ${messageOf(error)}`;
      return this.#refuse(pod, spec, "InvalidImageName", message, "InspectFailed");
    }
    const wanted = { pod, spec, image, policy, found };
    if (found === undefined && policy === "Never") return this.#refuseNever(wanted);
    if (found !== undefined && policy !== "Always" && (await access.isOpen(image, found.id)))
      return this.#accept(wanted, found);
    const giveUp = new AbortController();
    this.#set(pod, spec, { kind: "pulling", image, giveUp });
    const work = this.#obtain(wanted, giveUp.signal).finally(() => this.#underway.delete(work));
    this.#underway.add(work);
  }

  /** The next start of this container looks for its image again. */
  forget(podUid: string, name: string): void {
    const entries = this.#pods.get(podUid)?.entries;
    giveUp(entries?.get(name));
    entries?.delete(name);
  }

  forgetPod(podUid: string): void {
    const known = this.#pods.get(podUid);
    this.#pods.delete(podUid);
    for (const entry of known?.entries.values() ?? []) giveUp(entry);
    for (const image of known?.failures.keys() ?? []) this.#backoff.reset(keyOf(podUid, image));
  }

  /** Gives up the pulls under way and waits for them. */
  async stop(): Promise<void> {
    for (const { entries } of this.#pods.values())
      for (const entry of entries.values()) giveUp(entry);
    await Promise.all(this.#underway);
    await this.#puller.stop();
  }

  /** Never rejects: the outcome is the entry. */
  async #obtain(wanted: Wanted, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const { pod, image } = wanted;
    try {
      const credentials = await this.#options.credentials(pod, image, signal);
      if (!(await this.#isSettled(wanted, credentials, signal))) {
        const askedAt = clock.monotonic();
        this.#event(wanted, "Normal", "Pulling", `Pulling image "${image}"`);
        const { image: pulled, tookMs } = await this.#puller.pull(image, credentials, signal);
        if (signal.aborted) return;
        this.#options.onPulled?.(pod.metadata.uid, tookMs);
        const took = duration(tookMs);
        const waited = duration(clock.monotonic() - askedAt);
        const message = `Successfully pulled image "${image}" in ${took} (${waited} including waiting). Image size: ${pulled.sizeBytes} bytes.`;
        this.#event(wanted, "Normal", "Pulled", message);
        this.#recover(wanted);
        this.#set(pod, wanted.spec, { kind: "present", image, imageId: pulled.id });
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#fail(wanted, error);
    }
    this.#options.onDone(pod.metadata.uid);
  }

  /** True when there is nothing to pull: the pod may use what is there, may not pull, or has to wait. */
  async #isSettled(
    wanted: Wanted,
    credentials: readonly Credential[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const { pod, spec, image, policy, found } = wanted;
    if (found !== undefined && policy !== "Always") {
      const isGranted = await this.#options.access.isGranted(image, found.id, credentials);
      if (signal.aborted) return true;
      if (isGranted) {
        this.#accept(wanted, found);
        return true;
      }
      // As if it were not there: who may not use it shall not learn that it is.
      if (policy === "Never") {
        this.#refuseNever(wanted);
        return true;
      }
    }
    const { uid } = pod.metadata;
    const failure = this.#pods.get(uid)?.failures.get(image);
    const now = this.#options.clock.now();
    if (failure === undefined || now >= failure.retryAt) return false;
    this.#set(pod, spec, { kind: "failed", image, ...failure, shownUntil: now });
    return true;
  }

  #accept(wanted: Wanted, { id }: Image): void {
    const { pod, spec, image } = wanted;
    const message = `Container image "${image}" already present on machine and can be accessed by the pod`;
    this.#event(wanted, "Normal", "Pulled", message);
    this.#set(pod, spec, { kind: "present", image, imageId: id });
  }

  #refuseNever({ pod, spec, image }: Wanted): void {
    const message = `Container image "${image}" is not present with pull policy of Never`;
    this.#refuse(pod, spec, "ErrImageNeverPull", message, "ErrImageNeverPull");
  }

  #refuse(pod: Pod, spec: ContainerSpec, reason: string, message: string, event: string): void {
    this.#event({ pod, spec }, "Warning", event, message);
    this.#event({ pod, spec }, "Warning", "Failed", `Error: ${reason}`);
    const retryAt = this.#options.clock.now() + RECHECK_MS;
    const failure = { reason, message, retryAt, shownUntil: Number.POSITIVE_INFINITY };
    this.#set(pod, spec, { kind: "failed", image: spec.image ?? "", ...failure });
  }

  #fail(wanted: Wanted, error: unknown): void {
    const { pod, spec, image } = wanted;
    const words = messageOf(error);
    const isAway = hasCode(error, "ImageRegistryUnavailable");
    const reason = isAway ? "RegistryUnavailable" : "ErrImagePull";
    const message = isAway
      ? `image pull failed for ${image} because the registry is unavailable: ${words}`
      : words;
    const told = isAway ? `${reason}: ${words}` : words;
    this.#event(wanted, "Warning", "Failed", `Failed to pull image "${image}": ${told}`);
    this.#event(wanted, "Warning", "Failed", `Error: ${reason}`);
    const now = this.#options.clock.now();
    const key = keyOf(pod.metadata.uid, image);
    // Containers of one pod that shared a failed pull share its delay too.
    const waitMs = this.#backoff.remaining(key, now) || this.#backoff.fail(key, now);
    const failure = { reason, message, retryAt: now + waitMs };
    this.#imagesOf(pod).failures.set(image, failure);
    this.#set(pod, spec, { kind: "failed", image, ...failure, shownUntil: now + ERROR_SHOWN_MS });
  }

  #recover({ pod, image }: Wanted): void {
    this.#backoff.reset(keyOf(pod.metadata.uid, image));
    this.#pods.get(pod.metadata.uid)?.failures.delete(image);
  }

  #imagesOf(pod: Pod): PodImages {
    const { uid } = pod.metadata;
    const known = this.#pods.get(uid) ?? { entries: new Map(), failures: new Map() };
    this.#pods.set(uid, known);
    return known;
  }

  #set(pod: Pod, { name }: ContainerSpec, entry: Entry): void {
    const { entries } = this.#imagesOf(pod);
    const before = entries.get(name);
    if (entry.kind === "pulling" || before?.image !== entry.image) giveUp(before);
    entries.set(name, entry);
  }

  #event(
    { pod, spec }: Pick<Wanted, "pod" | "spec">,
    type: EventType,
    reason: string,
    message: string,
  ): void {
    // An image volume's is of no container.
    const isOwn = findContainer(pod.spec, spec.name) !== undefined;
    const about = involvedPod(pod, isOwn ? fieldPathOf(pod, spec.name) : undefined);
    this.#options.events.record(about, type, reason, message);
  }
}

/** Whoever waits for a pull for this entry waits no longer. */
function giveUp(entry: Entry | undefined): void {
  if (entry?.kind === "pulling") entry.giveUp.abort();
}

function keyOf(podUid: string, image: string): string {
  return `${podUid}/${image}`;
}

/** As Go prints a duration that was cut to milliseconds. */
function duration(ms: number): string {
  const whole = Math.floor(ms);
  if (whole > 0 && whole < 1000) return `${whole}ms`;
  const minutes = Math.floor(whole / 60_000);
  return `${minutes > 0 ? `${minutes}m` : ""}${(whole % 60_000) / 1000}s`;
}
