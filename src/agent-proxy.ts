/**
 * The composition of the proxy: its view of the API, one proxier for each family, and what watches them. Part of the
 * composition root, cut out of agent.ts; without it and src/proxy there is still a working kubelet.
 */

import { availableParallelism, networkInterfaces } from "node:os";
import type { ApiClient, ListOptions } from "./api/client.ts";
import { EventRecorder } from "./api/event-recorder.ts";
import type { EventSink, InvolvedObject } from "./api/events.ts";
import { leanSlice } from "./api/lean.ts";
import type { ReflectorOptions } from "./api/reflector.ts";
import { ENDPOINT_SLICES, type Resource } from "./api/resources.ts";
import type { Store } from "./api/store.ts";
import type { Node, Service, StoredObject } from "./api/types.ts";
import type { AgentConfig } from "./config.ts";
import type { Clock } from "./core/clock.ts";
import { hasCode } from "./core/errors.ts";
import type { Exec } from "./core/exec.ts";
import type { Family } from "./core/ip.ts";
import { createIptables, type Iptables } from "./core/iptables.ts";
import type { Logger } from "./core/logger.ts";
import { computeConfigz } from "./proxy/configz.ts";
import { createConntrack } from "./proxy/conntrack.ts";
import {
  computeForeignSigns,
  FOREIGN_REMEDY,
  OWNER_MARK,
  readForeignFacts,
} from "./proxy/detect-foreign.ts";
import { ProxyHealth } from "./proxy/health.ts";
import { HealthCheckServers } from "./proxy/healthcheck-servers.ts";
import { ProxyMetrics } from "./proxy/metrics.ts";
import { ProxyMonitor } from "./proxy/monitor.ts";
import { computeNodeOptions } from "./proxy/node-options.ts";
import {
  computeNodePortIps,
  hasLocalhostNodePorts,
  type ProxyRulesOptions,
} from "./proxy/options.ts";
import { Proxier, type ProxierState } from "./proxy/proxier.ts";
import { createHealthServer, createMetricsServer } from "./proxy/servers.ts";
import { applySysctls, computeSysctls, isTcpLiberal } from "./proxy/sysctls.ts";

export interface ReflectOptions<T extends StoredObject>
  extends Pick<ListOptions, "labelSelector" | "fieldSelector">,
    Partial<Pick<ReflectorOptions<T>, "keep">> {}

export interface ProxyDeps {
  readonly config: AgentConfig;
  /** With the proxy's credentials. */
  readonly client: ApiClient;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Logger;
  /** All of the cluster: those that another proxy serves are passed over when rules are computed. */
  readonly services: Store<Service>;
  /** Starts a reflector that ends with the agent. */
  readonly reflect: <T extends StoredObject>(
    client: ApiClient,
    resource: Resource<T>,
    name: string,
    options: ReflectOptions<T>,
  ) => Store<T>;
  /** Registers a part that ends with the agent. */
  readonly own: <T extends { stop(): Promise<void> }>(part: T) => T;
  readonly onNode: (listener: (node: Node) => void) => void;
  /** Addresses of this node, the primary one first. */
  readonly nodeIps: readonly string[];
  readonly signal: AbortSignal;
}

export async function startProxy(deps: ProxyDeps): Promise<void> {
  const { config, client, exec, clock, log, services, reflect, own } = deps;
  const { proxy, nodeName } = config;
  const recorder = { client, clock, log, component: "kube-proxy", host: nodeName };
  const events = own(new EventRecorder(recorder));
  events.start();
  events.record(aboutNode(nodeName), "Normal", "Starting", "Starting the service proxy.");
  const programs = await usableIptables(deps);
  await warnOfOthers(deps, programs, events);
  const dropInvalid = await prepareKernel(deps);

  const endpointSlices = reflect(client, ENDPOINT_SLICES, "proxy endpointslices", {
    labelSelector: "!service.kubernetes.io/headless",
    keep: leanSlice,
  });
  const proxiers = new Map<Family, Proxier>();
  const states = (): ReadonlyMap<Family, ProxierState> =>
    new Map([...proxiers].map(([family, proxier]) => [family, proxier.state]));
  const { syncPeriodMs, minSyncPeriodMs } = proxy;
  const health = new ProxyHealth({ clock, syncPeriodMs, states });
  const metrics = new ProxyMetrics();
  const healthChecks = new Map(
    programs.map(({ family }) => {
      const options = optionsOf(deps, { family, node: undefined, dropInvalid });
      const addresses = computeNodePortIps({ ...options, randomFully: true });
      const isProxyHealthy = (): boolean => health.isHealthy;
      const findService = services.get.bind(services);
      const servers = { family, addresses, isProxyHealthy, findService, events, log };
      return [family, new HealthCheckServers(servers)];
    }),
  );
  const watched = { services, endpointSlices, nodeName, metrics, healthChecks, events, clock };
  const monitor = own(new ProxyMonitor(watched));
  monitor.start();
  await startServers(deps, health, metrics);

  let node: Node | undefined;
  for (const iptables of programs) {
    const { family } = iptables;
    const proxier = new Proxier({
      ...{ services, endpointSlices, iptables, clock, log, syncPeriodMs, minSyncPeriodMs },
      rules: () => optionsOf(deps, { family, node, dropInvalid }),
      conntrack: createConntrack({ exec, family, log }),
      observer: monitor,
    });
    proxiers.set(family, own(proxier));
    proxier.start();
  }
  deps.onNode((next) => {
    health.setNode(next);
    const before = JSON.stringify(whatShapesRules(node));
    node = next;
    if (JSON.stringify(whatShapesRules(node)) === before) return;
    for (const proxier of proxiers.values()) proxier.request();
  });
}

/** IPv6 only where the host has it; without IPv4 the first sync says what is missing. */
async function usableIptables({ exec, log, signal }: ProxyDeps): Promise<readonly Iptables[]> {
  const first = createIptables({ exec, family: "IPv4" });
  const second = createIptables({ exec, family: "IPv6" });
  try {
    if (await second.isUsable(signal)) return [first, second];
  } catch (error) {
    if (!hasCode(error, "CommandMissing")) throw error;
  }
  log.info({}, "no IPv6 rules can be made on this host: Services work over IPv4 only");
  return [first];
}

/** Two proxies undo each other's rules. Afterwards the kernel has a mark by which ours are known. */
async function warnOfOthers(
  { config, exec, clock, log, signal }: ProxyDeps,
  programs: readonly Iptables[],
  events: EventSink,
): Promise<void> {
  const healthPort = config.proxy.healthzBindAddress.port;
  try {
    const source = { iptables: programs, exec, root: "/", healthPort, clock };
    const facts = await readForeignFacts(source, signal);
    const signs = computeForeignSigns(facts);
    if (signs.length > 0) {
      const words = `another service proxy is at work on this node: ${signs.join("; ")}`;
      log.warn({ remedy: FOREIGN_REMEDY }, words);
      const about = aboutNode(config.nodeName);
      events.record(about, "Warning", "ForeignServiceProxy", `${words}. ${FOREIGN_REMEDY}`);
    }
    for (const iptables of programs) await iptables.ensureChain("mangle", OWNER_MARK, signal);
  } catch (err) {
    if (hasCode(err, "Aborted")) throw err;
    log.warn({ err }, "could not look for another service proxy");
  }
}

/** @returns whether packets without a connection are to be dropped */
async function prepareKernel(deps: ProxyDeps): Promise<boolean> {
  const { conntrack } = deps.config.proxy;
  const options = optionsOf(deps, { family: "IPv4", node: undefined, dropInvalid: true });
  const localhostNodePorts = hasLocalhostNodePorts({ ...options, randomFully: true });
  const sysctls = computeSysctls({ conntrack, cores: availableParallelism(), localhostNodePorts });
  await applySysctls(sysctls, { root: "/", log: deps.log });
  return !(await isTcpLiberal("/"));
}

async function startServers(
  { config, clock, log, own }: ProxyDeps,
  health: ProxyHealth,
  metrics: ProxyMetrics,
): Promise<void> {
  const { proxy } = config;
  const common = { hardFail: proxy.bindAddressHardFail, metrics, clock, log };
  const servers = [
    createHealthServer({ ...common, at: proxy.healthzBindAddress, health }),
    createMetricsServer({
      ...common,
      at: proxy.metricsBindAddress,
      configz: computeConfigz(proxy),
    }),
  ];
  const bindings = [proxy.healthzBindAddress, proxy.metricsBindAddress];
  for (const [index, server] of servers.entries())
    if (bindings[index]?.port !== 0) await own(server).start();
}

function optionsOf(
  { config, nodeIps }: ProxyDeps,
  of: {
    readonly family: Family;
    readonly node: Node | undefined;
    readonly dropInvalid: boolean;
  },
): Omit<ProxyRulesOptions, "randomFully"> {
  const interfaceIps = Object.values(networkInterfaces())
    .flatMap((all = []) => all.map((one) => one.address))
    // Those of pods' interfaces come and go with the pods.
    .filter((ip) => !ip.startsWith("fe80:"));
  return computeNodeOptions({
    ...of,
    ...{ settings: config.proxy, nodeName: config.nodeName, nodeIps, interfaceIps },
  });
}

/** As kube-proxy refers to its Node: by name. */
function aboutNode(name: string): InvolvedObject {
  return { apiVersion: "v1", kind: "Node", name, uid: name };
}

function whatShapesRules(node: Node | undefined): readonly unknown[] {
  return [node?.metadata.labels?.["topology.kubernetes.io/zone"], node?.spec?.podCIDRs];
}
