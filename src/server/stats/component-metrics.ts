/** GET /metrics: the agent about itself, with upstream's names for what it knows. Pure. Called by reads.ts. */

import type { PodView } from "../../pods/directory.ts";
import type { Metric } from "./exposition.ts";
import { counter, gauge } from "./resource-metrics.ts";

export interface ComponentFacts {
  readonly nodeName: string;
  readonly version: string;
  readonly pods: readonly PodView[];
  /** Text of /proc/self/stat. */
  readonly processStat: string | undefined;
  readonly bootedAt: number;
  /** Requests by method, path (of the table of routes) and whether they last. */
  readonly requests: ReadonlyMap<string, number>;
  readonly now: number;
  /** End of the serving certificate; times are milliseconds of the epoch. */
  readonly servingEndsAt: number | undefined;
  readonly certificates: {
    /** End of the client certificate; absent without one. */
    readonly clientEndsAt?: number;
    readonly clientRenewErrors: number;
    readonly servingRenewErrors: number;
  };
}

const PAGE_BYTES = 4096;
const TICKS = 100;

export function computeComponentMetrics(facts: ComponentFacts): readonly Metric[] {
  const { nodeName, version, pods, requests } = facts;
  const states = new Map<string, number>();
  let running = 0;
  for (const { containers } of pods) {
    if (containers.some(({ state }) => state === "running")) running += 1;
    for (const { state } of containers) states.set(state, (states.get(state) ?? 0) + 1);
  }
  return [
    gauge("kubelet_node_name", "The node's name. The count is always 1.", [
      { labels: { node: nodeName }, value: 1 },
    ]),
    gauge("kubelet_running_pods", "Number of pods that have a running container", [
      { value: running },
    ]),
    gauge(
      "kubelet_running_containers",
      "Number of containers by their state",
      [...states].map(([state, value]) => ({ labels: { container_state: state }, value })),
    ),
    counter(
      "kubelet_http_requests_total",
      "Number of the http requests received since the server started",
      [...requests].map(([key, value]) => ({
        labels: { ...(JSON.parse(key) as Record<string, string>), server_type: "readwrite" },
        value,
      })),
    ),
    ...certificateMetrics(facts),
    gauge("kubernetes_build_info", "A metric with a constant '1' value labeled by version.", [
      { labels: { git_version: `v${version}`, platform: "linux" }, value: 1 },
    ]),
    ...processMetrics(facts),
  ];
}

function certificateMetrics(facts: ComponentFacts): readonly Metric[] {
  const { now, servingEndsAt, certificates } = facts;
  const ttl = (endsAt: number | undefined) =>
    endsAt === undefined ? [] : [{ value: Math.round((endsAt - now) / 1000) }];
  return [
    gauge(
      "kubelet_certificate_manager_server_ttl_seconds",
      "Time until the serving certificate expires",
      ttl(servingEndsAt),
    ),
    gauge(
      "kubelet_certificate_manager_client_ttl_seconds",
      "Time until the client certificate expires",
      ttl(certificates.clientEndsAt),
    ),
    counter(
      "kubelet_certificate_manager_client_expiration_renew_errors",
      "Failed attempts to get a new client certificate",
      [{ value: certificates.clientRenewErrors }],
    ),
    counter(
      "kubelet_server_expiration_renew_errors",
      "Failed attempts to get a new serving certificate",
      [{ value: certificates.servingRenewErrors }],
    ),
  ];
}

function processMetrics({ processStat, bootedAt }: ComponentFacts): readonly Metric[] {
  // The name of the program is in brackets and may have spaces.
  const fields = processStat
    ?.slice(processStat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  if (fields === undefined) return [];
  const at = (index: number): number => fields[index - 3] ?? 0;
  return [
    counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", [
      { value: (at(14) + at(15)) / TICKS },
    ]),
    gauge("process_resident_memory_bytes", "Resident memory size in bytes.", [
      { value: at(24) * PAGE_BYTES },
    ]),
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", [{ value: at(23) }]),
    gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", [
      { value: bootedAt / 1000 + at(22) / TICKS },
    ]),
  ];
}
