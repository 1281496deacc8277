/**
 * The Secrets, ConfigMaps, ServiceAccounts and claims that a pod refers to: the edges of the Node authorizer's graph, pure.
 * Mirror pods refer to nothing, or a node could grant itself any Secret by writing a static pod.
 * Called by node-authorizer.ts and node-restriction.ts.
 */

import type { Pod } from "../api/types.ts";

export interface PodReferences {
  readonly secrets: ReadonlySet<string>;
  readonly configMaps: ReadonlySet<string>;
  readonly serviceAccounts: ReadonlySet<string>;
  readonly claims: ReadonlySet<string>;
}

export const MIRROR_ANNOTATION = "kubernetes.io/config.mirror";

const NOTHING: PodReferences = {
  secrets: new Set(),
  configMaps: new Set(),
  serviceAccounts: new Set(),
  claims: new Set(),
};

/** What a node with this pod may read. */
export function referencedObjects(pod: Pod): PodReferences {
  const isMirror = pod.metadata.annotations?.[MIRROR_ANNOTATION] !== undefined;
  return isMirror ? NOTHING : writtenReferences(pod);
}

/** What the pod's spec names, mirror pod or not. */
export function writtenReferences(pod: Pod): PodReferences {
  const secrets = new Set<string>();
  const configMaps = new Set<string>();
  const claims = new Set<string>();
  const add = (names: Set<string>, name: string | undefined): void => {
    if (name) names.add(name);
  };
  for (const { name } of pod.spec.imagePullSecrets ?? []) add(secrets, name);
  for (const container of containersOf(pod)) {
    for (const { valueFrom } of container.env ?? []) {
      add(secrets, valueFrom?.secretKeyRef?.name);
      add(configMaps, valueFrom?.configMapKeyRef?.name);
    }
    for (const { secretRef, configMapRef } of container.envFrom ?? []) {
      add(secrets, secretRef?.name);
      add(configMaps, configMapRef?.name);
    }
  }
  for (const volume of pod.spec.volumes ?? []) {
    add(secrets, volume.secret?.secretName);
    add(secrets, volume.csi?.nodePublishSecretRef?.name);
    add(configMaps, volume.configMap?.name);
    add(claims, volume.persistentVolumeClaim?.claimName);
    if (volume.ephemeral !== undefined) add(claims, `${pod.metadata.name}-${volume.name}`);
    for (const { secret, configMap } of volume.projected?.sources ?? []) {
      add(secrets, secret?.name);
      add(configMaps, configMap?.name);
    }
  }
  const account = pod.spec.serviceAccountName;
  return { secrets, configMaps, serviceAccounts: new Set(account ? [account] : []), claims };
}

function containersOf(pod: Pod) {
  const { initContainers = [], containers, ephemeralContainers = [] } = pod.spec;
  return [...initContainers, ...containers, ...ephemeralContainers];
}
