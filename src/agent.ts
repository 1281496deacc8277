/**
 * The composition root: builds the parts of the agent, starts them in order, stops them in reverse. No decisions: who
 * retries, waits or gives up is written in the parts. `start` does what an operator must mend when it fails; what
 * waits for the API server goes on behind it. Called by cli/agent.ts and cli/up.ts.
 */

import { mkdir } from "node:fs/promises";
import { AgentCertificates } from "./agent-certificates.ts";
import { AgentPods } from "./agent-pods.ts";
import { type ReflectOptions, startProxy } from "./agent-proxy.ts";
import type { ApiClient } from "./api/client.ts";
import type { ClusterCredentials } from "./api/credentials.ts";
import { EventRecorder } from "./api/event-recorder.ts";
import type { ApiExchange } from "./api/http-calls.ts";
import { createApiClient } from "./api/http-client.ts";
import { loadKubeconfig } from "./api/kubeconfig.ts";
import { leanService } from "./api/lean.ts";
import { Reflector } from "./api/reflector.ts";
import { PODS, type Resource, SERVICES } from "./api/resources.ts";
import type { Store } from "./api/store.ts";
import type { Node, StoredObject } from "./api/types.ts";
import type { AgentConfig } from "./config.ts";
import { toKubeletConfiguration } from "./configz.ts";
import type { Clock } from "./core/clock.ts";
import type { Exec } from "./core/exec.ts";
import { createIptables } from "./core/iptables.ts";
import type { Logger } from "./core/logger.ts";
import { createNetlink } from "./core/netlink.ts";
import { MemoryKeeper, OWN_MEMORY } from "./core/release-memory.ts";
import type { Syscalls } from "./core/syscalls.ts";
import { loadNodeCredentials } from "./images/node-credentials.ts";
import { createLocalRoutes } from "./local/routes.ts";
import { LocalServer } from "./local/server.ts";
import { NetworkLoop } from "./network/network-loop.ts";
import { BridgePodNetwork } from "./network/pod-network.ts";
import { createHostReader } from "./node/host.ts";
import { requireHost } from "./node/host-requirements.ts";
import { findNodeIps, findUplinkMtu } from "./node/node-info.ts";
import { NodeLoop } from "./node/node-loop.ts";
import { measureRuntime } from "./runtime/measured-runtime.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { KubeletServer } from "./server/kubelet-server.ts";
import { createReviews } from "./server/reviews.ts";
import { AgentMetrics } from "./server/stats/agent-metrics.ts";

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
  readonly #metrics = new AgentMetrics();
  readonly #stopping = new AbortController();
  /** What was started, newest last; each says how it ends. */
  readonly #started: (() => Promise<void>)[] = [];
  readonly #reflectors = new Map<string, { readonly isConnected: boolean }>();
  #node: Node | undefined;

  constructor(options: AgentOptions) {
    const { clock } = options;
    const runtime = measureRuntime(options.runtime, clock, (operation, result) =>
      this.#metrics.onRuntimeOperation(operation, { ...result, at: clock.now() / 1000 }),
    );
    this.#options = { ...options, runtime };
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
    const host = createHostReader();
    await requireHost(config, { host, runtime: await runtime.info(this.#stopping.signal) });
    await mkdir(config.rootDir, { recursive: true, mode: 0o750 });
    const nodeCredentials = this.#own(await loadNodeCredentials(config, this.#options));
    const certificates = await AgentCertificates.prepare(this.#options);
    const client = this.#connect(certificates.credentials);
    this.#own(certificates).startClient(client);
    const proxyClient =
      config.proxyKubeconfig === undefined
        ? client
        : this.#connect(await loadKubeconfig(config.proxyKubeconfig, this.#options));
    const component = { client, clock, log, host: config.nodeName };
    const events = this.#own(new EventRecorder({ ...component, component: "kubelet" }));
    events.start();

    const metrics = this.#metrics;
    const pods = new AgentPods({
      ...{ ...this.#options, client, events, host, nodeCredentials, metrics },
    });
    const networkLoop = new NetworkLoop({
      podCidr: () => this.#node && (this.#node.spec?.podCIDR ?? config.podCidr),
      create: (podCidr) => this.#createNetwork(podCidr, hostMtu),
      onReady: async (network) => pods.setNetwork(network),
      clock,
      log,
    });
    const readiness = (): readonly string[] =>
      [networkLoop.problem, pods.problem].filter((problem) => problem !== undefined);
    const nodeIps = await findNodeIps(host, config.nodeIps);
    const hostMtu = await findUplinkMtu(host, nodeIps);
    let server: KubeletServer | undefined;
    const local = this.#own(
      new LocalServer({
        rootDir: config.rootDir,
        routes: createLocalRoutes({
          ...{ nodeName: config.nodeName, version, clock, problems: readiness },
          pods: () => pods.facts(),
          watches: () =>
            [...this.#reflectors].map(([name, { isConnected }]) => ({ name, isConnected })),
          engine: (signal) => runtime.info(signal),
          certificates: () => ({ ...certificates.facts(), servingEndsAt: server?.servingEndsAt }),
          signal: this.#stopping.signal,
        }),
        log,
      }),
    );
    await local.start();
    const serving = { ...config, nodeIps };
    server = this.#own(
      new KubeletServer({
        ...{ config: serving, pods, runtime, readiness, version, clock, log, metrics },
        configuration: toKubeletConfiguration(config),
        reviews: createReviews({ client, clock, random: this.#options.random }),
        probeTotals: () => pods.probeTotals(),
        volumeUsage: (podUid) => pods.volumeUsage(podUid),
        certificates: () => certificates.facts(),
      }),
    );
    await server.start();

    const declaredFeatures = [
      "ExtendWebSocketsToKubelet",
      "InPlacePodLevelResourcesVerticalScaling",
      "InPlacePodVerticalScalingInitContainers",
    ];
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
      pods.setNode(node);
    });
    await certificates.startServing({
      client,
      onNode: (listener) => nodeLoop.onNode(listener),
      reload: async () => server?.reload(),
    });
    await nodeLoop.start();

    const fieldSelector = `spec.nodeName=${config.nodeName}`;
    const podStore = this.#reflect(client, PODS, "pods", { fieldSelector });
    const services = this.#reflect(client, SERVICES, "services", { keep: leanService });
    this.#own(pods).start({ podStore, services, nodeLoop });
    this.#own(networkLoop).start();
    if (config.proxyMode === "iptables") {
      await startProxy({
        ...this.#options,
        client: proxyClient,
        services,
        reflect: this.#reflect.bind(this),
        own: this.#own.bind(this),
        onNode: (listener) => nodeLoop.onNode(listener),
        nodeIps,
        signal: this.#stopping.signal,
      });
    }
    this.#own(new MemoryKeeper({ clock, ...OWN_MEMORY })).start();
  }

  /** Registers a part to be stopped with the agent. */
  #own<T extends { stop(): Promise<void> }>(part: T): T {
    this.#started.push(() => part.stop());
    return part;
  }

  #connect(credentials: ClusterCredentials): ApiClient {
    const { clock, random, log, version } = this.#options;
    const userAgent = `longshore/${version}`;
    const onExchange = (exchange: ApiExchange): void => this.#metrics.onApiExchange(exchange);
    const client = createApiClient({ credentials, clock, random, log, userAgent, onExchange });
    this.#started.push(async () => client.close());
    return client;
  }

  #reflect<T extends StoredObject>(
    client: ApiClient,
    resource: Resource<T>,
    name: string,
    { keep, ...options }: ReflectOptions<T> = {},
  ): Store<T> {
    const { clock, random, log } = this.#options;
    const common = { clock, random, log, name, ...(keep === undefined ? {} : { keep }) };
    const reflector = this.#own(new Reflector({ client, resource, options, ...common }));
    reflector.start();
    this.#reflectors.set(name, reflector);
    return reflector.store;
  }

  #createNetwork(podCidr: string, hostMtu: number | undefined): BridgePodNetwork {
    const { config, exec, log } = this.#options;
    const { clusterCidr } = config;
    const netlink = createNetlink();
    return new BridgePodNetwork({
      podCidr,
      ...(clusterCidr === undefined ? {} : { clusterCidr }),
      exec,
      iptables: createIptables({ exec, family: "IPv4" }),
      ...(hostMtu === undefined ? {} : { hostMtu }),
      ...(netlink === undefined ? {} : { netlink }),
      log,
    });
  }
}
