/**
 * A node in memory for the tests of the pod manager: a runtime that keeps state and refuses what makes no sense, an API
 * server of one pod resource, and quiet stand-ins for network, volumes and probes. Everything done is in `journal`.
 */

import type { ApiClient } from "../../../src/api/client.ts";
import { MutableStore } from "../../../src/api/store.ts";
import type {
  Container as ContainerSpec,
  Pod,
  PodStatus,
  Service,
  StoredObject,
} from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Logger } from "../../../src/core/logger.ts";
import { type CheckpointData, EMPTY_CHECKPOINT } from "../../../src/pods/checkpoint.ts";
import { PodManager } from "../../../src/pods/manager.ts";
import { PodSources } from "../../../src/pods/static/pod-sources.ts";
import type { ProbeResults } from "../../../src/probes/probes.ts";
import {
  type ContainerConfigInput,
  RESOURCES_ANNOTATION,
} from "../../../src/runtime/container-config.ts";
import { computeResources } from "../../../src/runtime/resources.ts";
import type {
  Container,
  ContainerConfig,
  ContainerResources,
  Image,
  Runtime,
  RuntimeEvent,
  RuntimeState,
  Sandbox,
  SandboxConfig,
} from "../../../src/runtime/runtime.ts";
import { AgentMetrics } from "../../../src/server/stats/agent-metrics.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { applyPatch } from "../../fakes/patch.ts";

const QUIET: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => QUIET,
};

const QUIET_TURNS = 20;

class FakeRuntime {
  readonly sandboxes = new Map<string, Sandbox>();
  readonly containers = new Map<string, Container>();
  readonly images = new Map<string, string>();
  readonly journal: string[];
  readonly clock: FakeClock;
  onEvent: (event: RuntimeEvent) => void = () => undefined;
  /** Called before each effect; throws to make it fail. */
  disturb: (what: string) => void = () => undefined;
  /** What a stop waits for; resolves at once by default. */
  stopping: (id: string, graceSeconds: number, signal: AbortSignal) => Promise<void> = async () =>
    undefined;
  pulling: (ref: string, signal: AbortSignal) => Promise<void> = async () => undefined;
  listings = 0;
  #next = 0;

  constructor(clock: FakeClock, journal: string[]) {
    this.clock = clock;
    this.journal = journal;
  }

  #note(what: string): void {
    this.disturb(what);
    this.journal.push(what);
  }

  async list(_signal: AbortSignal, podUid?: string): Promise<RuntimeState> {
    this.listings += 1;
    const isOwn = ({ pod }: { pod: { uid: string } }) => podUid === undefined || pod.uid === podUid;
    return {
      sandboxes: [...this.sandboxes.values()].filter(isOwn),
      containers: [...this.containers.values()].filter(isOwn).sort((a, b) => b.attempt - a.attempt),
    };
  }

  async runSandbox(config: SandboxConfig): Promise<Sandbox> {
    this.#note(`run-sandbox ${config.attempt}`);
    const id = `sandbox-${this.#next++}`;
    const now = this.clock.now();
    const sandbox: Sandbox = { ...config, id, state: "ready", pid: 1, createdAt: now };
    this.sandboxes.set(id, sandbox);
    return sandbox;
  }

  async stopSandbox(id: string): Promise<void> {
    this.#note(`stop-sandbox ${id}`);
    const sandbox = this.sandboxes.get(id);
    if (sandbox !== undefined) this.sandboxes.set(id, { ...sandbox, state: "exited", pid: 0 });
  }

  async removeSandbox(id: string): Promise<void> {
    this.#note(`remove-sandbox ${id}`);
    this.sandboxes.delete(id);
  }

  async createContainer(config: ContainerConfig): Promise<string> {
    this.#note(`create ${config.name} ${config.attempt}`);
    if (this.sandboxes.get(config.sandboxId)?.state !== "ready")
      throw new LongshoreError("EngineConflict", "the sandbox does not run");
    const id = `container-${this.#next++}`;
    this.containers.set(id, {
      ...config,
      id,
      state: "created",
      pid: 0,
      createdAt: this.clock.now(),
      startedAt: 0,
      finishedAt: 0,
      exitCode: 0,
      oomKilled: false,
      error: "",
    });
    return id;
  }

  async startContainer(id: string): Promise<void> {
    this.#note(`start ${this.containers.get(id)?.name}`);
    this.#change(id, { state: "running", pid: 2, startedAt: this.clock.now() });
  }

  async stopContainer(id: string, graceSeconds: number, signal: AbortSignal): Promise<void> {
    this.#note(`stop ${this.containers.get(id)?.name} ${graceSeconds}`);
    await this.stopping(id, graceSeconds, signal);
    this.exit(id, 137);
  }

  async updateResources(id: string, resources: ContainerResources): Promise<void> {
    this.#note(`update ${this.containers.get(id)?.name} ${JSON.stringify(resources)}`);
    this.#change(id, { resources });
  }

  async removeContainer(id: string): Promise<void> {
    this.#note(`remove ${this.containers.get(id)?.name}`);
    this.containers.delete(id);
  }

  async inspectImage(ref: string): Promise<Image | undefined> {
    const id = this.images.get(ref);
    return id === undefined ? undefined : { id, tags: [ref], digests: [], sizeBytes: 1, user: "" };
  }

  async pullImage(ref: string, _login: unknown, signal: AbortSignal): Promise<Image> {
    this.#note(`pull ${ref}`);
    await this.pulling(ref, signal);
    this.images.set(ref, `sha256:${ref}`);
    return { id: `sha256:${ref}`, tags: [ref], digests: [], sizeBytes: 1, user: "" };
  }

  async watchEvents(onEvent: (event: RuntimeEvent) => void, signal: AbortSignal): Promise<void> {
    this.onEvent = onEvent;
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  }

  /** The container's program ends by itself. */
  exit(id: string, exitCode: number): void {
    if (this.containers.get(id)?.state !== "running") return;
    this.#change(id, { state: "exited", pid: 0, exitCode, finishedAt: this.clock.now() });
    this.onEvent({ kind: "pod-changed", podUid: this.containers.get(id)?.pod.uid ?? "" });
  }

  byName(name: string): Container | undefined {
    return [...this.containers.values()].findLast((container) => container.name === name);
  }

  #change(id: string, fields: Partial<Container>): void {
    const container = this.containers.get(id);
    if (container === undefined) throw new LongshoreError("EngineNotFound", `no container ${id}`);
    this.containers.set(id, { ...container, ...fields });
  }
}

export class FakeNode {
  readonly clock = new FakeClock();
  readonly metrics = new AgentMetrics();
  readonly journal: string[] = [];
  readonly events: string[] = [];
  /** What was warned of in the log. */
  readonly warnings: string[] = [];
  /** What the agent knows of the Node, and what it has by now. */
  labels: Readonly<Record<string, string>> = {};
  freshLabels: Readonly<Record<string, string>> = {};
  allocatable: Readonly<Record<string, number>> = {};
  readonly statuses: PodStatus[] = [];
  readonly pods = new MutableStore<Pod>();
  readonly runtime = new FakeRuntime(this.clock, this.journal);
  checkpoint: CheckpointData = EMPTY_CHECKPOINT;
  readonly failures = new Map<string, ProbeResults>();
  readonly directories: string[] = [];
  isApiAway = false;
  /** In containers that have ended, as the kernel counts; undefined = as on cgroup version 1. */
  oomKills: number | undefined;
  /** What a hook of a container does. */
  hook: (name: string, signal: AbortSignal) => Promise<void> = async () => undefined;
  readonly #log: Logger = {
    ...QUIET,
    warn: (_fields, message) => void this.warnings.push(message),
    child: () => this.#log,
  };
  #version = 10;
  isNetworkReady = true;
  /** Whether the Node is known when the agent starts. */
  isOpen = true;
  readonly #staticSources: readonly string[];
  sources: PodSources;
  manager: PodManager;

  /** `sources.setStatic` plays the static sources of these names. */
  constructor(staticSources: readonly string[] = []) {
    this.#staticSources = staticSources;
    this.sources = this.#createSources();
    this.manager = this.#createManager();
  }

  /** A new agent process on the same host. */
  async restart(): Promise<void> {
    await this.manager.stop();
    this.sources = this.#createSources();
    this.manager = this.#createManager();
    await this.start();
  }

  async start(): Promise<void> {
    if (this.isOpen) this.sources.open();
    await this.manager.start();
    await this.run();
  }

  /** Lets everything happen that needs no more than `ms` milliseconds. */
  async run(ms = 1_000): Promise<void> {
    await this.#quiet();
    await this.clock.advance(ms);
    await this.#quiet();
  }

  /** Everything here settles by itself; a few turns of the event loop let the last promise do so. */
  async #quiet(): Promise<void> {
    for (let turn = 0; turn < QUIET_TURNS; turn++) await this.clock.advance(0);
  }

  apply(pod: Pod): void {
    const known = this.pods.get(`${pod.metadata.namespace}/${pod.metadata.name}`);
    const status = known?.status ?? pod.status;
    const metadata = { ...pod.metadata, resourceVersion: String(this.#version++) };
    this.pods.apply({ ...pod, metadata, ...(status === undefined ? {} : { status }) });
  }

  phases(): (string | undefined)[] {
    const phases = this.statuses.map(({ phase }) => phase);
    return phases.filter((phase, index) => phase !== undefined && phase !== phases[index - 1]);
  }

  #createSources(): PodSources {
    const client = this.#client() as ApiClient;
    return new PodSources({ api: this.pods, client, staticSources: this.#staticSources });
  }

  #createManager(): PodManager {
    const isNetworkReady = (): boolean => this.isNetworkReady;
    const never = async (): Promise<never> => {
      throw new LongshoreError("Bug", "not expected in this test");
    };
    return new PodManager({
      nodeName: "n",
      files: {
        write: async (_uid, name) => `/pod/${name}`,
        createMessageFile: async () => "/pod/message",
        readMessage: async () => "",
        remove: async () => undefined,
      },
      checkpoint: {
        load: async () => this.checkpoint,
        save: async (data) => {
          this.checkpoint = structuredClone(data);
        },
      },
      maxPods: 10,
      syncFrequencyMs: 60_000,
      maxContainerRestartPeriodMs: 300_000,
      ...{ registryPullQPS: 0, registryBurst: 0 },
      observer: this.metrics,
      maxParallelImagePulls: 2,
      imageAccess: {
        start: async () => undefined,
        isOpen: async () => true,
        isGranted: async () => true,
        pullBegins: async () => undefined,
        pulled: async () => undefined,
        pullFailed: async () => undefined,
      },
      nodeCredentials: { find: async () => [] },
      client: this.sources.statusClient(),
      pods: this.sources,
      services: emptyStore<Service>(),
      objects: {
        getConfigMap: async () => undefined,
        getSecret: async () => undefined,
        getServiceAccount: async () => undefined,
        requestToken: never,
        listClusterTrustBundles: never,
        retainPod: () => undefined,
        releasePod: () => undefined,
      },
      runtime: this.runtime as unknown as Runtime,
      network: {
        get isReady() {
          return isNetworkReady();
        },
        start: never,
        allocate: async () => ["10.0.0.2"],
        release: () => undefined,
        attach: async ({ id }) => void this.journal.push(`attach ${id}`),
        detach: async ({ id }) => void this.journal.push(`detach ${id}`),
        collect: async () => undefined,
      },
      cgroups: {
        ensurePod: async () => ({ cgroupParent: "/pod" }),
        countOomKills: async () => this.oomKills,
        resizePod: async (_pod, how) => void this.journal.push(`resize-pod ${how}`),
        sync: async () => undefined,
      },
      volumes: {
        ensure: async () => new Map(),
        showImage: async ({ volume, imageId }) => ({
          ...{ name: volume, hostPath: `/images/${imageId}`, readOnly: true },
        }),
        bindSubPath: async ({ subPath }) => `/bound/${subPath}`,
        teardown: async () => void this.journal.push("teardown"),
        listPodUids: async () => this.directories,
      },
      probes: {
        sync: () => undefined,
        stopPod: () => undefined,
        results: (_uid, _spec, id) => this.failures.get(id) ?? { isStarted: true, isReady: true },
        report: () => [],
        stop: async () => undefined,
      },
      hooks: {
        run: async (_handler, { container }, signal) => {
          this.journal.push(`hook ${container.name}`);
          await this.hook(container.name, signal);
        },
      },
      events: {
        record: (_about, type, reason, message) =>
          void this.events.push(`${type} ${reason} ${message}`),
      },
      clock: this.clock,
      random: () => 0.5,
      log: this.#log,
      refreshNode: async () => {
        this.labels = { ...this.freshLabels };
      },
      node: () => ({
        hostIps: ["192.0.2.1"],
        labels: this.labels,
        allocatable: this.allocatable,
        ...{ taints: [], hasAppArmor: false, hasSeLinux: false },
        ...{ recursiveReadOnlyHandlers: [], allowedUnsafeSysctls: [] },
        memoryCapacity: 1,
        etcHosts: "",
      }),
      dns: { clusterDomain: "cluster.local", clusterDns: [], nodeResolvConf: "" },
      compute: {
        computeHostsFile: () => "",
        computeResolvConf: () => "",
        computeSpecHash: ({ image, name }: ContainerSpec) => `${name}/${image}`,
        computeContainerConfig: toConfig,
      },
    });
  }

  #client(): Partial<ApiClient> {
    const reach = (): void => {
      if (this.isApiAway) throw new LongshoreError("ApiUnreachable", "away");
    };
    const patch = async (_resource: unknown, ref: { name: string }, body: object) => {
      reach();
      const stored = this.pods.get(`ns/${ref.name}`);
      if (stored === undefined) throw new LongshoreError("ApiNotFound", "no such pod");
      const { status } = body as { status: PodStatus };
      this.statuses.push(status);
      const patched = applyPatch("strategic", stored, body) as Pod;
      const metadata = { ...patched.metadata, resourceVersion: String(this.#version++) };
      const pod: Pod = { ...patched, metadata };
      this.pods.apply(pod);
      return pod;
    };
    const remove = async (_resource: unknown, ref: { name: string }) => {
      reach();
      this.journal.push(`delete-object ${ref.name}`);
      const stored = this.pods.get(`ns/${ref.name}`);
      if (stored !== undefined) this.pods.delete(stored);
    };
    return { patch, delete: remove } as unknown as Partial<ApiClient>;
  }
}

function toConfig(input: ContainerConfigInput): ContainerConfig {
  const { name, image = "" } = input.container;
  const { namespace, name: podName, uid } = input.pod.metadata;
  return {
    pod: { namespace, name: podName, uid },
    name,
    kind: input.kind,
    attempt: input.attempt,
    specHash: `${name}/${image}`,
    sandboxId: input.sandboxId,
    image,
    imageId: input.imageId,
    env: [],
    mounts: [],
    devices: [],
    tty: false,
    stdin: false,
    stdinOnce: false,
    privileged: false,
    noNewPrivileges: false,
    supplementalGroups: [],
    readOnlyRootfs: false,
    addCapabilities: [],
    dropCapabilities: [],
    seccomp: "default",
    sharePid: false,
    hostPid: false,
    resources: computeResources(input.pod.spec, input.container, undefined),
    annotations:
      input.container.resources === undefined
        ? {}
        : { [RESOURCES_ANNOTATION]: JSON.stringify(input.container.resources) },
  };
}

/** Of a resource of which there is nothing, and that is known. */
function emptyStore<T extends StoredObject>(): MutableStore<T> {
  const store = new MutableStore<T>();
  store.replace([]);
  return store;
}
