/**
 * From the volumes of a PodSpec to desired volumes: chooses the kind, the place and the files. Waits only for the
 * FileSources it is given. A kind that is not here is refused by name. Called by volume-manager.ts.
 */

import type { Pod, Volume } from "../api/types.ts";
import { LongshoreError } from "../core/errors.ts";
import { type ClaimedVolume, noDriver } from "./claims.ts";
import { computeEmptyDir } from "./kinds/empty-dir.ts";
import { computeHostPath } from "./kinds/host-path.ts";
import { DEFAULT_MODE, type NamedFile } from "./kinds/keyed-files.ts";
import { computeNfs } from "./kinds/nfs.ts";
import { collectProjected, type FileSources } from "./kinds/projected.ts";
import type { VolumeOwner } from "./ownership.ts";
import { type Plugin, volumePath } from "./paths.ts";
import { createPayload } from "./payload.ts";
import type { DesiredVolume } from "./plan.ts";

/** Those that a container mounts, has as a device or reads its environment from; the others are not set up, as in the kubelet. */
export function usedVolumes(pod: Pod): readonly Volume[] {
  const { containers = [], initContainers = [], ephemeralContainers = [] } = pod.spec;
  const used = new Set(
    [...containers, ...initContainers, ...ephemeralContainers].flatMap(
      ({ volumeMounts = [], volumeDevices = [], env = [] }) => [
        ...[...volumeMounts, ...volumeDevices].map(({ name }) => name),
        ...env.map(({ valueFrom }) => valueFrom?.fileKeyRef?.volumeName),
      ],
    ),
  );
  // What an image volume shows is known only when its image is, with the start of a container.
  return (pod.spec.volumes ?? []).filter(({ name, image }) => used.has(name) && !image);
}

export function isReadOnlyVolume(desired: DesiredVolume): boolean {
  return desired.kind === "files" || (desired.kind === "nfs" && desired.readOnly);
}

export async function computeDesiredVolume(
  volume: Volume,
  podDir: string,
  sources: FileSources,
  owner: VolumeOwner,
): Promise<DesiredVolume> {
  const { name } = volume;
  const ofGroup = owner.group === undefined ? {} : { group: owner.group };
  const pathOf = (plugin: Plugin): string => volumePath(podDir, plugin, name);
  const filesAt = (
    plugin: Plugin,
    onTmpfs: boolean,
    files: readonly NamedFile[],
  ): DesiredVolume => ({
    kind: "files",
    name,
    path: pathOf(plugin),
    onTmpfs,
    payload: createPayload(files, owner.group),
    ...ofGroup,
  });
  if (volume.emptyDir !== undefined)
    return { ...computeEmptyDir(name, pathOf("empty-dir"), volume.emptyDir), ...ofGroup };
  if (volume.hostPath !== undefined) return computeHostPath(name, volume.hostPath);
  if (volume.nfs !== undefined) return computeNfs(name, pathOf("nfs"), volume.nfs);
  if (volume.configMap !== undefined) {
    const { name: object = "", ...source } = volume.configMap;
    return filesAt("configmap", false, await sources.configMap(keyed(source), object));
  }
  if (volume.secret !== undefined) {
    const { secretName = "", ...source } = volume.secret;
    return filesAt("secret", true, await sources.secret(keyed(source), secretName));
  }
  if (volume.downwardAPI !== undefined) {
    const { items = [], defaultMode = DEFAULT_MODE } = volume.downwardAPI;
    return filesAt("downward-api", false, sources.downwardApi(items, defaultMode));
  }
  // All projected volumes are in memory, as the kubelet has them: most hold a token.
  if (volume.projected !== undefined)
    return filesAt(
      "projected",
      true,
      await collectProjected(name, volume.projected, sources, owner),
    );
  if (volume.csi !== undefined)
    throw new LongshoreError(
      "VolumeNotReady",
      `kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: ${noDriver(volume.csi.driver)}`,
    );
  const kind = Object.keys(volume).find((key) => key !== "name") ?? "no source";
  throw new LongshoreError("VolumeInvalid", `${kind} volumes are not supported by this version`);
}

/**
 * A PersistentVolume on this node: a server's, mounted, or what the host has there, given to the pod's group where that
 * is its to give.
 */
export function computeClaimed(
  name: string,
  claimed: ClaimedVolume,
  podDir: string,
  { group, isLazy }: VolumeOwner,
): DesiredVolume {
  const { readOnly } = claimed;
  if (claimed.kind === "nfs") {
    const path = volumePath(podDir, "nfs", name);
    return computeNfs(name, path, { ...claimed.source, readOnly }, claimed.options);
  }
  const { source, isOwned } = claimed;
  const desired = computeHostPath(name, source);
  return isOwned && !readOnly && group !== undefined ? { ...desired, group, isLazy } : desired;
}

type KeyedOptions = Parameters<FileSources["configMap"]>[0];

function keyed(source: Partial<KeyedOptions>): KeyedOptions {
  const { items, optional = false, defaultMode = DEFAULT_MODE } = source;
  return { items, optional, defaultMode };
}
