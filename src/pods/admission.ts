/**
 * Which pods this node takes: not those whose spec asks for what this version does not do, not more than max-pods, not
 * those whose node selector or required node affinity does not match. Pure. A refused pod becomes Failed with the verdict's reason and a Warning
 * event that names every field; it is never half-run.
 */

import { matchesNodeSelection } from "../api/node-selection.ts";
import type { Container, Pod, PodSpec, Volume } from "../api/types.ts";
import type { Verdict } from "./snapshot.ts";

const VOLUME_KINDS = [
  "emptyDir",
  "hostPath",
  "secret",
  "configMap",
  "projected",
  "downwardAPI",
] as const;

export interface AdmissionInput {
  readonly pod: Pod;
  readonly nodeName: string;
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** Pods of this node that have not ended, without this one. */
  readonly activePods: number;
  readonly maxPods: number;
}

/** undefined = the pod may run. */
export function computeAdmission(input: AdmissionInput): Verdict | undefined {
  const fields = findUnsupportedFields(input.pod.spec);
  if (fields.length > 0)
    return {
      reason: "UnsupportedPodSpec",
      message: `this version of Longshore does not support: ${fields.join(", ")}`,
    };
  const node = { name: input.nodeName, labels: input.nodeLabels };
  if (!matchesNodeSelection(input.pod.spec, node))
    return {
      reason: "NodeAffinity",
      message:
        "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    };
  if (input.activePods >= input.maxPods)
    return {
      reason: "OutOfpods",
      message: `Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: ${input.activePods}, capacity: ${input.maxPods}`,
    };
  return undefined;
}

/** Absent, or what upstream does anyway. */
function isUnset(value: string | undefined, standard: string): boolean {
  return value === undefined || value === standard;
}

type Finding = readonly [isUsed: boolean, field: string];

function used(findings: readonly Finding[]): string[] {
  return findings.filter(([isUsed]) => isUsed).map(([, field]) => field);
}

/** Every field of the spec that is set and not supported, as paths that people recognise. */
export function findUnsupportedFields(spec: PodSpec): readonly string[] {
  const init = spec.initContainers ?? [];
  return [
    ...used(podFindings(spec)),
    ...init.flatMap((container) => [
      ...used([
        [
          container.restartPolicy !== undefined,
          field("initContainers", container, "restartPolicy"),
        ],
      ]),
      ...containerFields("initContainers", container),
    ]),
    ...spec.containers.flatMap((container) => containerFields("containers", container)),
    ...(spec.volumes ?? []).flatMap(volumeFields),
  ];
}

function podFindings(spec: PodSpec): readonly Finding[] {
  const security = spec.securityContext ?? {};
  return [
    [(spec.ephemeralContainers ?? []).length > 0, "spec.ephemeralContainers"],
    [(spec.resourceClaims ?? []).length > 0, "spec.resourceClaims"],
    [spec.runtimeClassName !== undefined, "spec.runtimeClassName"],
    [spec.hostUsers === false, "spec.hostUsers=false"],
    [spec.os?.name !== undefined && spec.os.name !== "linux", `spec.os.name=${spec.os?.name}`],
    [(spec.readinessGates ?? []).length > 0, "spec.readinessGates"],
    [spec.setHostnameAsFQDN === true, "spec.setHostnameAsFQDN"],
    [spec.resources !== undefined, "spec.resources"],
    [security.runAsNonRoot === true, "spec.securityContext.runAsNonRoot"],
    [security.fsGroup !== undefined, "spec.securityContext.fsGroup"],
    [
      !isUnset(security.supplementalGroupsPolicy, "Merge"),
      `spec.securityContext.supplementalGroupsPolicy=${security.supplementalGroupsPolicy}`,
    ],
    [(security.sysctls ?? []).length > 0, "spec.securityContext.sysctls"],
    [
      security.seccompProfile?.type === "Localhost",
      "spec.securityContext.seccompProfile=Localhost",
    ],
    [
      !isUnset(security.appArmorProfile?.type, "RuntimeDefault"),
      `spec.securityContext.appArmorProfile=${security.appArmorProfile?.type}`,
    ],
    [security.windowsOptions !== undefined, "spec.securityContext.windowsOptions"],
  ];
}

function field(list: string, container: Container, name: string): string {
  return `spec.${list}[${container.name}].${name}`;
}

function containerFields(list: string, container: Container): string[] {
  const security = container.securityContext ?? {};
  const mounts = container.volumeMounts ?? [];
  const findings: readonly Finding[] = [
    [list === "containers" && container.restartPolicy !== undefined, "restartPolicy"],
    [(container.restartPolicyRules ?? []).length > 0, "restartPolicyRules"],
    [Object.keys(container.lifecycle ?? {}).length > 0, "lifecycle"],
    [mounts.some((mount) => mount.subPath), "volumeMounts.subPath"],
    [mounts.some((mount) => mount.subPathExpr), "volumeMounts.subPathExpr"],
    [(container.volumeDevices ?? []).length > 0, "volumeDevices"],
    [(container.resources?.claims ?? []).length > 0, "resources.claims"],
    [security.runAsNonRoot === true, "securityContext.runAsNonRoot"],
    [security.seccompProfile?.type === "Localhost", "securityContext.seccompProfile=Localhost"],
    [
      !isUnset(security.appArmorProfile?.type, "RuntimeDefault"),
      `securityContext.appArmorProfile=${security.appArmorProfile?.type}`,
    ],
    [!isUnset(security.procMount, "Default"), `securityContext.procMount=${security.procMount}`],
    [security.windowsOptions !== undefined, "securityContext.windowsOptions"],
    [(container.ports ?? []).some((port) => port.hostPort), "ports.hostPort"],
  ];
  return used(findings).map((name) => field(list, container, name));
}

function volumeFields(volume: Volume): string[] {
  const kinds = Object.keys(volume).filter((key) => key !== "name");
  return kinds
    .filter((kind) => !VOLUME_KINDS.some((known) => known === kind))
    .map((kind) => `spec.volumes[${volume.name}].${kind}`);
}
