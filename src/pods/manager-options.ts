/** What the pod manager needs of the rest of the agent. Types only; agent-pods.ts gives it. */

import type { ApiClient } from "../api/client.ts";
import type { EventSink } from "../api/events.ts";
import type { Store } from "../api/store.ts";
import type { Pod, Service } from "../api/types.ts";
import type { PodCgroupPort } from "../cgroups/pod-cgroups.ts";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import type { QueueObserver } from "../core/workqueue.ts";
import type { ImageAccess } from "../images/access.ts";
import type { NodeCredentials } from "../images/node-credentials.ts";
import type { ServiceAccountSource } from "../images/service-accounts.ts";
import type { DnsSettings, PodNetwork } from "../network/network.ts";
import type { HookRunner } from "../probes/hooks.ts";
import type { PodProbes } from "../probes/probes.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ObjectSource, PodVolumes } from "../volumes/volumes.ts";
import type { CheckpointPort } from "./checkpoint.ts";
import type { PodFeed } from "./feed.ts";
import type { NodeFacts } from "./node-facts.ts";
import type { PodObserver } from "./observer.ts";
import type { PodFilePort } from "./pod-files.ts";
import type { PodComputations } from "./starter.ts";

export interface PodManagerOptions {
  readonly nodeName: string;
  /** `new PodFiles(rootDir)`. */
  readonly files: PodFilePort;
  /** `new Checkpoint(rootDir, log)`. */
  readonly checkpoint: CheckpointPort;
  readonly maxPods: number;
  /** Resync of a pod without events, in milliseconds. */
  readonly syncFrequencyMs: number;
  /** The longest crash back-off of a container, in milliseconds. */
  readonly maxContainerRestartPeriodMs: number;
  readonly registryPullQPS: number;
  readonly registryBurst: number;
  readonly maxParallelImagePulls: number;
  readonly imageAccess: Pick<ImageAccess, keyof ImageAccess>;
  readonly nodeCredentials: Pick<NodeCredentials, "find">;
  readonly client: Pick<ApiClient, "get" | "patch" | "delete">;
  readonly pods: PodFeed;
  readonly services: Store<Service>;
  /** An ObjectCache. */
  readonly objects: ObjectSource &
    Pick<ServiceAccountSource, "getServiceAccount"> & {
      retainPod(pod: Pod): void;
      releasePod(podUid: string): void;
    };
  readonly runtime: Runtime;
  readonly network: PodNetwork & { readonly isReady: boolean };
  readonly cgroups: PodCgroupPort;
  readonly volumes: PodVolumes;
  readonly probes: PodProbes;
  readonly hooks: HookRunner;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly node: () => NodeFacts;
  /** Reads the Node anew; `node` tells of it afterwards. */
  readonly refreshNode: (signal: AbortSignal) => Promise<void>;
  readonly dns: DnsSettings;
  readonly compute: PodComputations;
  /** Who counts what pods do. */
  readonly observer: PodObserver & QueueObserver;
}
