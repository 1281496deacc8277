/**
 * API objects with everything filled in that an API server fills in. Each takes a mutation of a fresh object, so that a
 * test says only what matters to it: `pod((p) => { p.spec.hostNetwork = true; })`.
 */

import type {
  ConfigMap,
  EndpointSlice,
  Lease,
  Node,
  Pod,
  Secret,
  Service,
} from "../../src/api/types.ts";

/** T without readonly and, for the objects of the API, open to any change a test needs. */
export type Mutable<T> = T extends readonly (infer E)[]
  ? Mutable<E>[]
  : T extends object
    ? { -readonly [K in keyof T]: Mutable<T[K]> }
    : T;

export type Mutation<T> = (object: Mutable<T>) => void;

const CREATED = "2026-01-01T00:00:00Z";

function build<T>(base: object, mutate: Mutation<T> | undefined): T {
  const object = structuredClone(base) as Mutable<T>;
  mutate?.(object);
  return object as T;
}

function meta(name: string, uid: string): object {
  return { name, namespace: "default", uid, resourceVersion: "1", creationTimestamp: CREATED };
}

/** A pod bound to node-1 with one container `main` of busybox. */
export function pod(mutate?: Mutation<Pod>): Pod {
  const base = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...meta("web", "pod-uid-1"), labels: {}, annotations: {} },
    spec: {
      nodeName: "node-1",
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 30,
      dnsPolicy: "ClusterFirst",
      serviceAccountName: "default",
      securityContext: {},
      schedulerName: "default-scheduler",
      enableServiceLinks: true,
      volumes: [],
      containers: [
        {
          name: "main",
          image: "busybox:latest",
          imagePullPolicy: "IfNotPresent",
          resources: {},
          terminationMessagePath: "/dev/termination-log",
          terminationMessagePolicy: "File",
        },
      ],
    },
    status: { phase: "Pending", qosClass: "BestEffort" },
  };
  return build(base, mutate);
}

/** A ClusterIP service 10.96.0.10:80 → 8080 that selects app=web. */
export function service(mutate?: Mutation<Service>): Service {
  const base = {
    apiVersion: "v1",
    kind: "Service",
    metadata: meta("web", "service-uid-1"),
    spec: {
      type: "ClusterIP",
      clusterIP: "10.96.0.10",
      clusterIPs: ["10.96.0.10"],
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      selector: { app: "web" },
      sessionAffinity: "None",
      internalTrafficPolicy: "Cluster",
      ports: [{ name: "http", protocol: "TCP", port: 80, targetPort: 8080 }],
    },
    status: { loadBalancer: {} },
  };
  return build(base, mutate);
}

/** One ready endpoint 10.88.0.2:8080 of the service above. */
export function endpointSlice(mutate?: Mutation<EndpointSlice>): EndpointSlice {
  const base = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { ...meta("web-1", "slice-uid-1"), labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    ports: [{ name: "http", protocol: "TCP", port: 8080 }],
    endpoints: [
      {
        addresses: ["10.88.0.2"],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: "node-1",
      },
    ],
  };
  return build(base, mutate);
}

/** node-1 at 192.0.2.10 with podCIDR 10.88.0.0/24. */
export function node(mutate?: Mutation<Node>): Node {
  const base = {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: "node-1",
      uid: "node-uid-1",
      resourceVersion: "1",
      creationTimestamp: CREATED,
      labels: { "kubernetes.io/hostname": "node-1", "kubernetes.io/os": "linux" },
      annotations: {},
    },
    spec: { podCIDR: "10.88.0.0/24", podCIDRs: ["10.88.0.0/24"] },
    status: {
      addresses: [
        { type: "InternalIP", address: "192.0.2.10" },
        { type: "Hostname", address: "node-1" },
      ],
      capacity: { cpu: "2", memory: "4096000Ki", pods: "110" },
      allocatable: { cpu: "2", memory: "4096000Ki", pods: "110" },
      conditions: [],
    },
  };
  return build(base, mutate);
}

/** An Opaque secret with password=hunter2. */
export function secret(mutate?: Mutation<Secret>): Secret {
  const base = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: meta("credentials", "secret-uid-1"),
    type: "Opaque",
    data: { password: Buffer.from("hunter2").toString("base64") },
  };
  return build(base, mutate);
}

/** A config map with one key, app.conf. */
export function configMap(mutate?: Mutation<ConfigMap>): ConfigMap {
  const base = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: meta("settings", "config-map-uid-1"),
    data: { "app.conf": "color=blue\n" },
  };
  return build(base, mutate);
}

/** The lease of node-1. */
export function lease(mutate?: Mutation<Lease>): Lease {
  const base = {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { ...meta("node-1", "lease-uid-1"), namespace: "kube-node-lease" },
    spec: {
      holderIdentity: "node-1",
      leaseDurationSeconds: 40,
      renewTime: "2026-01-01T00:00:00.000000Z",
    },
  };
  return build(base, mutate);
}
