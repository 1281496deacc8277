/**
 * The v1 types that Longshore reads and writes: kubernetes-models' wire types, narrowed to what an API server
 * always fills in. Types only; erased at build time.
 */

import type { ICertificateSigningRequest } from "kubernetes-models/certificates.k8s.io/v1/CertificateSigningRequest";
import type { ILease } from "kubernetes-models/coordination.k8s.io/v1/Lease";
import type { IEndpointSlice } from "kubernetes-models/discovery.k8s.io/v1/EndpointSlice";
import type { IRuntimeClass } from "kubernetes-models/node.k8s.io/v1/RuntimeClass";
import type { IConfigMap } from "kubernetes-models/v1/ConfigMap";
import type { IContainer } from "kubernetes-models/v1/Container";
import type { IContainerState } from "kubernetes-models/v1/ContainerState";
import type { IContainerStatus } from "kubernetes-models/v1/ContainerStatus";
import type { IEnvVar } from "kubernetes-models/v1/EnvVar";
import type { IEvent } from "kubernetes-models/v1/Event";
import type { ILifecycleHandler } from "kubernetes-models/v1/LifecycleHandler";
import type { INode } from "kubernetes-models/v1/Node";
import type { INodeCondition } from "kubernetes-models/v1/NodeCondition";
import type { INodeStatus } from "kubernetes-models/v1/NodeStatus";
import type { IPersistentVolume } from "kubernetes-models/v1/PersistentVolume";
import type { IPersistentVolumeClaim } from "kubernetes-models/v1/PersistentVolumeClaim";
import type { IPod } from "kubernetes-models/v1/Pod";
import type { IPodCondition } from "kubernetes-models/v1/PodCondition";
import type { IPodSpec } from "kubernetes-models/v1/PodSpec";
import type { IPodStatus } from "kubernetes-models/v1/PodStatus";
import type { IProbe } from "kubernetes-models/v1/Probe";
import type { ISecret } from "kubernetes-models/v1/Secret";
import type { IService } from "kubernetes-models/v1/Service";
import type { IVolume } from "kubernetes-models/v1/Volume";

export type ObjectMeta = NonNullable<IPod["metadata"]>;

/** Metadata as an API server hands it out: these are always there. */
export type StoredMeta = ObjectMeta & {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
};
export type NamespacedMeta = StoredMeta & { readonly namespace: string };

/** What every stored object has. */
export interface StoredObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: StoredMeta;
}

export type PodSpec = IPodSpec;
export type PodStatus = IPodStatus;
export type PodCondition = IPodCondition;
export type Container = IContainer;
export type ContainerStatus = IContainerStatus;
export type ContainerState = IContainerState;
export type EnvVar = IEnvVar;
export type Probe = IProbe;
export type LifecycleHandler = ILifecycleHandler;
export type Volume = IVolume;
export type NodeStatus = INodeStatus;
export type NodeCondition = INodeCondition;

export type Pod = IPod & { readonly metadata: NamespacedMeta; readonly spec: PodSpec };
export type Node = INode & { readonly metadata: StoredMeta };
export type Service = IService & { readonly metadata: NamespacedMeta };
export type EndpointSlice = IEndpointSlice & { readonly metadata: NamespacedMeta };
export type ConfigMap = IConfigMap & { readonly metadata: NamespacedMeta };
export type Secret = ISecret & { readonly metadata: NamespacedMeta };
export type PersistentVolume = IPersistentVolume & { readonly metadata: StoredMeta };
export type PersistentVolumeClaim = IPersistentVolumeClaim & { readonly metadata: NamespacedMeta };
export type RuntimeClass = IRuntimeClass & { readonly metadata: StoredMeta };
export type CertificateSigningRequest = ICertificateSigningRequest & {
  readonly metadata: StoredMeta;
};
export type Lease = ILease & { readonly metadata: NamespacedMeta };
export type Event = IEvent;

/** certificates.k8s.io/v1beta1, which the package of types lacks; as far as it is read here. */
export interface ClusterTrustBundle extends StoredObject {
  readonly spec: {
    readonly signerName?: string;
    /** PEM. */
    readonly trustBundle: string;
  };
}

/** certificates.k8s.io/v1beta1, as far as it is read here. */
export interface PodCertificateRequest extends StoredObject {
  readonly metadata: NamespacedMeta;
  readonly spec?: { readonly podUID: string };
  readonly status?: {
    readonly conditions?: readonly {
      /** Issued, Denied or Failed. */
      readonly type: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
    /** PEM, leaf first. */
    readonly certificateChain?: string;
    readonly beginRefreshAt?: string;
    readonly notAfter?: string;
  };
}
