/** Defaults of each kind, and what is added once on create. */

import { describe, expect, it } from "vitest";
import {
  applyDefaults,
  prepareForCreate,
  prepareForUpdate,
} from "../../../src/controlplane/defaults.ts";
import { at, type KubeObject, listAt } from "../../../src/controlplane/objects.ts";
import {
  ENDPOINT_SLICES,
  NAMESPACES,
  PODS,
  SECRETS,
  SERVICES,
} from "../../../src/controlplane/registry.ts";

function object(kind: string, fields: object): KubeObject {
  return { apiVersion: "v1", kind, metadata: { name: "x" }, ...fields };
}

function podSpec(spec: object): unknown {
  return applyDefaults(PODS, object("Pod", { spec })).spec;
}

function container(fields: object, spec: object = {}): unknown {
  return listAt(
    podSpec({ ...spec, containers: [{ name: "c", image: "i:1", ...fields }] }),
    "containers",
  )[0];
}

describe("defaults of pods", () => {
  it("a bare pod gets upstream's fields", () => {
    expect(podSpec({ containers: [{ name: "c", image: "busybox" }] })).toEqual({
      containers: [
        {
          name: "c",
          image: "busybox",
          imagePullPolicy: "Always",
          resources: {},
          terminationMessagePath: "/dev/termination-log",
          terminationMessagePolicy: "File",
        },
      ],
      dnsPolicy: "ClusterFirst",
      enableServiceLinks: true,
      restartPolicy: "Always",
      schedulerName: "default-scheduler",
      securityContext: {},
      terminationGracePeriodSeconds: 30,
    });
  });

  it.each([
    ["busybox", "Always"],
    ["busybox:latest", "Always"],
    ["host:5000/busybox", "Always"],
    ["host:5000/busybox:1", "IfNotPresent"],
    ["busybox@sha256:0123", "IfNotPresent"],
  ])("the pull policy of %s is %s", (image, policy) => {
    expect(container({ image })).toMatchObject({ imagePullPolicy: policy });
  });

  it.each<[string, object, object]>([
    [
      "a probe",
      { livenessProbe: { httpGet: { port: 1 } } },
      {
        livenessProbe: {
          httpGet: { port: 1, path: "/", scheme: "HTTP" },
          timeoutSeconds: 1,
          periodSeconds: 10,
          successThreshold: 1,
          failureThreshold: 3,
        },
      },
    ],
    [
      "a port",
      { ports: [{ containerPort: 1 }] },
      { ports: [{ containerPort: 1, protocol: "TCP" }] },
    ],
    [
      "requests by limits",
      { resources: { limits: { cpu: "1", memory: "1Gi" }, requests: { cpu: "500m" } } },
      { resources: { requests: { cpu: "500m", memory: "1Gi" } } },
    ],
    [
      "a field reference",
      { env: [{ name: "E", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }] },
      { env: [{ valueFrom: { fieldRef: { apiVersion: "v1", fieldPath: "metadata.name" } } }] },
    ],
    [
      "a hook",
      { lifecycle: { preStop: { httpGet: { port: 1 } } } },
      { lifecycle: { preStop: { httpGet: { path: "/", scheme: "HTTP" } } } },
    ],
  ])("%s is completed", (_, fields, expected) => {
    expect(container(fields)).toMatchObject(expected);
  });

  it("host ports of the host network are the container's", () => {
    const ports = [{ containerPort: 80 }];
    expect(container({ ports }, { hostNetwork: true })).toMatchObject({
      ports: [{ hostPort: 80 }],
    });
  });

  it.each<[object, object]>([
    [{}, { emptyDir: {} }],
    [{ secret: { secretName: "s" } }, { secret: { secretName: "s", defaultMode: 420 } }],
    [{ configMap: { name: "s" } }, { configMap: { name: "s", defaultMode: 420 } }],
    [{ hostPath: { path: "/" } }, { hostPath: { path: "/", type: "" } }],
    [
      { projected: { sources: [{ serviceAccountToken: { path: "t" } }] } },
      {
        projected: {
          defaultMode: 420,
          sources: [{ serviceAccountToken: { path: "t", expirationSeconds: 3600 } }],
        },
      },
    ],
    [
      { downwardAPI: { items: [{ path: "p", fieldRef: { fieldPath: "f" } }] } },
      {
        downwardAPI: {
          defaultMode: 420,
          items: [{ path: "p", fieldRef: { apiVersion: "v1", fieldPath: "f" } }],
        },
      },
    ],
  ])("the volume %j becomes %j", (source, expected) => {
    const spec = podSpec({ volumes: [{ name: "v", ...source }] });
    expect(listAt(spec, "volumes")).toEqual([{ name: "v", ...expected }]);
  });

  it("running twice changes nothing, and null is absent", () => {
    const pod = object("Pod", {
      spec: { nodeName: null, containers: [{ name: "c", image: "i" }] },
    });
    const once = applyDefaults(PODS, pod);
    expect(at(once, "spec")).not.toHaveProperty("nodeName");
    expect(applyDefaults(PODS, once)).toEqual(once);
  });

  it("creation adds the account, priority, tolerations and a fresh status", () => {
    const status = { phase: "Running" };
    const tolerations = [{ key: "node.kubernetes.io/not-ready", operator: "Exists" }];
    const made = prepareForCreate(PODS, object("Pod", { spec: { tolerations }, status }));
    expect(made.status).toEqual({ phase: "Pending", qosClass: "BestEffort" });
    expect(made.metadata.generation).toBe(1);
    expect(made.spec).toMatchObject({
      serviceAccountName: "default",
      priority: 0,
      preemptionPolicy: "PreemptLowerPriority",
      tolerations: [
        ...tolerations,
        { key: "node.kubernetes.io/unreachable", effect: "NoExecute", tolerationSeconds: 300 },
      ],
    });
  });

  it.each<[string, object, string]>([
    ["nothing", {}, "BestEffort"],
    ["equal requests and limits", { limits: { cpu: "1", memory: "1Gi" } }, "Guaranteed"],
    [
      "equal amounts written differently",
      { limits: { cpu: "1", memory: "1Gi" }, requests: { cpu: "1000m" } },
      "Guaranteed",
    ],
    [
      "lower requests",
      { limits: { cpu: "1", memory: "1Gi" }, requests: { cpu: "1m" } },
      "Burstable",
    ],
    ["only a limit of memory", { limits: { memory: "1Gi" } }, "Burstable"],
  ])("a pod with %s is classed", (_, resources, qosClass) => {
    const pod = object("Pod", { spec: { containers: [{ name: "c", resources }] } });
    const made = prepareForCreate(PODS, applyDefaults(PODS, pod));
    expect(made.status).toMatchObject({ qosClass });
  });
});

describe("defaults of services", () => {
  const spec = (fields: object) =>
    applyDefaults(SERVICES, object("Service", { spec: fields })).spec;

  it("a service of the cluster", () => {
    expect(spec({ ports: [{ port: 80 }] })).toEqual({
      type: "ClusterIP",
      sessionAffinity: "None",
      internalTrafficPolicy: "Cluster",
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      ports: [{ port: 80, protocol: "TCP", targetPort: 80 }],
    });
  });

  it.each<[object, object]>([
    [{ type: "NodePort" }, { externalTrafficPolicy: "Cluster" }],
    [{ type: "LoadBalancer" }, { allocateLoadBalancerNodePorts: true }],
    [
      { sessionAffinity: "ClientIP" },
      { sessionAffinityConfig: { clientIP: { timeoutSeconds: 10_800 } } },
    ],
  ])("%j adds %j", (fields, expected) => {
    expect(spec(fields)).toMatchObject(expected);
  });

  it("an external name has no address families", () => {
    expect(spec({ type: "ExternalName" })).not.toHaveProperty("ipFamilies");
  });

  it("an update that names no addresses and node ports keeps them", () => {
    const old = object("Service", {
      spec: {
        type: "NodePort",
        clusterIP: "10.0.0.1",
        ports: [{ port: 1, protocol: "TCP", nodePort: 30_000 }],
      },
    });
    const next = object("Service", {
      spec: { type: "NodePort", ports: [{ port: 1, protocol: "TCP" }] },
    });
    expect(prepareForUpdate(SERVICES, next, old).spec).toEqual(old.spec);
  });
});

describe("defaults of other kinds", () => {
  it("text of a secret becomes data and wins", () => {
    const secret = object("Secret", { stringData: { a: "x" }, data: { a: "eQ==", b: "eQ==" } });
    const made = applyDefaults(SECRETS, secret);
    expect(made).toMatchObject({ type: "Opaque", data: { a: "eA==", b: "eQ==" } });
    expect(made).not.toHaveProperty("stringData");
  });

  it("a namespace gets its label, finalizer and phase", () => {
    const made = prepareForCreate(NAMESPACES, applyDefaults(NAMESPACES, object("Namespace", {})));
    expect(made.metadata.labels).toEqual({ "kubernetes.io/metadata.name": "x" });
    expect(made).toMatchObject({
      spec: { finalizers: ["kubernetes"] },
      status: { phase: "Active" },
    });
  });

  it("ports of a slice are TCP", () => {
    const made = applyDefaults(ENDPOINT_SLICES, object("EndpointSlice", { ports: [{ port: 1 }] }));
    expect(made.ports).toEqual([{ name: "", port: 1, protocol: "TCP" }]);
  });
});
