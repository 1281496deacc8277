/**
 * The containers of a pod's spec with the part each plays, in the order the spec has them: init containers and sidecars
 * (init containers with restartPolicy Always), app containers, ephemeral ones. Pure. Everything that asks "which
 * containers has this pod" asks here.
 */

import type { Container as ContainerSpec, Pod, PodSpec } from "../api/types.ts";
import type { ContainerKind } from "../runtime/runtime.ts";

export type ContainerRole = "init" | "sidecar" | "app" | "ephemeral";

export interface PodContainer {
  /** Of an ephemeral container too, which has the same fields and `targetContainerName`. */
  readonly spec: ContainerSpec & { readonly targetContainerName?: string };
  readonly role: ContainerRole;
}

const LIST = {
  init: "initContainers",
  sidecar: "initContainers",
  app: "containers",
  ephemeral: "ephemeralContainers",
} as const satisfies Record<ContainerRole, keyof PodSpec>;

export function containersOf(spec: PodSpec): readonly PodContainer[] {
  const { initContainers = [], containers, ephemeralContainers = [] } = spec;
  return [
    ...initContainers.map((container): PodContainer => {
      const role = container.restartPolicy === "Always" ? "sidecar" : "init";
      return { spec: container, role };
    }),
    ...containers.map((container): PodContainer => ({ spec: container, role: "app" })),
    ...ephemeralContainers.map(
      (container): PodContainer => ({ spec: container, role: "ephemeral" }),
    ),
  ];
}

export function findContainer(spec: PodSpec, name: string): PodContainer | undefined {
  return containersOf(spec).find((container) => container.spec.name === name);
}

export function specOf(pod: Pod, name: string): PodContainer["spec"] | undefined {
  return findContainer(pod.spec, name)?.spec;
}

/** What events about a container name: `spec.containers{web}`. */
export function fieldPathOf(pod: Pod, name: string): string {
  return `spec.${LIST[findContainer(pod.spec, name)?.role ?? "app"]}{${name}}`;
}

/** Under which list the runtime's labels file it. */
export function kindOf(role: ContainerRole): ContainerKind {
  return role === "sidecar" ? "init" : role;
}

/** True for those that are to run as long as the pod does. */
export function isLasting({ role }: PodContainer): boolean {
  return role === "app" || role === "sidecar";
}
