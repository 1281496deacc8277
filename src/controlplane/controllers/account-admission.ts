/**
 * The ServiceAccount admission plugin: a new pod runs as an account that exists, gets the account's pull secrets where
 * it names none, and a token, the root certificate and its namespace mounted where clients look for them, unless the
 * pod or else the account does not want that. Mirror pods have no account. Pure; called by admission.ts.
 */

import type { Volume } from "../../api/types.ts";
import { at, isObject, type KubeObject, listAt, textAt } from "../objects.ts";
import { MIRROR_ANNOTATION } from "../pod-references.ts";
import { PODS, SERVICE_ACCOUNTS } from "../registry.ts";
import { forbidden } from "../status-error.ts";
import type { Store } from "../store.ts";

const MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX = "kube-api-access-";
const TOKEN_SECONDS = 3607;

type Plain = Readonly<Record<string, unknown>>;

/** The new pod as it is to be stored; what has a wrong type is left for validation. Throws Forbidden (403). */
export function admitWithAccount(
  pod: KubeObject,
  namespace: string,
  store: Pick<Store, "get">,
  randomSuffix: () => string,
): KubeObject {
  const { spec, metadata } = pod;
  if (!isObject(spec) || metadata.annotations?.[MIRROR_ANNOTATION] !== undefined) return pod;
  const name = textAt(spec, "serviceAccountName") || "default";
  const account = store.get(SERVICE_ACCOUNTS, namespace, name);
  if (account === undefined)
    throw forbidden(
      PODS,
      metadata.name,
      `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`,
    );
  const wantsToken =
    spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true;
  const secrets = listAt(account, "imagePullSecrets");
  const hasSecrets = listAt(spec, "imagePullSecrets").length > 0;
  return {
    ...pod,
    spec: {
      ...(wantsToken === false ? spec : withToken(spec, randomSuffix)),
      ...{ serviceAccountName: name, serviceAccount: name },
      ...(hasSecrets || secrets.length === 0 ? {} : { imagePullSecrets: secrets }),
    },
  };
}

function withToken(spec: Plain, randomSuffix: () => string): Plain {
  const volumes = listAt(spec, "volumes");
  const own = volumes
    .map((volume) => textAt(volume, "name"))
    .find((name) => name.startsWith(VOLUME_PREFIX));
  const name = own ?? `${VOLUME_PREFIX}${randomSuffix()}`;
  let isMounted = false;
  const mount = (container: unknown): unknown => {
    const mounts = listAt(container, "volumeMounts");
    if (!isObject(container) || mounts.some((one) => at(one, "mountPath") === MOUNT_PATH))
      return container;
    isMounted = true;
    const added = { name, readOnly: true, mountPath: MOUNT_PATH };
    return { ...container, volumeMounts: [...mounts, added] };
  };
  const containers = ["initContainers", "containers"].flatMap((list) =>
    Array.isArray(spec[list]) ? [[list, listAt(spec, list).map(mount)] as const] : [],
  );
  return {
    ...spec,
    ...Object.fromEntries(containers),
    ...(own === undefined && isMounted ? { volumes: [...volumes, tokenVolume(name)] } : {}),
  };
}

function tokenVolume(name: string): Volume {
  return {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { path: "token", expirationSeconds: TOKEN_SECONDS } },
        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
        {
          downwardAPI: {
            items: [
              {
                path: "namespace",
                fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" },
              },
            ],
          },
        },
      ],
    },
  };
}
