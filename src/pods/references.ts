/**
 * The objects a pod refers to that are watched for it: ConfigMaps and Secrets by name in its namespace,
 * ClusterTrustBundles, all of which it may mean, and the PodCertificateRequests of its node. Pure; used by
 * object-cache.ts.
 */

import type { Container, Pod, Volume } from "../api/types.ts";

export interface Reference {
  readonly kind: "ConfigMap" | "Secret" | "ClusterTrustBundle" | "PodCertificateRequest";
  /** "" for all there are, or all that are selected. */
  readonly name: string;
  readonly fieldSelector?: string;
}

export const ALL_TRUST_BUNDLES: Reference = { kind: "ClusterTrustBundle", name: "" };

/** A node may see its own only. */
function podCertificateRequests(nodeName: string): Reference {
  return { kind: "PodCertificateRequest", name: "", fieldSelector: `spec.nodeName=${nodeName}` };
}

type Name = string | undefined;

function refs(kind: Reference["kind"], ...names: readonly Name[]): Reference[] {
  return names.flatMap((name) => (name === undefined || name === "" ? [] : [{ kind, name }]));
}

function ofContainer({ env = [], envFrom = [] }: Pick<Container, "env" | "envFrom">): Reference[] {
  return [
    ...env.flatMap(({ valueFrom }) => [
      ...refs("ConfigMap", valueFrom?.configMapKeyRef?.name),
      ...refs("Secret", valueFrom?.secretKeyRef?.name),
    ]),
    ...envFrom.flatMap(({ configMapRef, secretRef }) => [
      ...refs("ConfigMap", configMapRef?.name),
      ...refs("Secret", secretRef?.name),
    ]),
  ];
}

function ofVolume({ configMap, secret, projected }: Volume, nodeName: string): Reference[] {
  return [
    ...refs("ConfigMap", configMap?.name),
    ...refs("Secret", secret?.secretName),
    ...(projected?.sources ?? []).flatMap((source) => [
      ...refs("ConfigMap", source.configMap?.name),
      ...refs("Secret", source.secret?.name),
      ...(source.clusterTrustBundle === undefined ? [] : [ALL_TRUST_BUNDLES]),
      ...(source.podCertificate === undefined ? [] : [podCertificateRequests(nodeName)]),
    ]),
  ];
}

export function computeReferences({ spec }: Pod): readonly Reference[] {
  const { initContainers = [], ephemeralContainers = [] } = spec;
  return [
    ...[...initContainers, ...spec.containers, ...ephemeralContainers].flatMap(ofContainer),
    ...(spec.volumes ?? []).flatMap((volume) => ofVolume(volume, spec.nodeName ?? "")),
    ...(spec.imagePullSecrets ?? []).flatMap(({ name }) => refs("Secret", name)),
  ];
}
