/**
 * Probes as pods sees them. One worker per (container instance, probe kind) lives in manager.ts; it tells the pod's
 * worker through `onChange` and the pod reads results here.
 */

import type { Container as ContainerSpec, Pod } from "../api/types.ts";

export type ProbeKind = "startup" | "liveness" | "readiness";

export interface ProbeTarget {
  readonly spec: ContainerSpec;
  readonly containerId: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  /** What this very instance was reported as before the agent restarted; holds until a probe says otherwise. */
  readonly initial?: Pick<ProbeResults, "isReady" | "isStarted">;
}

/** What is known of one container instance; a container without that probe counts as having passed it. */
export interface ProbeResults {
  readonly isStarted: boolean;
  readonly isReady: boolean;
  /** Set once the liveness or startup probe failed for good: why the container must be killed. */
  readonly failure?: { readonly kind: "liveness" | "startup"; readonly message: string };
}

/** For people: one probe of one container instance. */
export interface ProbeReport {
  readonly containerId: string;
  readonly kind: ProbeKind;
  readonly result: "success" | "failure" | "unknown";
  /** How often the last outcome that counted came in a row. */
  readonly streak: number;
  readonly last?: {
    /** Milliseconds since the epoch. */
    readonly at: number;
    readonly outcome: "success" | "warning" | "failure" | "error";
    readonly message: string;
  };
}

/** A time of a probe; what is none, as only an object that no API server checked has it, counts as not said. */
export function secondsOf(said: number | undefined, byDefault: number): number {
  return typeof said === "number" && said > 0 ? said : byDefault;
}

export interface PodProbes {
  /** Starts workers for new container instances of the pod and stops those of instances not listed. */
  sync(pod: Pod, podIp: string, targets: readonly ProbeTarget[]): void;
  /** Stops everything of the pod, or only startup and liveness while it terminates. */
  stopPod(podUid: string, keep?: "readiness"): void;
  results(podUid: string, spec: ContainerSpec, containerId: string): ProbeResults;
  /** Every probe of the pod, for people. */
  report(podUid: string): readonly ProbeReport[];
  stop(): Promise<void>;
}
