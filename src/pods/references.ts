/** The ConfigMaps and Secrets a pod refers to, by name in its namespace. Pure; used by object-cache.ts. */

import type { Container, Pod, Volume } from "../api/types.ts";

export interface Reference {
  readonly kind: "ConfigMap" | "Secret";
  readonly name: string;
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

function ofVolume({ configMap, secret, projected }: Volume): Reference[] {
  return [
    ...refs("ConfigMap", configMap?.name),
    ...refs("Secret", secret?.secretName),
    ...(projected?.sources ?? []).flatMap((source) => [
      ...refs("ConfigMap", source.configMap?.name),
      ...refs("Secret", source.secret?.name),
    ]),
  ];
}

export function computeReferences({ spec }: Pod): readonly Reference[] {
  const { initContainers = [], ephemeralContainers = [] } = spec;
  return [
    ...[...initContainers, ...spec.containers, ...ephemeralContainers].flatMap(ofContainer),
    ...(spec.volumes ?? []).flatMap(ofVolume),
    ...(spec.imagePullSecrets ?? []).flatMap(({ name }) => refs("Secret", name)),
  ];
}
