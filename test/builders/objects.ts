/**
 * API objects with everything filled in that an API server fills in. Each takes a mutation of a fresh object, so that a
 * test says only what matters to it: `pod((p) => { p.spec.hostNetwork = true; })`.
 */

import type { ConfigMap, Node, Pod } from "../../src/api/types.ts";

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
