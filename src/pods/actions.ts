/**
 * What can be done to a pod, one variant per thing, each with only what its executor needs. plan.ts and phases/* make
 * them, apply.ts has one executor for each (a new variant without one does not compile).
 */

import type { ContainerKind, ContainerResources } from "../runtime/runtime.ts";

export type PodAction =
  | { readonly kind: "create-sandbox"; readonly attempt: number }
  | { readonly kind: "stop-sandbox"; readonly id: string }
  | { readonly kind: "remove-sandbox"; readonly id: string }
  /** Finds the image by policy; a pull goes on apart from the worker's turn. */
  | { readonly kind: "ensure-image"; readonly name: string }
  | {
      readonly kind: "start-container";
      readonly name: string;
      readonly containerKind: ContainerKind;
      readonly attempt: number;
      readonly sandboxId: string;
      readonly imageId: string;
    }
  /** Begins the preStop hook; the kill follows when it has ended or `leftMs` are over. */
  | (KillTarget & { readonly kind: "run-pre-stop"; readonly leftMs: number })
  /** Begins the stop signal and what follows it. */
  | (KillTarget & { readonly kind: "kill-container"; readonly isAnnounced: boolean })
  | {
      readonly kind: "remove-container";
      readonly id: string;
      readonly name: string;
      /** Its end restarts the pod: the next such end waits for its back-off. */
      readonly countsAsRestart?: true;
    }
  | {
      readonly kind: "resize-container";
      readonly id: string;
      readonly name: string;
      readonly resources: ContainerResources;
    }
  /** The pod's cgroup follows its containers; then the resize is over. */
  | { readonly kind: "finish-resize" }
  /** Makes the pod Failed for good; its containers are stopped next. */
  | { readonly kind: "fail-pod"; readonly reason: string; readonly message: string }
  | { readonly kind: "teardown-volumes" }
  /** The last word to the API server: everything is gone, so may the object be. */
  | { readonly kind: "delete-object" };

export type KillReason =
  | "definition-changed"
  | "liveness-probe"
  | "startup-probe"
  | "post-start-hook"
  | "restart-all"
  | "resize"
  | "sandbox-changed"
  | "terminating";

interface KillTarget {
  readonly id: string;
  readonly name: string;
  readonly reason: KillReason;
  /** From the first sign of the end to SIGKILL; of a kill: what is left of it. */
  readonly graceSeconds: number;
  /** Text of the Killing event, which is recorded once. */
  readonly message: string;
}

export interface PodPlan {
  /** The next possible actions only, independent of each other; empty = nothing to do before `waitMs` or an event. */
  readonly actions: readonly PodAction[];
  /** Milliseconds until a back-off or deadline makes more actions possible. */
  readonly waitMs: number | undefined;
  /** For people: why these actions, or why none. */
  readonly why: string;
}

export type ActionKind = PodAction["kind"];
