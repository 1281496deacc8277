/**
 * What keeps a manifest from being a static pod: a shape that other parts could not walk through, names that would
 * end in paths, and references to objects of the API, which a static pod may not have (or a node could grant itself
 * any Secret). Pure. Used by manifest.ts. What else an API server would refuse shows when the mirror pod is made.
 */

import type { PodSpec, Volume } from "../../api/types.ts";
import { findShapeProblem } from "./schema.ts";

type Plain = Readonly<Record<string, unknown>>;

const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const DNS_SUBDOMAIN = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const RESTART_POLICIES = ["Always", "OnFailure", "Never"];

/** undefined = it may become a static pod. */
export function findManifestProblem(manifest: Plain): string | undefined {
  const { apiVersion, kind, metadata, spec } = manifest;
  if (apiVersion !== "v1" || kind !== "Pod")
    return `it is no Pod of v1 but ${String(kind)} of ${String(apiVersion)}`;
  if (metadata === undefined || spec === undefined) return "metadata or spec is missing";
  return (
    findShapeProblem(manifest) ??
    findMetadataProblem(metadata as Plain) ??
    findSpecProblem(spec as PodSpec) ??
    findReference(spec as PodSpec)
  );
}

function findMetadataProblem({ name, namespace = "default" }: Plain): string | undefined {
  if (!DNS_SUBDOMAIN.test(String(name)))
    return `metadata.name ${JSON.stringify(name)} is no DNS name`;
  return DNS_LABEL.test(String(namespace))
    ? undefined
    : `metadata.namespace ${JSON.stringify(namespace)} is no DNS label`;
}

function findSpecProblem(spec: PodSpec): string | undefined {
  if ((spec.containers ?? []).length === 0) return "spec.containers is empty";
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const volumes = (spec.volumes ?? []).map(({ name }) => name);
  if ((spec.ephemeralContainers ?? []).length > 0) return "spec.ephemeralContainers is set";
  if (!RESTART_POLICIES.includes(spec.restartPolicy ?? "Always"))
    return `spec.restartPolicy ${JSON.stringify(spec.restartPolicy)} is unknown`;
  if ((spec.terminationGracePeriodSeconds ?? 0) < 0)
    return "spec.terminationGracePeriodSeconds is less than nothing";
  for (const [what, names] of [
    ["container", containers.map(({ name }) => name)],
    ["volume", volumes],
  ] as const) {
    const bad = names.find((name, i) => !DNS_LABEL.test(name ?? "") || names.indexOf(name) !== i);
    if (bad !== undefined)
      return `${what} name ${JSON.stringify(bad)} is no DNS label or not unique`;
  }
  for (const { name, image, volumeMounts = [] } of containers) {
    if (!image) return `container ${name} has no image`;
    const lost = volumeMounts.find((mount) => !volumes.includes(mount.name) || !mount.mountPath);
    if (lost !== undefined) return `container ${name} mounts ${lost.name}, which is no volume`;
  }
  return undefined;
}

/** In upstream's words, `static pods may not reference …`. */
function findReference(spec: PodSpec): string | undefined {
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const env = containers.flatMap((container) => container.env ?? []).map((one) => one.valueFrom);
  const envFrom = containers.flatMap((container) => container.envFrom ?? []);
  const volumes = (spec.volumes ?? []).flatMap(referencesOf);
  const findings: readonly (readonly [isUsed: boolean, resource: string])[] = [
    [Boolean(spec.serviceAccountName || spec.serviceAccount), "serviceaccounts"],
    [(spec.imagePullSecrets ?? []).length > 0, "secrets"],
    [env.some((from) => from?.secretKeyRef) || envFrom.some((from) => from.secretRef), "secrets"],
    [
      env.some((from) => from?.configMapKeyRef) || envFrom.some((from) => from.configMapRef),
      "configmaps",
    ],
    [(spec.resourceClaims ?? []).length > 0, "resourceclaims"],
    ...volumes.map((resource) => [true, resource] as const),
  ];
  const found = findings.find(([isUsed]) => isUsed);
  return found === undefined ? undefined : `static pods may not reference ${found[1]}`;
}

function referencesOf(volume: Volume): readonly string[] {
  const sources = volume.projected?.sources ?? [];
  const findings: readonly (readonly [source: unknown, resource: string])[] = [
    [volume.secret ?? sources.some(({ secret }) => secret), "secrets"],
    [volume.csi?.nodePublishSecretRef, "secrets"],
    [volume.configMap ?? sources.some(({ configMap }) => configMap), "configmaps"],
    [volume.persistentVolumeClaim ?? volume.ephemeral, "persistentvolumeclaims"],
    [sources.some(({ serviceAccountToken }) => serviceAccountToken), "serviceaccounts"],
    [sources.some(({ clusterTrustBundle }) => clusterTrustBundle), "clustertrustbundles"],
    [sources.some(({ podCertificate }) => podCertificate), "podcertificates"],
  ];
  return findings.filter(([source]) => Boolean(source)).map(([, resource]) => resource);
}
