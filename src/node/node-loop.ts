/**
 * The node agent: registers the Node, keeps its status and its lease, and tells others about the Node object and
 * what may be allocated. Three keys on one work queue: `node` (register, status), `lease`, `readiness`.
 * Never gives up: every failure is logged once and tried again. Started and stopped by agent.ts.
 */

import type { ApiClient } from "../api/client.ts";
import type { EventSink, EventType } from "../api/events.ts";
import { NODES } from "../api/resources.ts";
import type { Lease, Node, NodeStatus } from "../api/types.ts";
import { Backoff } from "../core/backoff.ts";
import { type Clock, formatMicroTime, formatTime } from "../core/clock.ts";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { WorkQueue } from "../core/workqueue.ts";
import type { Image, Runtime, RuntimeHandler } from "../runtime/runtime.ts";
import { readCapacity } from "./capacity.ts";
import type { HostReader } from "./host.ts";
import { renewIntervalMs, renewLease } from "./lease.ts";
import { findNodeIps, readNodeInfo } from "./node-info.ts";
import {
  type Capacity,
  computeAllocatable,
  computePodsShare,
  type Reservations,
  toNumbers,
} from "./quantities.ts";
import { ensureNode, type NodeTaint } from "./register.ts";
import { computeNodeStatus, computeTransitionEvents, type NodeSystemInfo } from "./status.ts";
import { syncNodeStatus } from "./status-loop.ts";

/** The part of AgentConfig that the node loop reads. */
interface NodeLoopConfig extends Reservations {
  readonly nodeName: string;
  readonly nodeIps: readonly string[];
  readonly nodeLabels: Readonly<Record<string, string>>;
  readonly registerNode: boolean;
  readonly registerWithTaints: readonly NodeTaint[];
  /** Must exist when the loop starts. */
  readonly rootDir: string;
  readonly port: number;
  readonly maxPods: number;
  readonly nodeStatusUpdateFrequencyMs: number;
  /** How often an unchanged status is written. */
  readonly nodeStatusReportFrequencyMs: number;
  /** -1 = all. */
  readonly nodeStatusMaxImages: number;
  /** Empty = none. */
  readonly providerID: string;
  readonly nodeLeaseDurationSeconds: number;
}

export interface NodeLoopOptions {
  readonly client: ApiClient;
  readonly config: NodeLoopConfig;
  readonly runtime: Pick<Runtime, "info" | "listImages">;
  readonly host: HostReader;
  /** What keeps the node from being ready, one sentence each; empty = ready. Asked each second. */
  readonly readiness: () => readonly string[];
  /** For status.declaredFeatures. */
  readonly declaredFeatures: readonly string[];
  /** Longshore's own version, e.g. `0.1.0`. */
  readonly version: string;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly log: Logger;
}

const READINESS_INTERVAL_MS = 1_000;
/** kubelet's: registration and lease retries start at 200 ms and end at 7 s. */
const RETRY = { initialMs: 200, maxMs: 7_000, resetMs: 60_000 };
/** How long after the registration a Node without a podCIDR is looked at each second. */
const POD_CIDR_WATCH_MS = 60_000;
/** How long a node that was Ready may take to be ready again after a restart of the agent before it is NotReady. */
const RESTART_GRACE_MS = 10_000;

/** What the engine told last; kept so that a status can be computed while the engine is down. */
interface RuntimeFacts {
  readonly nodeInfo: NodeSystemInfo;
  readonly handlers: readonly RuntimeHandler[];
  readonly images: readonly Image[];
}

export class NodeLoop {
  readonly #options: NodeLoopOptions;
  readonly #queue: WorkQueue;
  readonly #backoff = new Backoff(RETRY);
  readonly #listeners: ((node: Node) => void)[] = [];
  #capacity: Capacity | undefined;
  #nodeIps: readonly string[] = [];
  #facts: RuntimeFacts | undefined;
  #node: Node | undefined;
  #lease: Lease | undefined;
  #startedAt = 0;
  #hasReported = false;
  #registeredAt = 0;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #reportedProblems: string | undefined;

  constructor(options: NodeLoopOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      clock: options.clock,
      concurrency: 3,
      handle: (key, signal) => this.#turn(key, signal),
      onError: (key, error) => this.#onError(key, error),
    });
  }

  /** Reads the machine, then registers and reports in the background. Throws when the machine cannot be read. */
  async start(): Promise<void> {
    const { config, host } = this.#options;
    this.#capacity = await readCapacity(host, config);
    this.#nodeIps = await findNodeIps(host, config.nodeIps);
    this.#startedAt = this.#options.clock.monotonic();
    this.#record("Normal", "Starting", "Starting kubelet.");
    this.#queue.add("node");
    this.#queue.add("readiness", READINESS_INTERVAL_MS);
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
  }

  /** cpu in millicores, pods as a count, memory, ephemeral-storage and hugepages-* in bytes. Empty before start. */
  getAllocatable(): Readonly<Record<string, number>> {
    if (this.#capacity === undefined) return {};
    return toNumbers(computeAllocatable(this.#capacity, this.#options.config));
  }

  /** What all pods together may use, which is more than they may request. Undefined before start. */
  getPodsShare(): Pick<Capacity, "cpuMillis" | "memoryBytes"> | undefined {
    return this.#capacity && computePodsShare(this.#capacity, this.#options.config);
  }

  /** Bytes of the machine; 0 before start. */
  getMemoryCapacity(): number {
    return this.#capacity?.memoryBytes ?? 0;
  }

  /** The addresses reported as InternalIP. Empty before start. */
  getNodeIps(): readonly string[] {
    return this.#nodeIps;
  }

  /** Reads the Node now, for whom it must not be some seconds old, and tells the listeners. */
  async refresh(signal: AbortSignal): Promise<void> {
    const name = this.#options.config.nodeName;
    this.#publish(await this.#options.client.get(NODES, { name }, signal));
  }

  /** Called with the Node object each time it was read or written, and at once when it is known already. */
  onNode(listener: (node: Node) => void): void {
    this.#listeners.push(listener);
    if (this.#node !== undefined) listener(this.#node);
  }

  async #turn(key: string, signal: AbortSignal): Promise<number> {
    if (key === "readiness") return this.#watchReadiness();
    if (key === "lease") return this.#renewLease(signal);
    return this.#syncNode(signal);
  }

  #onError(key: string, error: unknown): number | undefined {
    if (hasCode(error, "Aborted")) return undefined;
    const { clock, log } = this.#options;
    if (hasCode(error, "ApiNotFound") && key === "node") this.#node = undefined;
    const isFirst = this.#backoff.delay(key) === 0;
    const delayMs = this.#backoff.fail(key, clock.monotonic());
    const what = key === "lease" ? "renewing the node's lease" : "reporting the node";
    const fields = { err: error, retryInMs: delayMs };
    if (isFirst) log.warn(fields, `${what} failed; it will be tried again`);
    else log.debug(fields, `${what} failed again`);
    return delayMs;
  }

  #recovered(key: "node" | "lease"): void {
    if (this.#backoff.delay(key) > 0)
      this.#options.log.info({ what: key }, "the API server takes reports again");
    this.#backoff.reset(key);
  }

  #watchReadiness(): number {
    const problems = this.#options.readiness().join("\n");
    if (this.#reportedProblems !== undefined && problems !== this.#reportedProblems)
      this.#queue.add("node");
    return READINESS_INTERVAL_MS;
  }

  async #renewLease(signal: AbortSignal): Promise<number> {
    const { client, clock, config } = this.#options;
    const node = this.#node;
    // Registration asks for a new turn when the Node is there again.
    if (node === undefined) return renewIntervalMs(config.nodeLeaseDurationSeconds);
    this.#lease = await renewLease(
      client,
      {
        node,
        durationSeconds: config.nodeLeaseDurationSeconds,
        now: formatMicroTime(clock.now()),
        previous: this.#lease,
      },
      signal,
    );
    this.#recovered("lease");
    return renewIntervalMs(config.nodeLeaseDurationSeconds);
  }

  async #syncNode(signal: AbortSignal): Promise<number> {
    const { client, clock, config } = this.#options;
    const observed = this.#options.readiness();
    const problems = [...observed];
    const facts = await this.#readFacts(problems, signal);
    const compute = (previous: NodeStatus): NodeStatus =>
      this.#computeStatus(facts, problems, previous);
    if (this.#node === undefined) await this.#register(signal);
    const sinceReportMs = clock.monotonic() - this.#reportedAt;
    const result = await syncNodeStatus(
      client,
      {
        nodeName: config.nodeName,
        sinceReportMs,
        reportFrequencyMs: config.nodeStatusReportFrequencyMs,
        isHeld: (previous) => problems.length > 0 && this.#isRestarting(previous),
        compute,
      },
      signal,
    );
    this.#reportedProblems = observed.join("\n");
    this.#recovered("node");
    if (result.kind === "written") this.#onWritten(result.previous, result.status);
    this.#publish(result.node);
    if (result.kind === "held") return READINESS_INTERVAL_MS;
    return this.#nextStatusTurnMs(result.node);
  }

  /** Pods of a node that was Ready need not leave their Services while its agent comes up again. */
  #isRestarting({ conditions = [] }: NodeStatus): boolean {
    if (this.#hasReported) return false;
    const wasReady = conditions.some(({ type, status }) => type === "Ready" && status === "True");
    return wasReady && this.#options.clock.monotonic() - this.#startedAt < RESTART_GRACE_MS;
  }

  async #register(signal: AbortSignal): Promise<void> {
    const { client, clock, config, host, log } = this.#options;
    if (config.registerNode) {
      const registration = {
        nodeName: config.nodeName,
        architecture: host.architecture,
        labels: config.nodeLabels,
        taints: config.registerWithTaints,
        providerID: config.providerID,
      };
      this.#publish(await ensureNode(client, registration, signal));
      log.info({ node: config.nodeName }, "node registered");
    }
    this.#registeredAt = clock.monotonic();
    this.#reportedAt = Number.NEGATIVE_INFINITY;
  }

  #onWritten(previous: NodeStatus, status: NodeStatus): void {
    const { clock, config, log } = this.#options;
    this.#reportedAt = clock.monotonic();
    this.#hasReported = true;
    for (const reason of computeTransitionEvents(previous, status)) {
      const message = `Node ${config.nodeName} status is now: ${reason}`;
      this.#record("Normal", reason, message);
      if (reason === "NodeReady" || reason === "NodeNotReady") log.info({ reason }, message);
    }
    const bootId = status.nodeInfo?.bootID;
    const bootedBefore = previous.nodeInfo?.bootID;
    if (bootedBefore === undefined || bootedBefore === "" || bootedBefore === bootId) return;
    this.#record(
      "Warning",
      "Rebooted",
      `Node ${config.nodeName} has been rebooted, boot id: ${bootId}`,
    );
  }

  #publish(node: Node): void {
    const isNew = this.#node?.metadata.uid !== node.metadata.uid;
    this.#node = node;
    if (isNew) {
      this.#lease = undefined;
      this.#queue.add("lease");
    }
    for (const listener of this.#listeners) listener(node);
  }

  #nextStatusTurnMs(node: Node): number {
    const { clock, config } = this.#options;
    const isYoung = clock.monotonic() - this.#registeredAt < POD_CIDR_WATCH_MS;
    return node.spec?.podCIDR === undefined && isYoung
      ? Math.min(1_000, config.nodeStatusUpdateFrequencyMs)
      : config.nodeStatusUpdateFrequencyMs;
  }

  #computeStatus(
    facts: RuntimeFacts,
    problems: readonly string[],
    previous: NodeStatus,
  ): NodeStatus {
    const { clock, config, declaredFeatures } = this.#options;
    if (this.#capacity === undefined)
      throw new LongshoreError("Bug", "computing the node status before start()");
    return computeNodeStatus({
      now: formatTime(clock.now()),
      hostname: config.nodeName,
      nodeIps: this.#nodeIps,
      capacity: this.#capacity,
      allocatable: computeAllocatable(this.#capacity, config),
      nodeInfo: facts.nodeInfo,
      images: facts.images,
      handlers: facts.handlers,
      maxImages: config.nodeStatusMaxImages,
      kubeletPort: config.port,
      problems,
      declaredFeatures,
      previous,
    });
  }

  /** Asks the engine; when it does not answer, the last answer is used and a problem is added. */
  async #readFacts(problems: string[], signal: AbortSignal): Promise<RuntimeFacts> {
    const { runtime, host, version, log } = this.#options;
    try {
      const [info, images] = await Promise.all([runtime.info(signal), runtime.listImages(signal)]);
      const nodeInfo = await readNodeInfo(host, info, version);
      this.#facts = { nodeInfo, images, handlers: info.handlers };
    } catch (error) {
      if (!hasCode(error, "EngineUnreachable", "EngineTimeout", "EngineServerError")) throw error;
      // Nothing to report yet: a Node without facts about its machine would be refused.
      if (this.#facts === undefined) throw error;
      log.debug({ err: error }, "the engine does not answer; reporting what it told last");
      if (problems.length === 0) problems.push("container runtime is down");
    }
    return this.#facts;
  }

  #record(type: EventType, reason: string, message: string): void {
    const name = this.#options.config.nodeName;
    // The kubelet refers to its Node by name in `uid`, and `kubectl describe node` looks for just that.
    const about = { apiVersion: "v1", kind: "Node", name, uid: name };
    this.#options.events.record(about, type, reason, message);
  }
}
