/**
 * Volumes of pods as pods and agent see them. Implemented by volume-manager.ts over kinds/*. A volume's content
 * lives under <state dir>/pods/<uid>/volumes/<kind>/<name>; what is secret is on tmpfs.
 */

import type {
  ClusterTrustBundle,
  ConfigMap,
  Pod,
  PodCertificateRequest,
  Secret,
} from "../api/types.ts";
import type { ImageVolumeRequest } from "./image-volume.ts";

/** Where volumes get the objects they show; provided by pods/object-cache (one read and one watch per object). */
export interface ObjectSource {
  /** undefined when it does not exist. Throws Api* errors when it cannot be known. */
  getConfigMap(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<ConfigMap | undefined>;
  getSecret(namespace: string, name: string, signal: AbortSignal): Promise<Secret | undefined>;
  /** All there are. Throws VolumeNotReady where the API server does not serve the kind. */
  listClusterTrustBundles(signal: AbortSignal): Promise<readonly ClusterTrustBundle[]>;
  /** A token for the pod's service account, bound to the pod (TokenRequest). */
  requestToken(pod: Pod, request: TokenRequest, signal: AbortSignal): Promise<IssuedToken>;
}

/** Where pod certificates are asked for; provided by pods/object-cache. */
export interface CertificateSource {
  /** The name of a new PodCertificateRequest. Throws VolumeNotReady where the API server does not serve the kind. */
  requestPodCertificate(
    pod: Pod,
    request: CertificateRequest,
    signal: AbortSignal,
  ): Promise<string>;
  /** undefined while it is not known to exist. */
  findPodCertificateRequest(namespace: string, name: string): PodCertificateRequest | undefined;
}

/** That a key is ours. All DER. */
export interface KeyProof {
  /** An empty PKCS#10 request. */
  readonly pkcs10: Buffer;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Buffer;
  /** A signature over the pod's UID. */
  readonly possession: Buffer;
}

export interface CertificateRequest {
  readonly signerName: string;
  readonly proof: KeyProof;
  readonly maxExpirationSeconds?: number;
  readonly userAnnotations?: Readonly<Record<string, string>>;
}

export interface TokenRequest {
  readonly audience?: string;
  readonly expirationSeconds: number;
}

export interface IssuedToken {
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

export interface MountedVolume {
  readonly name: string;
  readonly hostPath: string;
  /** True when the volume itself may not be written (secret, configMap, projected, downwardAPI). */
  readonly readOnly: boolean;
  /** Mounted read-only and noexec already; an engine told to mount it read-only would drop the latter. */
  readonly isSealed?: true;
  /** `hostPath` is a block device, for the container to have as such. */
  readonly isDevice?: true;
}

/** One mount of a container that shows only a part of a volume. */
export interface SubPathRequest {
  readonly podUid: string;
  readonly volume: MountedVolume;
  /** Relative, without `..`. */
  readonly subPath: string;
  readonly container: string;
  /** Of the mount in the container's list. */
  readonly index: number;
}

/** Facts for downward API items that are not in the object itself. */
export interface PodFacts {
  readonly podIps: readonly string[];
  readonly hostIps: readonly string[];
  readonly nodeName: string;
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** Allocatable of the node: cpu in millicores, memory and ephemeral-storage in bytes. */
  readonly allocatable: Readonly<Record<string, number>>;
}

export interface PodVolumes {
  /**
   * Makes every volume of the pod present and its content current; called in each sync of a running pod, so it is
   * cheap when nothing changed. Throws VolumeNotReady (wait and retry: a missing ConfigMap) or VolumeInvalid.
   */
  ensure(
    pod: Pod,
    facts: PodFacts,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, MountedVolume>>;
  /**
   * The path to mount for it; what is missing in the volume is made. Never leads out of the volume, whatever a
   * container does there meanwhile. Throws ContainerConfigInvalid.
   */
  bindSubPath(request: SubPathRequest, signal: AbortSignal): Promise<string>;
  /** An image volume, once its image is on the node. Throws ContainerConfigInvalid. */
  showImage(request: ImageVolumeRequest, signal: AbortSignal): Promise<MountedVolume>;
  /** Unmounts and removes everything of a pod none of whose containers runs. Idempotent; never follows a link. */
  teardown(podUid: string, signal: AbortSignal): Promise<void>;
  /** UIDs that have a directory under the state directory. */
  listPodUids(): Promise<readonly string[]>;
}
