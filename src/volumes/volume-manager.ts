/**
 * PodVolumes over the local disk: collects what each volume should show (kinds/*), observes, plans and applies until
 * nothing is left to do. Keeps only what can be lost: hashes of content written and tokens. `start` before use.
 * Called by the workers of pods, one call per pod at a time.
 */

import { mkdir, readdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import type { Pod, Volume } from "../api/types.ts";
import type { Clock } from "../core/clock.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { Exec } from "../core/exec.ts";
import type { Logger } from "../core/logger.ts";
import type { Syscalls } from "../core/syscalls.ts";
import { type ApplyContext, applyStep } from "./apply.ts";
import { type ClaimSource, Claims, claimNameOf, deviceNames } from "./claims.ts";
import { computeClaimed, computeDesiredVolume, isReadOnlyVolume, usedVolumes } from "./desired.ts";
import {
  type ImagePort,
  type ImageVolumeRequest,
  imageDirectory,
  showImage,
} from "./image-volume.ts";
import { computeConfigMapFiles } from "./kinds/config-map.ts";
import { computeDownwardFiles } from "./kinds/downward-api.ts";
import type { FileSources } from "./kinds/projected.ts";
import { computeSecretFiles } from "./kinds/secret.ts";
import { computeTrustAnchors } from "./kinds/trust-bundle.ts";
import { type MountEntry, remoteMountOf } from "./mountinfo.ts";
import { observeVolume, readEntry, readMounts } from "./observe.ts";
import { ownerOf, type VolumeOwner } from "./ownership.ts";
import { isPodUid, podDirectory } from "./paths.ts";
import {
  computeTeardownSteps,
  computeVolumeSteps,
  contentHashOf,
  type DesiredVolume,
} from "./plan.ts";
import type { PodCertificates } from "./pod-certificates.ts";
import { RemoteMounts } from "./remote-mounts.ts";
import { checkNotAborted } from "./remove-tree.ts";
import { ensureShared } from "./shared-mounts.ts";
import { bindSubPath } from "./sub-path.ts";
import { TokenCache } from "./token-cache.ts";
import { type Measurable, measurableOf, type VolumeUsage, VolumeUsages } from "./usage.ts";
import type {
  MountedVolume,
  ObjectSource,
  PodFacts,
  PodVolumes,
  SubPathRequest,
} from "./volumes.ts";

export interface VolumeManagerOptions {
  /** The agent's state directory; volumes lie in its `pods`. */
  readonly rootDir: string;
  readonly objects: ObjectSource & ClaimSource;
  readonly syscalls: Syscalls;
  /** For what may wait for a file server. */
  readonly exec: Exec;
  readonly images: ImagePort;
  readonly certificates: Pick<PodCertificates, "get" | "forget">;
  /** How old a measurement of a volume may be; undefined = none is made. */
  readonly statsPeriodMs?: number | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Turns of observe, plan, apply in one call; each turn does all that its observation allows. */
const MAX_TURNS = 4;
const PODS_MODE = 0o750;

interface EnsureTurn {
  readonly podDir: string;
  readonly mounts: readonly MountEntry[];
  readonly sources: FileSources;
  readonly owner: VolumeOwner;
  readonly facts: PodFacts;
  readonly context: ApplyContext;
}

interface Ensured {
  readonly mounted: MountedVolume;
  readonly measurable: Measurable | undefined;
}

export class VolumeManager implements PodVolumes {
  readonly #options: VolumeManagerOptions;
  readonly #tokens: TokenCache;
  readonly #claims: Claims;
  readonly #remote: RemoteMounts;
  readonly #usages: VolumeUsages;
  /** Path of a volume → hash of what was written last. */
  readonly #written = new Map<string, string>();
  #podsDir: string | undefined;

  constructor(options: VolumeManagerOptions) {
    this.#options = options;
    this.#tokens = new TokenCache(options);
    this.#claims = new Claims(options.objects);
    this.#remote = new RemoteMounts(options);
    this.#usages = new VolumeUsages({ ...options, remote: this.#remote });
  }

  /** Makes the directory of pods, and shares its mounts when the agent has a mount namespace of its own. */
  async start(): Promise<void> {
    const dir = join(this.#options.rootDir, "pods");
    await mkdir(dir, { recursive: true, mode: PODS_MODE });
    // The mount table knows no links.
    this.#podsDir = await realpath(dir);
    await ensureShared(this.#podsDir, this.#options);
  }

  async ensure(
    pod: Pod,
    facts: PodFacts,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, MountedVolume>> {
    const podDir = podDirectory(this.#dir(), pod.metadata.uid);
    const sources = this.#fileSources(pod, facts, signal);
    const context = this.#context(signal);
    // One reading serves the first turn of all volumes; nobody else mounts at their places.
    const mounts = await readMounts();
    const owner = ownerOf(pod);
    const results = await Promise.allSettled(
      usedVolumes(pod).map((volume) =>
        this.#ensureVolume(pod, volume, { podDir, mounts, sources, owner, facts, context }),
      ),
    );
    const mounted = new Map<string, MountedVolume>();
    const measurable: Measurable[] = [];
    for (const result of results) {
      if (result.status === "rejected") throw result.reason;
      mounted.set(result.value.mounted.name, result.value.mounted);
      if (result.value.measurable !== undefined) measurable.push(result.value.measurable);
    }
    this.#usages.set(pod.metadata.uid, measurable);
    return mounted;
  }

  async bindSubPath(request: SubPathRequest, signal: AbortSignal): Promise<string> {
    checkNotAborted(signal);
    const podDir = podDirectory(this.#dir(), request.podUid);
    await this.#checkServer(request.volume.hostPath, podDir, await readMounts(), signal);
    return bindSubPath(podDir, request, this.#options.syscalls);
  }

  async showImage(request: ImageVolumeRequest, signal: AbortSignal): Promise<MountedVolume> {
    const podDir = podDirectory(this.#dir(), request.podUid);
    const hostPath = await showImage(podDir, request, this.#options, signal);
    return { name: request.volume, hostPath, readOnly: true, isSealed: true };
  }

  async teardown(podUid: string, signal: AbortSignal): Promise<void> {
    const podDir = podDirectory(this.#dir(), podUid);
    const context = this.#context(signal);
    this.#tokens.forget(podUid);
    this.#options.certificates.forget(podUid);
    this.#claims.forget(podUid);
    this.#usages.forget(podUid);
    this.#remote.forget(podDir);
    for (const path of [...this.#written.keys()])
      if (path.startsWith(`${podDir}/`)) this.#written.delete(path);
    for (let turn = 0; turn < MAX_TURNS; turn++) {
      const exists = (await readEntry(podDir, false)) !== "absent";
      const steps = computeTeardownSteps(podDir, await readMounts(), exists);
      if (steps.length === 0) return;
      for (const step of steps) {
        if (step.kind === "remove-tree") await this.#releaseImages(podUid, podDir, signal);
        await applyStep(step, context);
      }
    }
    throw new LongshoreError("VolumeNotReady", `volumes of pod ${podUid} cannot be removed yet`);
  }

  /** What a pod's own volumes use; see usage.ts. */
  usage(podUid: string): Promise<readonly VolumeUsage[]> {
    return this.#usages.read(podUid);
  }

  /** Gives up measurements under way. Mounts stay: containers go on without the agent. */
  async stop(): Promise<void> {
    await Promise.all([this.#usages.stop(), this.#remote.stop()]);
  }

  async listPodUids(): Promise<readonly string[]> {
    const entries = await readdir(this.#dir(), { withFileTypes: true });
    // A stray file is nobody's pod.
    return entries
      .filter((entry) => entry.isDirectory() && isPodUid(entry.name))
      .map(({ name }) => name);
  }

  async #releaseImages(podUid: string, podDir: string, signal: AbortSignal): Promise<void> {
    if ((await readEntry(imageDirectory(podDir), false)) === "absent") return;
    await this.#options.images.releaseImages(podUid, signal);
  }

  /** Before a thread of ours looks at a path: one whose server is not there would keep it. */
  async #checkServer(
    path: string,
    podDir: string,
    mounts: readonly MountEntry[],
    signal: AbortSignal,
  ): Promise<void> {
    const mount = remoteMountOf(path, mounts, podDir);
    if (mount !== undefined) await this.#remote.totals(mount.mountPoint, signal);
  }

  #context(signal: AbortSignal): ApplyContext {
    const { syscalls, clock } = this.#options;
    return { syscalls, clock, signal, remote: this.#remote };
  }

  #dir(): string {
    if (this.#podsDir === undefined)
      throw new LongshoreError("Bug", "VolumeManager used before start()");
    return this.#podsDir;
  }

  async #ensureVolume(pod: Pod, volume: Volume, turn: EnsureTurn): Promise<Ensured> {
    const { podDir, mounts, sources, owner, facts, context } = turn;
    // As in the kubelet's messages: of a claim the PersistentVolume's, once it is known.
    let nameToTell = volume.name;
    try {
      const claimName = claimNameOf(pod, volume);
      const claimed =
        claimName === undefined
          ? undefined
          : await this.#claims.resolve(pod, volume, { claimName, node: facts }, context.signal);
      nameToTell = claimed?.name ?? volume.name;
      const desired =
        claimed === undefined
          ? await computeDesiredVolume(volume, podDir, sources, owner)
          : computeClaimed(volume.name, claimed, podDir, owner);
      await this.#converge(desired, podDir, mounts, context);
      const readOnly = claimed?.readOnly ?? isReadOnlyVolume(desired);
      const isDevice = claimed?.kind === "host" && deviceNames(pod).has(volume.name);
      const mounted: MountedVolume = {
        ...{ name: volume.name, hostPath: desired.path, readOnly },
        ...(isDevice ? { isDevice } : {}),
      };
      const isRemote = remoteMountOf(desired.path, mounts, podDir) !== undefined;
      return { mounted, measurable: measurableOf(desired, claimed, isRemote) };
    } catch (error) {
      if (context.signal.aborted) throw error;
      const code = error instanceof LongshoreError ? error.code : "VolumeNotReady";
      const message = `MountVolume.SetUp failed for volume "${nameToTell}" : ${messageOf(error)}`;
      throw new LongshoreError(code, message, { cause: error });
    }
  }

  async #converge(
    desired: DesiredVolume,
    podDir: string,
    firstMounts: readonly MountEntry[],
    context: ApplyContext,
  ): Promise<void> {
    // A path of the host's may be shown by several pods.
    const isOfHost = desired.kind === "host-path";
    const key = isOfHost ? join(podDir, "host", desired.name) : desired.path;
    if (isOfHost) await this.#checkServer(desired.path, podDir, firstMounts, context.signal);
    for (let turn = 0; turn < MAX_TURNS; turn++) {
      const mounts = turn === 0 ? firstMounts : await readMounts();
      const observed = await observeVolume(desired, mounts, this.#written.get(key));
      const steps = computeVolumeSteps(desired, observed);
      if (steps.length === 0) return;
      this.#written.delete(key);
      for (const step of steps) await applyStep(step, context);
      this.#written.set(key, contentHashOf(desired));
    }
    throw new LongshoreError("VolumeNotReady", `${desired.path} does not stay as it was made`);
  }

  #fileSources(pod: Pod, facts: PodFacts, signal: AbortSignal): FileSources {
    const { objects, certificates } = this.#options;
    const { namespace } = pod.metadata;
    return {
      configMap: async (source, name) =>
        computeConfigMapFiles(source, name, await objects.getConfigMap(namespace, name, signal)),
      secret: async (source, name) =>
        computeSecretFiles(source, name, await objects.getSecret(namespace, name, signal)),
      downwardApi: (items, defaultMode) => computeDownwardFiles(items, defaultMode, pod, facts),
      trustAnchors: async (source) =>
        computeTrustAnchors(source, await objects.listClusterTrustBundles(signal)),
      podCertificate: (place, source) => certificates.get(pod, place, source, signal),
      token: (audience, expirationSeconds) => {
        const request = { expirationSeconds, ...(audience === undefined ? {} : { audience }) };
        return this.#tokens.get(pod, request, signal);
      },
    };
  }
}
