/**
 * The composition of the proxy: its view of the API, one proxier for each family, and what watches them. Part of the
 * composition root, cut out of agent.ts; without it and src/proxy there is still a working kubelet.
 */

import { availableParallelism } from "node:os";
import type { ApiClient, ListOptions } from "./api/client.ts";
import { EventRecorder } from "./api/event-recorder.ts";
import { ENDPOINT_SLICES, type Resource, SERVICES } from "./api/resources.ts";
import type { Store } from "./api/store.ts";
import type { Node, StoredObject } from "./api/types.ts";
import type { AgentConfig } from "./config.ts";
import type { Clock } from "./core/clock.ts";
import type { Exec } from "./core/exec.ts";
import type { Family } from "./core/ip.ts";
import { createIptables } from "./core/iptables.ts";
import type { Logger } from "./core/logger.ts";
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
import { Proxier } from "./proxy/proxier.ts";
import { createHealthServer, createMetricsServer } from "./proxy/servers.ts";
import { applySysctls, computeSysctls } from "./proxy/sysctls.ts";

export interface ProxyDeps {
  readonly config: AgentConfig;
  /** With the proxy's credentials. */
  readonly client: ApiClient;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Logger;
  /** Starts a reflector that ends with the agent. */
  readonly reflect: <T extends StoredObject>(
    client: ApiClient,
    resource: Resource<T>,
    name: string,
    options: Pick<ListOptions, "labelSelector" | "fieldSelector">,
  ) => Store<T>;
  /** Registers a part that ends with the agent. */
  readonly own: <T extends { stop(): Promise<void> }>(part: T) => T;
  readonly onNode: (listener: (node: Node) => void) => void;
  readonly signal: AbortSignal;
}

export async function startProxy(deps: ProxyDeps): Promise<void> {
  const { config, client, exec, clock, log, reflect, own, signal } = deps;
  const { proxy } = config;
  const families: readonly Family[] = ["IPv4"];
  const events = own(
    new EventRecorder({ client, clock, log, component: "kube-proxy", host: config.nodeName }),
  );
  events.start();
  const programs = families.map((family) => createIptables({ exec, family }));
  const facts = await readForeignFacts(
    { iptables: programs, exec, root: "/", healthPort: proxy.healthzBindAddress.port },
    signal,
  );
  const signs = computeForeignSigns(facts);
  if (signs.length > 0) {
    const words = `another service proxy is at work on this node: ${signs.join("; ")}`;
    log.warn({ remedy: FOREIGN_REMEDY }, words);
    const about = { apiVersion: "v1", kind: "Node", name: config.nodeName, uid: config.nodeName };
    events.record(about, "Warning", "ForeignServiceProxy", `${words}. ${FOREIGN_REMEDY}`);
  }
  for (const iptables of programs) await iptables.ensureChain("mangle", OWNER_MARK, signal);
  const { conntrack, localhostNodePorts } = proxy;
  const cores = availableParallelism();
  await applySysctls(computeSysctls({ conntrack, cores, localhostNodePorts }), { root: "/", log });

  const services = reflect(client, SERVICES, "proxy services", {
    labelSelector: "!service.kubernetes.io/service-proxy-name",
  });
  const endpointSlices = reflect(client, ENDPOINT_SLICES, "proxy endpointslices", {
    labelSelector: "!service.kubernetes.io/headless",
  });
  const { syncPeriodMs, minSyncPeriodMs } = proxy;
  const health = new ProxyHealth({ clock, syncPeriodMs });
  deps.onNode((node) => health.setNode(node));
  const metrics = new ProxyMetrics();
  const isProxyHealthy = (): boolean => health.isHealthy;
  const healthChecks = new Map(
    families.map((family) => {
      const options = { family, addresses: "all", isProxyHealthy, events, log } as const;
      return [family, new HealthCheckServers(options)];
    }),
  );
  const { nodeName } = config;
  const monitor = own(
    new ProxyMonitor({
      ...{ services, endpointSlices, nodeName, health, metrics, healthChecks, events, clock },
    }),
  );
  monitor.start();
  const server = { hardFail: proxy.bindAddressHardFail, metrics, clock, log };
  const healthAt = proxy.healthzBindAddress;
  if (healthAt.port !== 0)
    await own(createHealthServer({ ...server, at: healthAt, health })).start();
  const metricsAt = proxy.metricsBindAddress;
  if (metricsAt.port !== 0)
    await own(createMetricsServer({ ...server, at: metricsAt, configz: proxy })).start();
  for (const iptables of programs) {
    const { family } = iptables;
    const proxier = own(
      new Proxier({
        ...{ services, endpointSlices, nodeName, iptables, clock, log },
        ...(config.clusterCidr === undefined ? {} : { clusterCidr: config.clusterCidr }),
        conntrack: createConntrack({ exec, family, log }),
        masqueradeAll: proxy.masqueradeAll,
        ...{ syncPeriodMs, minSyncPeriodMs },
      }),
    );
    proxier.start();
  }
}
