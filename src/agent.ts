/**
 * The composition root: builds the parts of the agent, starts them in order, stops them in reverse. No decisions: who
 * retries, waits or gives up is written in the parts. `start` does what an operator must mend when it fails; what
 * waits for the API server goes on behind it. Called by cli/agent.ts and cli/up.ts.
 */

import { readFileSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { startProxy } from "./agent-proxy.ts";
import type { ApiClient, ListOptions } from "./api/client.ts";
import { EventRecorder } from "./api/event-recorder.ts";
import { createApiClient } from "./api/http-client.ts";
import { loadKubeconfig } from "./api/kubeconfig.ts";
import { Reflector } from "./api/reflector.ts";
import { PODS, type Resource, SERVICES } from "./api/resources.ts";
import type { Store } from "./api/store.ts";
import type { Node, Pod, Service, StoredObject } from "./api/types.ts";
import type { AgentConfig } from "./config.ts";
import type { Clock } from "./core/clock.ts";
import type { Exec } from "./core/exec.ts";
import { createIptables } from "./core/iptables.ts";
import type { Logger } from "./core/logger.ts";
import type { Syscalls } from "./core/syscalls.ts";
import { computeHostsFile } from "./network/hosts-file.ts";
import { NetworkLoop } from "./network/network-loop.ts";
import { BridgePodNetwork } from "./network/pod-network.ts";
import { computeResolvConf } from "./network/resolv-conf.ts";
import { createHostReader } from "./node/host.ts";
import { findNodeIps } from "./node/node-info.ts";
import { NodeLoop } from "./node/node-loop.ts";
import { Checkpoint } from "./pods/checkpoint.ts";
import { PodManager } from "./pods/manager.ts";
import type { NodeFacts } from "./pods/node-facts.ts";
import { ObjectCache } from "./pods/object-cache.ts";
import { PodFiles } from "./pods/pod-files.ts";
import { ProbeManager } from "./probes/manager.ts";
import { computeContainerConfig, computeSpecHash } from "./runtime/container-config.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { KubeletServer } from "./server/kubelet-server.ts";
import { VolumeManager } from "./volumes/volume-manager.ts";

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly version: string;
  readonly runtime: Runtime;
  readonly syscalls: Syscalls;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
}

export class Agent {
  readonly #options: AgentOptions;
  readonly #stopping = new AbortController();
  /** What was started, newest last; each says how it ends. */
  readonly #started: (() => Promise<void>)[] = [];
  #manager: PodManager | undefined;
  #node: Node | undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  /** Throws for what a person must mend: kubeconfig, Engine, address in use. Resolves before the node is Ready. */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Ends what was started, newest first. Containers, rules and mounts stay as they are. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    // One at a time off the end: a part may still have been starting others when it was told to stop.
    for (let stop = this.#started.pop(); stop !== undefined; stop = this.#started.pop()) {
      try {
        await stop();
      } catch (error) {
        this.#options.log.error({ err: error }, "a part of the agent did not stop cleanly");
      }
    }
  }

  async #start(): Promise<void> {
    const { config, runtime, clock, log, version } = this.#options;
    await runtime.info(this.#stopping.signal);
    await mkdir(config.rootDir, { recursive: true, mode: 0o750 });
    const client = await this.#connect(config.kubeconfig);
    const proxyClient =
      config.proxyKubeconfig === undefined ? client : await this.#connect(config.proxyKubeconfig);
    const component = { client, clock, log, host: config.nodeName };
    const events = this.#own(new EventRecorder({ ...component, component: "kubelet" }));
    events.start();

    const host = createHostReader();
    const networkLoop = new NetworkLoop({
      // Not before the Node is known: admission asks for its labels.
      podCidr: () => this.#node && (this.#node.spec?.podCIDR ?? config.podCidr),
      create: (podCidr) => this.#createNetwork(podCidr),
      onReady: (network, signal) =>
        this.#startPods({ client, events, nodeLoop, podStore, services }, network, signal),
      clock,
      log,
    });
    const readiness = (): readonly string[] =>
      networkLoop.problem === undefined ? [] : [networkLoop.problem];
    const nodeIps = await findNodeIps(host, config.nodeIps);
    const pods = {
      find: (namespace: string, name: string) => this.#manager?.find(namespace, name),
      list: () => this.#manager?.list() ?? [],
    };
    const serving = { ...config, nodeIps };
    const server = this.#own(
      new KubeletServer({ config: serving, pods, runtime, readiness, clock, log }),
    );
    await server.start();

    const declaredFeatures = ["ExtendWebSocketsToKubelet"];
    const nodeLoop = this.#own(
      new NodeLoop({
        ...this.#options,
        client,
        host,
        readiness,
        declaredFeatures,
        version,
        events,
      }),
    );
    nodeLoop.onNode((node) => {
      this.#node = node;
    });
    await nodeLoop.start();

    const fieldSelector = `spec.nodeName=${config.nodeName}`;
    const podStore = this.#reflect(client, PODS, "pods", { fieldSelector });
    const services = this.#reflect(client, SERVICES, "services");
    this.#own(networkLoop).start();
    if (config.proxyMode === "iptables") {
      await startProxy({
        ...this.#options,
        client: proxyClient,
        reflect: this.#reflect.bind(this),
        own: this.#own.bind(this),
        onNode: (listener) => nodeLoop.onNode(listener),
        nodeIps,
        signal: this.#stopping.signal,
      });
    }
  }

  /** Registers a part to be stopped with the agent. */
  #own<T extends { stop(): Promise<void> }>(part: T): T {
    this.#started.push(() => part.stop());
    return part;
  }

  async #connect(path: string): Promise<ApiClient> {
    const { clock, exec, env, random, log, version } = this.#options;
    const credentials = await loadKubeconfig(path, { clock, exec, env });
    const userAgent = `longshore/${version}`;
    const client = createApiClient({ credentials, clock, random, log, userAgent });
    this.#started.push(async () => client.close());
    return client;
  }

  #reflect<T extends StoredObject>(
    client: ApiClient,
    resource: Resource<T>,
    name: string,
    options: Pick<ListOptions, "labelSelector" | "fieldSelector"> = {},
  ): Store<T> {
    const { clock, random, log } = this.#options;
    const reflector = this.#own(
      new Reflector({ client, resource, options, clock, random, log, name }),
    );
    reflector.start();
    return reflector.store;
  }

  #createNetwork(podCidr: string): BridgePodNetwork {
    const { config, exec, clock, log } = this.#options;
    const { clusterCidr } = config;
    return new BridgePodNetwork({
      podCidr,
      ...(clusterCidr === undefined ? {} : { clusterCidr }),
      exec,
      iptables: createIptables({ exec, family: "IPv4" }),
      clock,
      log,
    });
  }

  async #startPods(parts: PodParts, network: BridgePodNetwork, signal: AbortSignal): Promise<void> {
    const { config, runtime, clock, random, log, syscalls } = this.#options;
    const { client, events, nodeLoop, podStore, services } = parts;
    await runtime.prepare(signal);
    const onChange = (podUid: string): void => manager.retry(podUid);
    const objects = new ObjectCache({ client, clock, random, log, onChange });
    const { rootDir } = config;
    const volumes = new VolumeManager({ rootDir, objects, syscalls, clock, log });
    await volumes.start();
    const onResult = (podUid: string): void => manager.sync(podUid);
    const probes = new ProbeManager({ runtime, clock, random, events, log, onChange: onResult });
    const manager = new PodManager({
      nodeName: config.nodeName,
      maxPods: config.maxPods,
      syncFrequencyMs: config.syncFrequencyMs,
      maxParallelImagePulls: config.serializeImagePulls ? 1 : config.maxParallelImagePulls,
      files: new PodFiles(rootDir),
      checkpoint: new Checkpoint(rootDir, log),
      ...{ client, pods: podStore, services, objects, runtime, network, volumes, probes, events },
      ...{ clock, random, log },
      node: () => this.#nodeFacts(nodeLoop),
      dns: {
        clusterDomain: config.clusterDomain,
        clusterDns: config.clusterDns,
        nodeResolvConf: config.resolvConf === "" ? "" : await readOptional(config.resolvConf),
      },
      compute: { computeHostsFile, computeResolvConf, computeContainerConfig, computeSpecHash },
    });
    await manager.start();
    // Only now: what failed before this is thrown away and made anew by the next try.
    this.#own(objects);
    this.#own(probes);
    this.#manager = this.#own(manager);
  }

  #nodeFacts(nodeLoop: NodeLoop): NodeFacts {
    const allocatable = nodeLoop.getAllocatable();
    return {
      hostIps: nodeLoop.getNodeIps(),
      labels: this.#node?.metadata.labels ?? {},
      allocatable,
      memoryCapacity: allocatable.memory ?? 0,
      // Read when a pod of the host's network asks, because the file is the node's and may change.
      get etcHosts() {
        return readFileSync("/etc/hosts", "utf8");
      },
    };
  }
}

interface PodParts {
  readonly client: ApiClient;
  readonly events: EventRecorder;
  readonly nodeLoop: NodeLoop;
  readonly podStore: Store<Pod>;
  readonly services: Store<Service>;
}

async function readOptional(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
