/** GET /metrics: the agent about itself, with upstream's names for what it knows. Pure. Called by reads.ts. */

import { kubeletVersion } from "../../core/version.ts";
import type { PodView } from "../../pods/directory.ts";
import type { FsStats, VolumeStats } from "./collector.ts";
import type { Metric } from "./exposition.ts";
import { counter, gauge } from "./resource-metrics.ts";

export interface ComponentFacts {
  readonly nodeName: string;
  readonly version: string;
  readonly pods: readonly PodView[];
  /** Text of /proc/self/stat. */
  readonly processStat: string | undefined;
  readonly bootedAt: number;
  readonly openFiles: number | undefined;
  readonly maxFiles: number | undefined;
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
  /** Requests that are being answered. */
  readonly underway: number;
  /** Seconds since the epoch of the last look at the runtime. */
  readonly relistedAt: number | undefined;
  readonly volumes: readonly {
    readonly namespace: string;
    readonly volumes: readonly VolumeStats[];
  }[];
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
      { labels: buildLabels(version), value: 1 },
    ]),
    gauge("kubelet_http_inflight_requests", "Number of requests that are being served", [
      { value: facts.underway },
    ]),
    gauge(
      "kubelet_pleg_last_seen_seconds",
      "When the containers of the runtime were last looked at, in seconds since unix epoch",
      facts.relistedAt === undefined ? [] : [{ value: facts.relistedAt }],
    ),
    ...volumeMetrics(facts.volumes),
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

function buildLabels(version: string): Readonly<Record<string, string>> {
  const git_version = kubeletVersion(version);
  const [, major = "", minor = ""] = /^v(\d+)\.(\d+)/.exec(git_version) ?? [];
  return { git_version, major, minor, platform: "linux" };
}

const VOLUME: readonly (readonly [string, string, keyof FsStats])[] = [
  ["available_bytes", "Number of available bytes in the volume", "availableBytes"],
  ["capacity_bytes", "Capacity in bytes of the volume", "capacityBytes"],
  ["used_bytes", "Number of used bytes in the volume", "usedBytes"],
  ["inodes", "Maximum number of inodes in the volume", "inodes"],
  ["inodes_free", "Number of free inodes in the volume", "inodesFree"],
  ["inodes_used", "Number of used inodes in the volume", "inodesUsed"],
];

/** Of volumes that are of a claim, once each. */
function volumeMetrics(pods: ComponentFacts["volumes"]): readonly Metric[] {
  const byClaim = new Map(
    pods.flatMap(({ namespace, volumes }) =>
      volumes.flatMap((volume) =>
        volume.claim === undefined
          ? []
          : [[`${namespace}/${volume.claim}`, { namespace, claim: volume.claim, volume }] as const],
      ),
    ),
  );
  return VOLUME.map(([name, help, field]) =>
    gauge(
      `kubelet_volume_stats_${name}`,
      help,
      [...byClaim.values()].map(({ namespace, claim, volume }) => ({
        labels: { namespace, persistentvolumeclaim: claim },
        value: volume[field],
      })),
    ),
  );
}

function processMetrics({
  processStat,
  bootedAt,
  openFiles,
  maxFiles,
}: ComponentFacts): readonly Metric[] {
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
    gauge(
      "process_open_fds",
      "Number of open file descriptors.",
      openFiles === undefined ? [] : [{ value: openFiles }],
    ),
    gauge(
      "process_max_fds",
      "Maximum number of open file descriptors.",
      maxFiles === undefined ? [] : [{ value: maxFiles }],
    ),
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", [{ value: at(23) }]),
    gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", [
      { value: bootedAt / 1000 + at(22) / TICKS },
    ]),
  ];
}
