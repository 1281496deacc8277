/**
 * From a container's spec, already resolved, to what the runtime is asked for. Pure: resources (resources.ts), the
 * security context (security.ts), the mounts of volumes.
 * Called by pods/starter.ts through agent.ts.
 */

import type { Container as ContainerSpec, Pod } from "../api/types.ts";
import { LongshoreError } from "../core/errors.ts";
import { hashValue } from "../core/hash.ts";
import { computeOomScore, computeResources } from "./resources.ts";
import type { ContainerConfig, ContainerKind, Device, Mount } from "./runtime.ts";
import { computeSecurity } from "./security.ts";
import { containerPathOf, resolveRecursiveReadOnly } from "./volume-mounts.ts";

/** A volume of the pod on the host. */
interface VolumeOnHost {
  readonly hostPath: string;
  readonly readOnly: boolean;
  /** Its own mount is what it is to be in the container. */
  readonly isSealed?: true;
  readonly isDevice?: true;
}

export interface ContainerConfigInput {
  readonly pod: Pod;
  readonly container: ContainerSpec;
  readonly kind: ContainerKind;
  readonly attempt: number;
  readonly sandboxId: string;
  readonly imageId: string;
  /** User of the image, `name`, `uid` or either with a group; empty = root. */
  readonly imageUser: string;
  readonly env: ReadonlyMap<string, string>;
  /** Already expanded. */
  readonly command: readonly string[] | undefined;
  readonly args: readonly string[] | undefined;
  readonly volumes: ReadonlyMap<string, VolumeOnHost>;
  /** By index of the mount: the host's path of the part of a volume that it shows. */
  readonly subPaths: ReadonlyMap<number, string>;
  /** The container an ephemeral one is to look into. */
  readonly pidOf?: string;
  /** The files the agent mounts itself; a volume mounted on the same path wins. */
  readonly extraMounts: readonly Mount[];
  /** Of the pod's RuntimeClass; absent = the Engine's default. */
  readonly runtimeHandler?: string;
  /** Whether that can make mounts recursively read-only. */
  readonly hasRecursiveReadOnly: boolean;
  /** The pod's cgroup, as the Engine names it. */
  readonly cgroupParent?: string;
  /** Processes of this container; absent = unlimited, or limited by the pod's cgroup. */
  readonly pidsLimit?: number;
  /** Bytes of the machine, for the OOM score of Burstable pods. */
  readonly memoryCapacity: number;
}

/** The kubelet's name for `terminationGracePeriodSeconds` of the pod: what is left to know when the pod's object is gone. */
export const GRACE_ANNOTATION = "io.kubernetes.pod.terminationGracePeriod";
/** The requests and limits a container was made with, as JSON: what its status tells. */
export const RESOURCES_ANNOTATION = "longshore.io/resources";

/** The parts of the spec whose change restarts the container: since 1.33 the kubelet's are name and image. */
export function computeSpecHash(container: ContainerSpec): string {
  return hashValue({ name: container.name, image: container.image });
}

export function computeContainerConfig(input: ContainerConfigInput): ContainerConfig {
  const { pod, container } = input;
  return {
    pod: { namespace: pod.metadata.namespace, name: pod.metadata.name, uid: pod.metadata.uid },
    name: container.name,
    kind: input.kind,
    attempt: input.attempt,
    specHash: computeSpecHash(container),
    sandboxId: input.sandboxId,
    image: container.image ?? "",
    imageId: input.imageId,
    ...(input.command === undefined ? {} : { command: input.command }),
    ...(input.args === undefined ? {} : { args: input.args }),
    env: [...input.env].map(([name, text]) => `${name}=${text}`),
    ...(container.workingDir ? { workingDir: container.workingDir } : {}),
    mounts: computeMounts(input),
    devices: computeDevices(input),
    tty: container.tty ?? false,
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    ...(container.lifecycle?.stopSignal ? { stopSignal: container.lifecycle.stopSignal } : {}),
    ...computeSecurity(pod, container, input.imageUser),
    ...(input.runtimeHandler === undefined ? {} : { runtimeHandler: input.runtimeHandler }),
    ...(input.cgroupParent === undefined ? {} : { cgroupParent: input.cgroupParent }),
    sharePid: pod.spec.shareProcessNamespace ?? false,
    hostPid: pod.spec.hostPID ?? false,
    ...(input.pidOf === undefined ? {} : { pidOf: input.pidOf }),
    resources: computeResources(pod.spec, container, input.pidsLimit),
    oomScoreAdj: computeOomScore(pod.spec, container, input.memoryCapacity),
    annotations: {
      [GRACE_ANNOTATION]: String(pod.spec.terminationGracePeriodSeconds ?? 30),
      [RESOURCES_ANNOTATION]: JSON.stringify(container.resources ?? {}),
    },
  };
}

const PROPAGATION = {
  None: "private",
  HostToContainer: "rslave",
  Bidirectional: "rshared",
} as const;

function computeMounts(input: ContainerConfigInput): readonly Mount[] {
  const volumes = (input.container.volumeMounts ?? []).map((mount, index): Mount => {
    const volume = input.volumes.get(mount.name);
    if (volume === undefined)
      throw new LongshoreError(
        "ContainerConfigInvalid",
        `container ${input.container.name} mounts ${mount.name}, which is no volume of the pod`,
      );
    const isRecursive = resolveRecursiveReadOnly(mount, input.hasRecursiveReadOnly);
    return {
      hostPath: input.subPaths.get(index) ?? volume.hostPath,
      containerPath: containerPathOf(mount),
      readOnly: volume.isSealed !== true && (mount.readOnly === true || volume.readOnly),
      propagation: PROPAGATION[mount.mountPropagation as keyof typeof PROPAGATION] ?? "private",
      ...(isRecursive ? { isRecursivelyReadOnly: true } : {}),
    };
  });
  const taken = new Set(volumes.map((mount) => mount.containerPath));
  return [...input.extraMounts.filter((mount) => !taken.has(mount.containerPath)), ...volumes];
}

function computeDevices({ container, volumes }: ContainerConfigInput): readonly Device[] {
  return (container.volumeDevices ?? []).map(({ name, devicePath }) => {
    const volume = volumes.get(name);
    if (volume?.isDevice !== true)
      throw new LongshoreError(
        "ContainerConfigInvalid",
        `container ${container.name} has ${name} in volumeDevices, which is no block device`,
      );
    return { hostPath: volume.hostPath, containerPath: devicePath, readOnly: volume.readOnly };
  });
}
