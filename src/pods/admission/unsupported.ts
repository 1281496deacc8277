/**
 * What a pod's spec asks for and this version does not do. Pure. Such a pod is refused with the name of every field; it
 * is never half-run. Called by admission.ts.
 */

import type { Container, PodSpec, Volume } from "../../api/types.ts";
import { isForwardable } from "../host-ports.ts";

const VOLUME_KINDS = [
  "emptyDir",
  "hostPath",
  "secret",
  "configMap",
  "projected",
  "downwardAPI",
  "image",
  "persistentVolumeClaim",
  "ephemeral",
  "nfs",
  // Waits, as for a driver that nobody registered.
  "csi",
] as const;

type Finding = readonly [isUsed: boolean, field: string];

function used(findings: readonly Finding[]): string[] {
  return findings.filter(([isUsed]) => isUsed).map(([, field]) => field);
}

/** Every field of the spec that is set and not supported, as paths that people recognise. */
export function findUnsupportedFields(spec: PodSpec): readonly string[] {
  const init = spec.initContainers ?? [];
  const isOnHost = spec.hostNetwork === true;
  return [
    ...used(podFindings(spec)),
    ...init.flatMap((container) => containerFields("initContainers", container, isOnHost)),
    ...spec.containers.flatMap((one) => containerFields("containers", one, isOnHost)),
    ...(spec.volumes ?? []).flatMap(volumeFields),
  ];
}

function podFindings(spec: PodSpec): readonly Finding[] {
  const security = spec.securityContext ?? {};
  return [
    [(spec.resourceClaims ?? []).length > 0, "spec.resourceClaims"],
    [spec.hostUsers === false, "spec.hostUsers=false"],
    [security.windowsOptions !== undefined, "spec.securityContext.windowsOptions"],
  ];
}

function field(list: string, container: Container, name: string): string {
  return `spec.${list}[${container.name}].${name}`;
}

function containerFields(list: string, container: Container, isOnHost: boolean): string[] {
  const security = container.securityContext ?? {};
  const findings: readonly Finding[] = [
    [(container.resources?.claims ?? []).length > 0, "resources.claims"],
    [security.windowsOptions !== undefined, "securityContext.windowsOptions"],
    // In the host's network a port of the container is one of the host.
    [
      !isOnHost && (container.ports ?? []).some((port) => port.hostPort && !isForwardable(port)),
      "ports.hostPort with this hostIP or protocol",
    ],
  ];
  return used(findings).map((name) => field(list, container, name));
}

function volumeFields(volume: Volume): string[] {
  const kinds = Object.keys(volume).filter((key) => key !== "name");
  return kinds
    .filter((kind) => !VOLUME_KINDS.some((known) => known === kind))
    .map((kind) => `spec.volumes[${volume.name}].${kind}`);
}
