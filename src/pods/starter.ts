/**
 * Starting things: a sandbox with its network, and a container from environment, files and configuration to a running
 * process. Called by apply.ts. A container that cannot be made is noted in the record as a StartFailure (a waiting
 * reason in the status) with a Failed event; only what the loop should retry is thrown.
 */

import type { ApiClient } from "../api/client.ts";
import { type EventSink, involvedPod } from "../api/events.ts";
import type { Store } from "../api/store.ts";
import type { Container as ContainerSpec, Pod, Service } from "../api/types.ts";
import type { PodCgroupPort } from "../cgroups/pod-cgroups.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, LongshoreError, messageOf } from "../core/errors.ts";
import type { DnsSettings, PodNetwork } from "../network/network.ts";
import type { HostsFileInput } from "../network/pod-files.ts";
import type { ContainerConfigInput } from "../runtime/container-config.ts";
import type {
  Container,
  ContainerConfig,
  ContainerKind,
  Mount,
  Runtime,
  Sandbox,
} from "../runtime/runtime.ts";
import { needsImageUser } from "../runtime/security.ts";
import type { ObjectSource, PodFacts, PodVolumes } from "../volumes/volumes.ts";
import type { PodAction } from "./actions.ts";
import { fieldPathOf, type PodContainer, specOf } from "./containers.ts";
import { type ContainerEnv, resolveEnv } from "./env.ts";
import { computeHostname } from "./hostname.ts";
import { withImageVolumes } from "./image-volumes.ts";
import type { NodeFacts } from "./node-facts.ts";
import type { ContainerType, PodObserver } from "./observer.ts";
import type { PodFilePort } from "./pod-files.ts";
import { countRestart, type PodRecord } from "./record.ts";
import {
  computeSandboxConfig,
  findRuntimeHandler,
  hasRecursiveReadOnly,
  inheritedOf,
} from "./sandbox-config.ts";
import { newestOf, RETRY_MS, reachableIps, readySandbox, type StartFailure } from "./snapshot.ts";
import { bindSubPaths } from "./sub-paths.ts";

/** Pure functions of runtime/ and network/ that agent.ts hands in. */
export interface PodComputations {
  readonly computeHostsFile: (input: HostsFileInput) => string;
  readonly computeResolvConf: (pod: Pod, settings: DnsSettings) => string;
  readonly computeContainerConfig: (input: ContainerConfigInput) => ContainerConfig;
  readonly computeSpecHash: (container: ContainerSpec) => string;
}

export interface StarterOptions {
  readonly client: Pick<ApiClient, "get">;
  readonly runtime: Runtime;
  readonly network: PodNetwork;
  readonly cgroups: PodCgroupPort;
  readonly objects: ObjectSource;
  readonly volumes: Pick<PodVolumes, "bindSubPath" | "showImage">;
  readonly services: Store<Service>;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly nodeName: string;
  readonly node: () => NodeFacts;
  readonly dns: DnsSettings;
  readonly compute: PodComputations;
  readonly files: PodFilePort;
  /** The longest crash back-off. */
  readonly maxContainerRestartPeriodMs: number;
  readonly observer: Pick<PodObserver, "sandboxStarted" | "containerStarted">;
}

type StartAction = Extract<PodAction, { kind: "start-container" }> & {
  /** By volume, the IDs of the images that image volumes show. */
  readonly volumeImages: ReadonlyMap<string, string>;
};

const DEFAULT_MESSAGE_PATH = "/dev/termination-log";

/** Facts of the downward API for this pod now. */
export function factsOf(record: PodRecord, nodeName: string, node: NodeFacts): PodFacts {
  const podIps = reachableIps(record.observed, node.hostIps);
  const { hostIps, labels: nodeLabels, allocatable } = node;
  return { podIps, hostIps, nodeName, nodeLabels, allocatable };
}

const TYPE: Readonly<Record<ContainerKind, ContainerType>> = {
  init: "init_container",
  app: "container",
  ephemeral: "ephemeral_container",
};

export class Starter {
  readonly #options: StarterOptions;

  constructor(options: StarterOptions) {
    this.#options = options;
  }

  /** Address, sandbox, plumbing. What was made before a failure is undone. */
  async createSandbox(record: PodRecord, attempt: number, signal: AbortSignal): Promise<void> {
    const { events, clock } = this.#options;
    if (attempt > 0) {
      const message = "Pod sandbox changed, it will be killed and re-created.";
      events.record(involvedPod(record.pod), "Normal", "SandboxChanged", message);
    }
    try {
      await this.#runSandbox(record, attempt, signal);
      this.#options.observer.sandboxStarted(false);
    } catch (error) {
      this.#options.network.release(record.uid);
      if (signal.aborted) throw error;
      this.#options.observer.sandboxStarted(true);
      record.sandboxRetryAt = clock.now() + RETRY_MS;
      const message = `Failed to create pod sandbox: ${messageOf(error)}`;
      events.record(involvedPod(record.pod), "Warning", "FailedCreatePodSandBox", message);
    }
  }

  #countRestart(record: PodRecord, last: Container): void {
    const { clock, maxContainerRestartPeriodMs: maxMs } = this.#options;
    countRestart(record, last, { now: clock.now(), maxMs });
  }

  /** Env → files → configuration → create → start. The ID of what runs then; undefined when a step failed. */
  async startContainer(
    record: PodRecord,
    action: StartAction,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { pod } = record;
    const spec = specOf(pod, action.name);
    if (spec === undefined) return undefined;
    await this.#ensurePlumbed(record, signal);
    const last = newestOf(record.observed, action.name);
    // Whether or not the start succeeds.
    if (last !== undefined) this.#countRestart(record, last);
    const id = await this.#createAndStart(record, spec, action, signal);
    const failure = id === undefined ? record.startFailures.get(spec.name)?.reason : undefined;
    this.#options.observer.containerStarted(TYPE[action.containerKind], failure);
    return id;
  }

  async #createAndStart(
    record: PodRecord,
    spec: ContainerSpec,
    action: StartAction,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const config = await this.#attempt(record, spec, "CreateContainerConfigError", signal, () =>
      this.#configure(record, spec, action, signal),
    );
    if (config === undefined) return undefined;
    const { runtime } = this.#options;
    const id = await this.#attempt(record, spec, "CreateContainerError", signal, () =>
      runtime.createContainer(config, signal),
    );
    if (id === undefined) return undefined;
    this.#event(record, spec, "Normal", "Created", `Created container: ${spec.name}`);
    const isStarted = await this.#attempt(record, spec, "RunContainerError", signal, async () => {
      await runtime.startContainer(id, signal);
      return true;
    });
    if (isStarted !== true) return undefined;
    record.startFailures.delete(spec.name);
    this.#event(record, spec, "Normal", "Started", `Started container ${spec.name}`);
    return id;
  }

  async #runSandbox(record: PodRecord, attempt: number, signal: AbortSignal): Promise<void> {
    const { runtime, network } = this.#options;
    const { pod } = record;
    const hostNetwork = pod.spec.hostNetwork ?? false;
    const { clusterDomain } = this.#options.dns;
    const runtimeHandler = await findRuntimeHandler(this.#options.client, pod, signal);
    const ips = hostNetwork
      ? []
      : await network.allocate(record.uid, async () => (await runtime.list(signal)).sandboxes);
    const placement = await this.#options.cgroups.ensurePod(pod, signal);
    const input = { attempt, ips, clusterDomain, runtimeHandler, placement };
    const sandbox = await runtime.runSandbox(computeSandboxConfig(pod, input), signal);
    if (hostNetwork) return;
    try {
      await network.attach(sandbox, signal);
      record.plumbedSandboxId = sandbox.id;
    } catch (error) {
      await this.#undoSandbox(sandbox, signal);
      throw error;
    }
  }

  /** An agent killed between making a sandbox and joining it to the network leaves one that only looks ready. */
  async #ensurePlumbed(record: PodRecord, signal: AbortSignal): Promise<void> {
    const sandbox = readySandbox(record.observed);
    if (sandbox === undefined || sandbox.hostNetwork) return;
    if (record.plumbedSandboxId === sandbox.id) return;
    await this.#options.network.attach(sandbox, signal);
    record.plumbedSandboxId = sandbox.id;
  }

  async #undoSandbox(sandbox: Sandbox, signal: AbortSignal): Promise<void> {
    const { runtime, network } = this.#options;
    await runtime.stopSandbox(sandbox.id, signal);
    await network.detach(sandbox, signal);
    await runtime.removeSandbox(sandbox.id, signal);
  }

  /** Runs one step of a start; a failure of it becomes a waiting reason. */
  async #attempt<T>(
    record: PodRecord,
    spec: ContainerSpec,
    reason: StartFailure["reason"],
    signal: AbortSignal,
    step: () => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await step();
    } catch (error) {
      if (signal.aborted || hasCode(error, "EngineUnreachable")) throw error;
      const message = messageOf(error);
      const retryAt = this.#options.clock.now() + RETRY_MS;
      record.startFailures.set(spec.name, { reason, message, retryAt });
      this.#event(record, spec, "Warning", "Failed", `Error: ${message}`);
      return undefined;
    }
  }

  /** Asked for only where it counts. */
  async #imageUser(
    pod: Pod,
    spec: ContainerSpec,
    imageId: string,
    signal: AbortSignal,
  ): Promise<string> {
    if (!needsImageUser(pod, spec)) return "";
    return (await this.#options.runtime.inspectImage(imageId, signal))?.user ?? "";
  }

  async #configure(
    record: PodRecord,
    spec: PodContainer["spec"],
    action: StartAction,
    signal: AbortSignal,
  ): Promise<ContainerConfig> {
    const { compute, nodeName, objects, services, clock } = this.#options;
    const { pod } = record;
    const node = this.#options.node();
    const facts = factsOf(record, nodeName, node);
    const sandbox = readySandbox(record.observed);
    const env: ContainerEnv = await resolveEnv(
      { pod, container: spec, facts, services, objects, volumes: record.mounted, clock },
      signal,
    );
    const { variables } = env;
    const { volumes } = this.#options;
    const mounted = await withImageVolumes(volumes, record, action.volumeImages, signal);
    const parts = { pod, container: spec, variables, mounted };
    return compute.computeContainerConfig({
      pod,
      container: spec,
      kind: action.containerKind,
      attempt: action.attempt,
      sandboxId: action.sandboxId,
      imageId: action.imageId,
      imageUser: await this.#imageUser(pod, spec, action.imageId, signal),
      env: variables,
      command: env.command,
      args: env.args,
      ...pidTargetOf(record, spec),
      volumes: mounted,
      subPaths: await bindSubPaths(volumes, parts, signal),
      extraMounts: await this.#writeFiles(record, spec, facts, action.attempt),
      ...inheritedOf(sandbox),
      hasRecursiveReadOnly: hasRecursiveReadOnly(sandbox, node.recursiveReadOnlyHandlers),
      memoryCapacity: node.memoryCapacity,
    });
  }

  async #writeFiles(
    { pod, uid }: PodRecord,
    spec: ContainerSpec,
    facts: PodFacts,
    attempt: number,
  ): Promise<readonly Mount[]> {
    const { compute, dns, files } = this.#options;
    const mounts: Mount[] = [];
    const add = (hostPath: string, containerPath: string): void => {
      mounts.push({ hostPath, containerPath, readOnly: false, propagation: "private" });
    };
    const hosts = compute.computeHostsFile(this.#hostsInput(pod, facts));
    add(await files.write(uid, "etc-hosts", hosts), "/etc/hosts");
    const resolv = compute.computeResolvConf(pod, dns);
    add(await files.write(uid, "resolv.conf", resolv), "/etc/resolv.conf");
    const messagePath = spec.terminationMessagePath ?? DEFAULT_MESSAGE_PATH;
    if (messagePath !== "")
      add(await files.createMessageFile(uid, spec.name, attempt), messagePath);
    return mounts;
  }

  #hostsInput(pod: Pod, facts: PodFacts): HostsFileInput {
    const { hostAliases = [], hostNetwork } = pod.spec;
    return {
      podIps: facts.podIps,
      ...computeHostname(pod, this.#options.dns.clusterDomain),
      aliases: hostAliases.map(({ ip, hostnames = [] }) => ({ ip: ip ?? "", hostnames })),
      ...(hostNetwork === true ? { nodeHosts: this.#options.node().etcHosts } : {}),
    };
  }

  #event(
    { pod }: PodRecord,
    spec: ContainerSpec,
    type: "Normal" | "Warning",
    reason: string,
    message: string,
  ): void {
    this.#options.events.record(
      involvedPod(pod, fieldPathOf(pod, spec.name)),
      type,
      reason,
      message,
    );
  }
}

/** An ephemeral container may look into the processes of the container it is for. */
function pidTargetOf(
  { observed }: PodRecord,
  { targetContainerName }: PodContainer["spec"],
): { readonly pidOf?: string } {
  if (targetContainerName === undefined || targetContainerName === "") return {};
  const target = newestOf(observed, targetContainerName);
  if (target?.state === "running") return { pidOf: target.id };
  throw new LongshoreError(
    "ContainerConfigInvalid",
    `the target container ${targetContainerName} does not run`,
  );
}
