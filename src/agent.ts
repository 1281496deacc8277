/**
 * The composition root: builds the parts of the agent, starts them in order, stops them in reverse. No decisions: who
 * retries, waits or gives up is written in the parts. Called by cli/agent.ts and cli/up.ts.
 */

import { mkdir, readFile } from "node:fs/promises";
import { createApiClient } from "./api/http-client.ts";
import type { ApiClient } from "./api/client.ts";
import { EventRecorder } from "./api/event-recorder.ts";
import { loadKubeconfig } from "./api/kubeconfig.ts";
import { Reflector } from "./api/reflector.ts";
import { ENDPOINT_SLICES, PODS, type Resource, SERVICES } from "./api/resources.ts";
import type { StoredObject } from "./api/types.ts";
import type { AgentConfig } from "./config.ts";
import type { Clock } from "./core/clock.ts";
import { hasCode, messageOf } from "./core/errors.ts";
import type { Exec } from "./core/exec.ts";
import { createIptables } from "./core/iptables.ts";
import type { Logger } from "./core/logger.ts";
import type { Syscalls } from "./core/syscalls.ts";
import { computeHostsFile } from "./network/hosts-file.ts";
import { BridgePodNetwork } from "./network/pod-network.ts";
import { computeResolvConf } from "./network/resolv-conf.ts";
import { createHostReader } from "./node/host.ts";
import { computeHostChecks, readHostFacts } from "./node/host-checks.ts";
import { NodeLoop } from "./node/node-loop.ts";
import type { NodeFacts } from "./pods/node-facts.ts";
import { ObjectCache } from "./pods/object-cache.ts";
import { PodManager } from "./pods/manager.ts";
import { ProbeManager } from "./probes/manager.ts";
import { createConntrack } from "./proxy/conntrack.ts";
import { Proxier } from "./proxy/proxier.ts";
import { computeContainerConfig, computeSpecHash } from "./runtime/container-config.ts";
import { createDockerRuntime } from "./runtime/docker/docker-runtime.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { KubeletServer } from "./server/kubelet-server.ts";
import { VolumeManager } from "./volumes/volume-manager.ts";

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly version: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly exec: Exec;
  readonly syscalls: Syscalls;
  readonly isRoot: boolean;
  readonly log: Logger;
}
