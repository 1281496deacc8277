/**
 * What happens in the agent, counted under the kubelet's names in a registry of its own: pods, the Engine's calls, the
 * API server's, the queue of pods, the node's server. Told by the parts through the functions they take; printed by
 * GET /metrics. To count is all that is done where things happen.
 */

import { Counter, Histogram, Registry } from "prom-client";
import type { ApiExchange } from "../../api/http-calls.ts";
import type { QueueObserver } from "../../core/workqueue.ts";
import type { ContainerType, PodObserver } from "../../pods/observer.ts";

const POD_START = [
  ...[0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900],
  ...[1200, 1800, 2700, 3600],
];
const RUNTIME = Array.from({ length: 14 }, (_, power) => 0.005 * 2.5 ** power);
const REST = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];
const QUEUE = Array.from({ length: 10 }, (_, power) => 1e-8 * 10 ** power);
/** Of Prometheus' client for Go. */
const DEFAULT = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export class AgentMetrics implements PodObserver, QueueObserver {
  readonly #registry = new Registry();
  readonly #podStart = this.#histogram(
    "kubelet_pod_start_duration_seconds",
    "From the kubelet seeing a pod for the first time to the pod starting to run",
    POD_START,
  );
  readonly #podStartSli = this.#histogram(
    "kubelet_pod_start_sli_duration_seconds",
    "From the creation of a pod to its containers running, without pulls of images",
    POD_START,
  );
  readonly #podWorker = this.#histogram(
    "kubelet_pod_worker_duration_seconds",
    "Time to sync a single pod, by operation: create, sync or kill",
    DEFAULT,
    ["operation_type"],
  );
  readonly #podWorkerStart = this.#histogram(
    "kubelet_pod_worker_start_duration_seconds",
    "From the kubelet seeing a pod to starting a worker",
    DEFAULT,
  );
  readonly #relist = this.#histogram(
    "kubelet_pleg_relist_duration_seconds",
    "Time of a look at the containers of the runtime",
    DEFAULT,
  );
  readonly #relistInterval = this.#histogram(
    "kubelet_pleg_relist_interval_seconds",
    "Time between two looks at the containers of the runtime",
    DEFAULT,
  );
  readonly #runtime = this.#histogram(
    "kubelet_runtime_operations_duration_seconds",
    "Time of runtime operations, by operation type",
    RUNTIME,
    ["operation_type"],
  );
  readonly #runtimeTotal = this.#counter(
    "kubelet_runtime_operations_total",
    "Runtime operations, by operation type",
    ["operation_type"],
  );
  readonly #runtimeErrors = this.#counter(
    "kubelet_runtime_operations_errors_total",
    "Runtime operations that failed, by operation type",
    ["operation_type"],
  );
  readonly #startedPods = this.#counter("kubelet_started_pods_total", "Pods started");
  readonly #startedPodErrors = this.#counter(
    "kubelet_started_pods_errors_total",
    "Failed starts of pods",
  );
  readonly #startedContainers = this.#counter(
    "kubelet_started_containers_total",
    "Containers started, by type",
    ["container_type"],
  );
  readonly #startedContainerErrors = this.#counter(
    "kubelet_started_containers_errors_total",
    "Failed starts of containers, by type and reason",
    ["container_type", "code"],
  );
  readonly #evictions = this.#counter("kubelet_evictions", "Pod evictions, by eviction signal", [
    "eviction_signal",
  ]);
  readonly #cgroups = this.#histogram(
    "kubelet_cgroup_manager_duration_seconds",
    "Time of operations on the cgroups of pods",
    DEFAULT,
    ["operation_type"],
  );
  readonly #httpDuration = this.#histogram(
    "kubelet_http_requests_duration_seconds",
    "Time to serve requests",
    DEFAULT,
    ["method", "path", "server_type", "long_running"],
  );
  readonly #rest = this.#counter(
    "rest_client_requests_total",
    "HTTP requests to the API server, by status code, method and host",
    ["code", "method", "host"],
  );
  readonly #restDuration = this.#histogram(
    "rest_client_request_duration_seconds",
    "Time of requests to the API server, by verb and host",
    REST,
    ["verb", "host"],
  );
  readonly #queueAdds = this.#counter("workqueue_adds_total", "Adds handled by the queue", [
    "name",
  ]);
  readonly #queueRetries = this.#counter("workqueue_retries_total", "Retries of the queue", [
    "name",
  ]);
  readonly #queueWait = this.#histogram(
    "workqueue_queue_duration_seconds",
    "How long an item stays in the queue after its time",
    QUEUE,
    ["name"],
  );
  readonly #queueWork = this.#histogram(
    "workqueue_work_duration_seconds",
    "How long processing an item takes",
    QUEUE,
    ["name"],
  );
  #relistedAt: number | undefined;

  /** In Prometheus' text format. */
  format(): Promise<string> {
    return this.#registry.metrics();
  }

  turned(operation: "create" | "sync" | "kill", seconds: number): void {
    this.#podWorker.observe({ operation_type: operation }, seconds);
  }

  workerStarted(seconds: number): void {
    this.#podWorkerStart.observe(seconds);
  }

  podStarted(seconds: number, sliSeconds: number | undefined): void {
    this.#podStart.observe(seconds);
    if (sliSeconds !== undefined) this.#podStartSli.observe(sliSeconds);
  }

  sandboxStarted(isFailed: boolean): void {
    (isFailed ? this.#startedPodErrors : this.#startedPods).inc();
  }

  containerStarted(type: ContainerType, failure: string | undefined): void {
    this.#startedContainers.inc({ container_type: type });
    if (failure !== undefined)
      this.#startedContainerErrors.inc({ container_type: type, code: failure });
  }

  evicted(signal: string): void {
    this.#evictions.inc({ eviction_signal: signal });
  }

  /** @param at seconds since the epoch, of the end */
  onRuntimeOperation(
    operation: string,
    { seconds, isFailed, at }: { seconds: number; isFailed: boolean; at: number },
  ): void {
    const labels = { operation_type: operation };
    this.#runtimeTotal.inc(labels);
    this.#runtime.observe(labels, seconds);
    if (isFailed) this.#runtimeErrors.inc(labels);
    if (operation !== "list_containers" || isFailed) return;
    this.#relist.observe(seconds);
    if (this.#relistedAt !== undefined)
      this.#relistInterval.observe(Math.max(0, at - this.#relistedAt));
    this.#relistedAt = at;
  }

  /** Seconds since the epoch of the last look at the runtime. */
  get relistedAt(): number | undefined {
    return this.#relistedAt;
  }

  onCgroupOperation(operation: string, seconds: number): void {
    this.#cgroups.observe({ operation_type: operation }, seconds);
  }

  onApiExchange({ method, host, code, seconds }: ApiExchange): void {
    this.#rest.inc({ code, method, host });
    this.#restDuration.observe({ verb: method, host }, seconds);
  }

  onRequest(labels: Readonly<Record<"method" | "path" | "long_running", string>>, s: number): void {
    this.#httpDuration.observe({ ...labels, server_type: "readwrite" }, s);
  }

  added(name: string): void {
    this.#queueAdds.inc({ name });
  }

  began(name: string, waitedSeconds: number): void {
    this.#queueWait.observe({ name }, waitedSeconds);
  }

  ended(name: string, workSeconds: number, isFailed: boolean): void {
    this.#queueWork.observe({ name }, workSeconds);
    if (isFailed) this.#queueRetries.inc({ name });
  }

  #histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly string[] = [],
  ): Histogram {
    return new Histogram({
      ...{ name, help, buckets: [...buckets], labelNames: [...labelNames] },
      registers: [this.#registry],
    });
  }

  #counter(name: string, help: string, labelNames: readonly string[] = []): Counter {
    return new Counter({
      ...{ name, help, labelNames: [...labelNames] },
      registers: [this.#registry],
    });
  }
}
