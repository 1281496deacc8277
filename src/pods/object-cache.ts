/**
 * ConfigMaps and Secrets by name, ClusterTrustBundles and the node's PodCertificateRequests together: one reflector (a list and a watch of a single name, all that the Node authorizer
 * allows) for each object while pods of this node refer to it, and a word to those pods when it changes. Made by
 * agent.ts; PodManager retains and releases, env.ts and the volumes read. Secrets stay in memory only. An object that is
 * immutable is read once and not watched any longer, as in the kubelet.
 */

import type { ApiClient, ListOptions } from "../api/client.ts";
import { Reflector } from "../api/reflector.ts";
import {
  CLUSTER_TRUST_BUNDLES,
  CONFIG_MAPS,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  POD_CERTIFICATE_REQUESTS,
  type Resource,
  SECRETS,
} from "../api/resources.ts";
import type { StoreChange } from "../api/store.ts";
import type {
  ClusterTrustBundle,
  ConfigMap,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  PodCertificateRequest,
  Secret,
  StoredObject,
} from "../api/types.ts";
import { withDeadline } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { ClaimSource } from "../volumes/claims.ts";
import type {
  CertificateRequest,
  CertificateSource,
  IssuedToken,
  ObjectSource,
  TokenRequest,
} from "../volumes/volumes.ts";
import { createPodCertificateRequest } from "./pod-certificate-request.ts";
import { ALL_TRUST_BUNDLES, computeReferences, type Reference } from "./references.ts";

export interface ObjectCacheOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** An object that this pod refers to appeared, changed or went: PodManager.retry. */
  readonly onChange: (podUid: string) => void;
}

interface Entry {
  readonly reflector: Pick<Reflector<StoredObject>, "store" | "stop">;
  readonly pods: Set<string>;
}

/** How long a first read may hold up a pod's turn. */
const READ_DEADLINE_MS = 5_000;

export class ObjectCache implements ObjectSource, ClaimSource, CertificateSource {
  readonly #options: ObjectCacheOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #keysOfPod = new Map<string, ReadonlySet<string>>();
  readonly #stopping = new Set<Promise<void>>();

  constructor(options: ObjectCacheOptions) {
    this.#options = options;
  }

  /** Watches what the pod refers to now; what only its older version referred to is let go. */
  retainPod(pod: Pod): void {
    const { uid, namespace } = pod.metadata;
    const wanted = new Set<string>();
    for (const reference of computeReferences(pod)) {
      const key = keyOf(namespace, reference);
      wanted.add(key);
      const entry = this.#entries.get(key) ?? this.#open(key, namespace, reference);
      entry.pods.add(uid);
    }
    const before = this.#keysOfPod.get(uid) ?? new Set();
    this.#keysOfPod.set(uid, wanted);
    for (const key of before) if (!wanted.has(key)) this.#letGo(key, uid);
  }

  releasePod(podUid: string): void {
    const keys = this.#keysOfPod.get(podUid) ?? new Set();
    this.#keysOfPod.delete(podUid);
    for (const key of keys) this.#letGo(key, podUid);
  }

  getConfigMap(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<ConfigMap | undefined> {
    return this.#read(CONFIG_MAPS, namespace, { kind: "ConfigMap", name }, signal);
  }

  getSecret(namespace: string, name: string, signal: AbortSignal): Promise<Secret | undefined> {
    return this.#read(SECRETS, namespace, { kind: "Secret", name }, signal);
  }

  /** Read anew until the reflector has them, so that what is wrong is said at once. */
  async listClusterTrustBundles(signal: AbortSignal): Promise<readonly ClusterTrustBundle[]> {
    const store = this.#entries.get(keyOf("", ALL_TRUST_BUNDLES))?.reflector.store;
    if (store?.isSynced) return store.list() as readonly ClusterTrustBundle[];
    try {
      return (await this.#options.client.list(CLUSTER_TRUST_BUNDLES, {}, signal)).items;
    } catch (cause) {
      if (!hasCode(cause, "ApiNotFound")) throw cause;
      const message =
        "the API server does not serve ClusterTrustBundles (certificates.k8s.io/v1beta1)";
      throw new LongshoreError("VolumeNotReady", message, { cause });
    }
  }

  getClaim(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<PersistentVolumeClaim | undefined> {
    return this.#get(PERSISTENT_VOLUME_CLAIMS, namespace, name, signal);
  }

  getPersistentVolume(name: string, signal: AbortSignal): Promise<PersistentVolume | undefined> {
    return this.#get(PERSISTENT_VOLUMES, undefined, name, signal);
  }

  getServiceAccount(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<StoredObject | undefined> {
    return this.#get(SERVICE_ACCOUNTS, namespace, name, signal);
  }

  /** Not cached: who asks (volumes) keeps the token until it is to be renewed. */
  async requestToken(pod: Pod, request: TokenRequest, signal: AbortSignal): Promise<IssuedToken> {
    const { namespace, name, uid } = pod.metadata;
    const { audience, expirationSeconds } = request;
    const account = pod.spec.serviceAccountName ?? "default";
    const answer = await this.#options.client.createSubresource<TokenResponse>(
      SERVICE_ACCOUNTS,
      { namespace, name: account, subresource: "token" },
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: {
          ...(audience === undefined ? {} : { audiences: [audience] }),
          expirationSeconds,
          boundObjectRef: { apiVersion: "v1", kind: "Pod", name, uid },
        },
      },
      signal,
    );
    const { token, expirationTimestamp } = answer.status;
    return { token, expiresAt: Date.parse(expirationTimestamp) };
  }

  async requestPodCertificate(
    pod: Pod,
    request: CertificateRequest,
    signal: AbortSignal,
  ): Promise<string> {
    const { client } = this.#options;
    const name = pod.spec.serviceAccountName ?? "default";
    const where = { namespace: pod.metadata.namespace, name };
    const { metadata } = await client.get(SERVICE_ACCOUNTS, where, signal);
    return createPodCertificateRequest({ client, pod, account: metadata }, request, signal);
  }

  findPodCertificateRequest(namespace: string, name: string): PodCertificateRequest | undefined {
    const entry = this.#entries.get("PodCertificateRequest");
    return entry?.reflector.store.get(`${namespace}/${name}`) as PodCertificateRequest | undefined;
  }

  async stop(): Promise<void> {
    for (const entry of this.#entries.values()) this.#end(entry);
    this.#entries.clear();
    this.#keysOfPod.clear();
    await Promise.all(this.#stopping);
  }

  /** From the reflector when a pod holds one, else a single get. */
  async #read<T extends StoredObject>(
    resource: Resource<T>,
    namespace: string,
    reference: Reference,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const entry = this.#entries.get(keyOf(namespace, reference));
    if (entry === undefined) return this.#get(resource, namespace, reference.name, signal);
    const { reflector } = entry;
    const { clock } = this.#options;
    const message = `${reference.kind} ${namespace}/${reference.name} could not be read within ${READ_DEADLINE_MS / 1000} s`;
    if (!reflector.store.isSynced)
      await withDeadline(
        { clock, ms: READ_DEADLINE_MS, signal, code: "ApiTimeout", message },
        (inner) => reflector.store.waitUntilSynced(inner),
      );
    return reflector.store.get(`${namespace}/${reference.name}`) as T | undefined;
  }

  async #get<T extends StoredObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    name: string,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const where = namespace === undefined ? { name } : { namespace, name };
    try {
      return await this.#options.client.get(resource, where, signal);
    } catch (error) {
      if (hasCode(error, "ApiNotFound")) return undefined;
      throw error;
    }
  }

  #open(key: string, namespace: string, reference: Reference): Entry {
    const { client, clock, random, log } = this.#options;
    const pods = new Set<string>();
    const reflector = new Reflector<StoredObject>({
      client,
      resource: RESOURCES[reference.kind],
      options: scopeOf(namespace, reference),
      clock,
      random,
      log,
      name: key,
    });
    const entry = { reflector, pods };
    reflector.store.onChange((change) => {
      if (change.kind === "applied" && isImmutable(change.object)) this.#end(entry);
      const about = podOf(reference.kind, change);
      for (const podUid of pods)
        if (about === undefined || about === podUid) this.#options.onChange(podUid);
    });
    reflector.start();
    this.#entries.set(key, entry);
    return entry;
  }

  #letGo(key: string, podUid: string): void {
    const entry = this.#entries.get(key);
    entry?.pods.delete(podUid);
    if (entry === undefined || entry.pods.size > 0) return;
    this.#entries.delete(key);
    this.#end(entry);
  }

  #end(entry: Entry): void {
    const ended = entry.reflector.stop().finally(() => this.#stopping.delete(ended));
    this.#stopping.add(ended);
  }
}

function isImmutable(object: StoredObject): boolean {
  return (object as ConfigMap | Secret).immutable === true;
}

/** The pod that alone is concerned; undefined = all that refer to it. */
function podOf(kind: Reference["kind"], change: StoreChange<StoredObject>): string | undefined {
  const object = change.kind === "applied" ? change.object : change.previous;
  return kind === "PodCertificateRequest"
    ? (object as PodCertificateRequest).spec?.podUID
    : undefined;
}

type Scope = Pick<ListOptions, "namespace" | "fieldSelector">;

interface TokenResponse {
  readonly status: { readonly token: string; readonly expirationTimestamp: string };
}

const SERVICE_ACCOUNTS: Resource<StoredObject> = {
  group: "",
  version: "v1",
  plural: "serviceaccounts",
  kind: "ServiceAccount",
  namespaced: true,
};

const RESOURCES: Readonly<Record<Reference["kind"], Resource<StoredObject>>> = {
  ConfigMap: CONFIG_MAPS,
  Secret: SECRETS,
  ClusterTrustBundle: CLUSTER_TRUST_BUNDLES,
  PodCertificateRequest: POD_CERTIFICATE_REQUESTS,
};

function scopeOf(namespace: string, { name, fieldSelector }: Reference): Scope {
  if (name !== "") return { namespace, fieldSelector: `metadata.name=${name}` };
  return fieldSelector === undefined ? {} : { fieldSelector };
}

function keyOf(namespace: string, { kind, name }: Reference): string {
  return name === "" ? kind : `${kind} ${namespace}/${name}`;
}
