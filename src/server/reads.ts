/**
 * What the server answers from memory, cgroups or the runtime in one piece: pods, configuration, statistics and
 * metrics. Called by kubelet-server.ts for routes of kind `read`.
 */

import type { ServerResponse } from "node:http";
import type { Clock } from "../core/clock.ts";
import { assertNever } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { PodDirectory } from "../pods/directory.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { computePodList, computeRunningPods } from "./pods.ts";
import type { ReadPath, Route } from "./routes.ts";
import type { AgentMetrics } from "./stats/agent-metrics.ts";
import { computeCadvisorMetrics } from "./stats/cadvisor-metrics.ts";
import { StatsCollector, type VolumeStats } from "./stats/collector.ts";
import { type ComponentFacts, computeComponentMetrics } from "./stats/component-metrics.ts";
import { ContainerDisks } from "./stats/container-disks.ts";
import { CONTENT_TYPE, formatMetrics, type Metric, type Sample } from "./stats/exposition.ts";
import { computeResourceMetrics, counter, gauge } from "./stats/resource-metrics.ts";
import { computeSummary } from "./stats/summary.ts";

export interface ReadOptions {
  readonly config: { readonly nodeName: string; readonly rootDir: string };
  readonly pods: PodDirectory;
  readonly runtime: Pick<Runtime, "list" | "info" | "containerUsage">;
  readonly log: Logger;
  readonly version: string;
  /** As KubeletConfiguration, for /configz. */
  readonly configuration: object;
  /** Runs of probes with upstream's labels, for /metrics/probes. */
  readonly probeTotals: () => readonly Sample[];
  readonly volumeUsage: (podUid: string) => Promise<readonly VolumeStats[]>;
  /** What keeps the node from being ready; empty = ready. */
  readonly readiness: () => readonly string[];
  readonly certificates: () => ComponentFacts["certificates"];
  readonly clock: Clock;
  readonly metrics: Pick<AgentMetrics, "format" | "onRequest" | "relistedAt">;
}

const METHODS: readonly string[] = ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH"];

export class NodeReads {
  readonly #options: ReadOptions;
  readonly #stats: StatsCollector;
  readonly #disks: ContainerDisks;
  readonly #stopping = new AbortController();
  #engineDir: string | undefined;
  readonly #requests = new Map<string, number>();
  #underway = 0;

  constructor(options: ReadOptions) {
    this.#options = options;
    this.#disks = new ContainerDisks(options);
    this.#stats = new StatsCollector({
      ...{ ...options, rootDir: options.config.rootDir },
      engineDir: () => this.#findEngineDir(),
    });
  }

  /** Ends what is measured behind. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#disks.stop();
  }

  /** Of the Engine, asked until it told once. */
  async #findEngineDir(): Promise<string | undefined> {
    try {
      this.#engineDir ??= (await this.#options.runtime.info(this.#stopping.signal)).rootDir;
    } catch (error) {
      this.#options.log.debug({ err: error }, "the Engine does not tell where its files are");
    }
    return this.#engineDir;
  }

  /** For kubelet_http_requests_*; what is not in the table of routes counts as one. To be called at the end. */
  count(method: string, route: Route): () => void {
    const { clock, metrics } = this.#options;
    const labels = {
      method: METHODS.includes(method) ? method : "other",
      path: route.kind === "read" ? route.path.slice(1) : route.kind,
      long_running: String(isLongRunning(route)),
    };
    const key = JSON.stringify(labels);
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
    this.#underway += 1;
    const startedAt = clock.monotonic();
    return () => {
      this.#underway -= 1;
      metrics.onRequest(labels, (clock.monotonic() - startedAt) / 1000);
    };
  }

  /** @param servingEndsAt end of the serving certificate, milliseconds of the epoch. */
  async answer(
    { path, query }: Extract<Route, { kind: "read" }>,
    servingEndsAt: number | undefined,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<undefined> {
    const { contentType, text } = await this.#bodyOf(path, query, servingEndsAt, signal);
    const length = Buffer.byteLength(text);
    response.writeHead(200, { "Content-Type": contentType, "Content-Length": length });
    response.end(text);
    return undefined;
  }

  async #bodyOf(
    path: ReadPath,
    query: URLSearchParams,
    servingEndsAt: number | undefined,
    signal: AbortSignal,
  ): Promise<Body> {
    const { pods, version, config } = this.#options;
    const stats = this.#stats;
    switch (path) {
      case "/pods":
        return json(computePodList(pods.list()));
      case "/runningpods":
        return json(computeRunningPods((await this.#options.runtime.list(signal)).containers));
      case "/configz":
        return json({ kubeletconfig: this.#options.configuration });
      case "/stats/summary": {
        const onlyCpuAndMemory = query.get("only_cpu_and_memory") === "true";
        const { nodeName } = config;
        const seen = await stats.collect();
        const summed = onlyCpuAndMemory ? seen : this.#disks.addTo(seen);
        return json(computeSummary(summed, { nodeName, onlyCpuAndMemory }));
      }
      case "/metrics/resource":
        return metrics(computeResourceMetrics(await stats.collect(true)));
      case "/metrics/cadvisor":
        return metrics(computeCadvisorMetrics(this.#disks.addTo(await stats.collect()), version));
      case "/metrics/probes":
        return metrics([counter("prober_probe_total", PROBES_HELP, this.#options.probeTotals())]);
      case "/metrics/slis":
        return metrics([gauge("kubernetes_healthcheck", HEALTH_HELP, [this.#health()])]);
      case "/metrics":
        return this.#componentMetrics(servingEndsAt);
      default:
        return assertNever(path);
    }
  }

  async #componentMetrics(servingEndsAt: number | undefined): Promise<Body> {
    const facts = await this.#describe(servingEndsAt);
    const { contentType, text } = metrics(computeComponentMetrics(facts));
    return { contentType, text: `${text}${await this.#options.metrics.format()}` };
  }

  #health(): Sample {
    const value = this.#options.readiness().length === 0 ? 1 : 0;
    return { labels: { name: "syncloop", type: "healthz" }, value };
  }

  async #describe(servingEndsAt: number | undefined): Promise<ComponentFacts> {
    const { config, version, pods, clock, certificates, metrics } = this.#options;
    const views = pods.list();
    const volumes = await Promise.all(
      views.map(async ({ pod }) => ({
        namespace: pod.metadata.namespace ?? "",
        volumes: await this.#options.volumeUsage(pod.metadata.uid),
      })),
    );
    return {
      ...{ nodeName: config.nodeName, version, pods: views, requests: this.#requests },
      ...{ volumes, underway: this.#underway, relistedAt: metrics.relistedAt },
      ...this.#stats.readProcess(),
      ...{ now: clock.now(), servingEndsAt, certificates: certificates() },
    };
  }
}

function isLongRunning(route: Route): boolean {
  if (route.kind === "logs") return route.query.get("follow") === "true";
  return ["exec", "attach", "port-forward"].includes(route.kind);
}

const PROBES_HELP =
  "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.";
const HEALTH_HELP = "[STABLE] This metric records the result of a single healthcheck.";

interface Body {
  readonly contentType: string;
  readonly text: string;
}

function json(body: object): Body {
  return { contentType: "application/json", text: JSON.stringify(body) };
}

function metrics(all: readonly Metric[]): Body {
  return { contentType: CONTENT_TYPE, text: formatMetrics(all) };
}
