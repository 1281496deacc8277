/**
 * The part of the composition root that is about pods: their sources, their manager and what it works with. Starts
 * behind the agent's start and tries again until it succeeds. Static pods of the host's network run from then on, the
 * API server's when the Node is known, all others when the pod network is up. Made by agent.ts.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ApiClient } from "./api/client.ts";
import type { EventSink } from "./api/events.ts";
import { toAmounts } from "./api/pod-resources.ts";
import type { Store } from "./api/store.ts";
import type { Node, Pod, Service } from "./api/types.ts";
import { PodCgroups } from "./cgroups/pod-cgroups.ts";
import type { AgentConfig } from "./config.ts";
import { sleep } from "./core/abort.ts";
import type { Clock } from "./core/clock.ts";
import { hasCode, messageOf } from "./core/errors.ts";
import type { Exec } from "./core/exec.ts";
import type { Logger } from "./core/logger.ts";
import { readOptional } from "./core/optional-file.ts";
import type { Syscalls } from "./core/syscalls.ts";
import { EvictionManager } from "./eviction/manager.ts";
import { ImageAccess } from "./images/access.ts";
import type { NodeCredentials } from "./images/node-credentials.ts";
import { computeHostsFile } from "./network/hosts-file.ts";
import { LateNetwork } from "./network/late-network.ts";
import type { PodNetwork } from "./network/network.ts";
import { computeResolvConf } from "./network/resolv-conf.ts";
import type { HostReader } from "./node/host.ts";
import type { NodeLoop } from "./node/node-loop.ts";
import { computeDefaultLabels } from "./node/register.ts";
import { Checkpoint } from "./pods/checkpoint.ts";
import type { PodDirectory, PodView } from "./pods/directory.ts";
import type { PodFacts } from "./pods/explain.ts";
import { PodManager } from "./pods/manager.ts";
import type { NodeFacts } from "./pods/node-facts.ts";
import { ObjectCache } from "./pods/object-cache.ts";
import { PodFiles } from "./pods/pod-files.ts";
import { FileSource } from "./pods/static/file-source.ts";
import { MirrorLoop } from "./pods/static/mirror-loop.ts";
import { PodSources } from "./pods/static/pod-sources.ts";
import { UrlSource } from "./pods/static/url-source.ts";
import { createHookRunner } from "./probes/hooks.ts";
import { ProbeManager } from "./probes/manager.ts";
import { computeContainerConfig, computeSpecHash } from "./runtime/container-config.ts";
import type { Runtime, RuntimeInfo } from "./runtime/runtime.ts";
import type { AgentMetrics } from "./server/stats/agent-metrics.ts";
import { podDirectory, volumePath } from "./volumes/paths.ts";
import { PodCertificates } from "./volumes/pod-certificates.ts";
import type { VolumeUsage } from "./volumes/usage.ts";
import { VolumeManager } from "./volumes/volume-manager.ts";

export interface AgentPodsOptions {
  readonly config: AgentConfig;
  readonly runtime: Runtime;
  readonly syscalls: Syscalls;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly client: ApiClient;
  readonly events: EventSink;
  readonly host: HostReader;
  readonly nodeCredentials: NodeCredentials;
  readonly metrics: AgentMetrics;
}

/** What is there only after the node's start. */
export interface PodInputs {
  readonly podStore: Store<Pod>;
  readonly services: Store<Service>;
  readonly nodeLoop: NodeLoop;
}

const RETRY_MS = 5_000;

export class AgentPods implements PodDirectory {
  readonly #options: AgentPodsOptions;
  readonly #network = new LateNetwork();
  readonly #stopping = new AbortController();
  /** What was started, newest last. */
  readonly #started: { stop(): Promise<void> }[] = [];
  #running: Promise<void> | undefined;
  #manager: PodManager | undefined;
  #volumes: VolumeManager | undefined;
  #probes: ProbeManager | undefined;
  #sources: PodSources | undefined;
  #node: Node | undefined;
  #problem: string | undefined = "pods are not started yet";
  /** What the Engine can, once it was asked. */
  #engine: Pick<RuntimeInfo, "hasAppArmor" | "hasSeLinux" | "handlers"> = {
    hasAppArmor: false,
    hasSeLinux: false,
    handlers: [],
  };

  constructor(options: AgentPodsOptions) {
    this.#options = options;
  }

  /** What keeps pods from starting; undefined = nothing. */
  get problem(): string | undefined {
    return this.#problem;
  }

  find(namespace: string, name: string): PodView | undefined {
    return this.#manager?.find(namespace, name);
  }

  list(): readonly PodView[] {
    return this.#manager?.list() ?? [];
  }

  /** What the volumes of a pod use, as far as it is known. */
  async volumeUsage(podUid: string): Promise<readonly VolumeUsage[]> {
    return (await this.#volumes?.usage(podUid)) ?? [];
  }

  /** For /metrics/probes. */
  probeTotals(): ReturnType<ProbeManager["totals"]> {
    return this.#probes?.totals() ?? [];
  }

  /** For `longshore explain`. */
  facts(): readonly PodFacts[] | undefined {
    return this.#manager?.facts();
  }

  /** Each time the Node was read; admission and mirror pods need it. */
  setNode(node: Node): void {
    this.#node = node;
    this.#sources?.open();
  }

  /** Once, when pods with an address of their own may start. */
  setNetwork(network: PodNetwork): void {
    this.#network.set(network);
    this.#manager?.resync();
  }

  start(inputs: PodInputs): void {
    this.#running ??= this.#run(inputs, this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    for (const part of this.#started.reverse()) await part.stop();
  }

  async #run(inputs: PodInputs, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#startAll(inputs, signal);
        this.#problem = undefined;
        return;
      } catch (error) {
        if (signal.aborted) return;
        const problem = `pods cannot start: ${messageOf(error)}`;
        if (problem !== this.#problem) log.warn({ err: error }, "pods cannot start yet");
        this.#problem = problem;
      }
      try {
        await sleep(clock, RETRY_MS, signal);
      } catch (error) {
        if (!hasCode(error, "Aborted")) throw error;
      }
    }
  }

  async #startAll({ podStore, services, nodeLoop }: PodInputs, signal: AbortSignal): Promise<void> {
    const { config, runtime, clock, random, log, syscalls, client, events, exec } = this.#options;
    const { nodeCredentials } = this.#options;
    const { rootDir } = config;
    await runtime.prepare(signal);
    const info = await runtime.info(signal);
    this.#engine = info;
    this.#compareDrivers(info);
    const imageAccess = new ImageAccess({ ...config, clock, log });
    await imageAccess.start(runtime, signal);
    const onChange = (podUid: string): void => manager.retry(podUid);
    const objects = new ObjectCache({ client, clock, random, log, onChange });
    const volumes = new VolumeManager({
      ...{ rootDir, objects, syscalls, exec, clock, log, images: runtime },
      statsPeriodMs: config.volumeStatsAggPeriodMs,
      certificates: new PodCertificates({ objects, events, clock, random, log }),
    });
    await volumes.start();
    const onResult = (podUid: string): void => manager.sync(podUid);
    const probes = new ProbeManager({ runtime, clock, random, events, log, onChange: onResult });
    this.#probes = probes;
    const sources = this.#createSources(podStore);
    const manager = new PodManager({
      nodeName: config.nodeName,
      maxPods: config.maxPods,
      syncFrequencyMs: config.syncFrequencyMs,
      maxContainerRestartPeriodMs: config.maxContainerRestartPeriodMs,
      registryPullQPS: config.registryPullQPS,
      registryBurst: config.registryBurst,
      maxParallelImagePulls: config.serializeImagePulls ? 1 : config.maxParallelImagePulls,
      files: new PodFiles(rootDir),
      checkpoint: new Checkpoint(rootDir, log),
      client: sources.statusClient(),
      pods: sources,
      network: this.#network,
      cgroups: this.#createCgroups(info, nodeLoop),
      hooks: createHookRunner({ runtime, clock, events }),
      ...{ imageAccess, nodeCredentials },
      ...{ services, objects, runtime, volumes, probes, events, clock, random, log },
      node: () => this.#nodeFacts(nodeLoop),
      observer: this.#options.metrics,
      refreshNode: (inner) => nodeLoop.refresh(inner),
      dns: {
        clusterDomain: config.clusterDomain,
        clusterDns: config.clusterDns,
        nodeResolvConf: config.resolvConf === "" ? "" : await readOptional(config.resolvConf),
      },
      compute: { computeHostsFile, computeResolvConf, computeContainerConfig, computeSpecHash },
    });
    await manager.start();
    this.#volumes = volumes;
    // Only now: what failed before this is thrown away and made anew by the next try.
    const node = (): Node | undefined => this.#node;
    const mirrors = new MirrorLoop({ client, api: podStore, sources, node, clock, random, log });
    this.#started.push(volumes, objects, probes, manager, mirrors, ...this.#startStatic(sources));
    const emptyDirPath = (podUid: string, volume: string): string =>
      volumePath(podDirectory(join(rootDir, "pods"), podUid), "empty-dir", volume);
    const evictions = new EvictionManager({
      ...{ pods: manager, runtime, exec, clock, log, emptyDirPath },
    });
    evictions.start();
    this.#started.push(evictions);
    this.#manager = manager;
    this.#sources = sources;
    if (this.#node !== undefined) sources.open();
  }

  /** The Engine decides, whatever the kubelet's configuration says. */
  #compareDrivers({ cgroupDriver: driver }: RuntimeInfo): void {
    const { config, log } = this.#options;
    if (config.cgroupDriver !== undefined && config.cgroupDriver !== driver)
      log.warn({ configured: config.cgroupDriver, driver }, "the Engine's cgroup driver counts");
  }

  #createSources(api: Store<Pod>): PodSources {
    const { config, client } = this.#options;
    const staticSources = [
      ...(config.staticPodPath === undefined ? [] : ["file"]),
      ...(config.staticPodURL === undefined ? [] : ["http"]),
    ];
    return new PodSources({ api, client, staticSources });
  }

  #startStatic(sources: PodSources): readonly { stop(): Promise<void> }[] {
    const { config, clock, log } = this.#options;
    const {
      nodeName,
      staticPodPath: path,
      staticPodURL: url,
      staticPodURLHeader: headers,
    } = config;
    const common = { nodeName, clock, log };
    const started: (FileSource | UrlSource)[] = [];
    if (path !== undefined) {
      const onPods = (pods: readonly Pod[]): void => sources.setStatic("file", pods);
      const periodMs = config.fileCheckFrequencyMs;
      started.push(new FileSource({ ...common, path, periodMs, onPods }));
    }
    if (url !== undefined) {
      const onPods = (pods: readonly Pod[]): void => sources.setStatic("http", pods);
      const periodMs = config.httpCheckFrequencyMs;
      started.push(new UrlSource({ ...common, url, headers, periodMs, onPods }));
    }
    for (const source of started) source.start();
    return started;
  }

  #createCgroups(info: RuntimeInfo, nodeLoop: NodeLoop): PodCgroups {
    const { config, exec, clock, log, metrics } = this.#options;
    return new PodCgroups({
      root: "/sys/fs/cgroup",
      ...{ driver: info.cgroupDriver, version: info.cgroupVersion, exec, clock, log },
      onOperation: (operation, seconds) => metrics.onCgroupOperation(operation, seconds),
      podPidsLimit: config.podPidsLimit,
      node: () => nodeLoop.getPodsShare(),
      pods: () =>
        this.list()
          .filter(({ status: { phase } }) => phase !== "Succeeded" && phase !== "Failed")
          .map(({ pod }) => pod),
    });
  }

  #nodeFacts(nodeLoop: NodeLoop): NodeFacts {
    const { config, host } = this.#options;
    const reported = this.#node?.status?.allocatable;
    return {
      hostIps: nodeLoop.getNodeIps(),
      // Before the Node is known it is judged by what it will be registered with.
      labels: this.#node?.metadata.labels ?? {
        ...config.nodeLabels,
        ...computeDefaultLabels(config.nodeName, host.architecture),
      },
      taints: this.#node?.spec?.taints ?? [],
      // Read by admission and resizes alone, and these facts are asked for in every turn of a pod. What others added to
      // the Node, such as a device of theirs, is theirs to say.
      get allocatable() {
        return { ...toAmounts(reported), ...nodeLoop.getAllocatable() };
      },
      hasAppArmor: this.#engine.hasAppArmor,
      hasSeLinux: this.#engine.hasSeLinux,
      recursiveReadOnlyHandlers: this.#engine.handlers
        .filter(({ recursiveReadOnlyMounts }) => recursiveReadOnlyMounts)
        .map(({ name }) => name),
      allowedUnsafeSysctls: config.allowedUnsafeSysctls,
      memoryCapacity: nodeLoop.getMemoryCapacity(),
      // Read when a pod of the host's network asks, because the file is the node's and may change.
      get etcHosts() {
        return readFileSync("/etc/hosts", "utf8");
      },
    };
  }
}
