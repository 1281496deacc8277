/**
 * Defaults of Pods (pkg/apis/core/v1/defaults.go of upstream) and what admission adds on create: the default service
 * account, priority, the tolerations of unreachable nodes, and a fresh status with the QoS class. Pure, never throws.
 * Called by defaults.ts.
 */

import { at, isObject, type KubeObject, listAt, withMeta } from "./objects.ts";
import { computeQosClass } from "./pod-qos.ts";

type Plain = Readonly<Record<string, unknown>>;

const CONTAINER_LISTS = ["initContainers", "containers", "ephemeralContainers"];
const PROBES = ["livenessProbe", "readinessProbe", "startupProbe"];
const HOOKS = ["postStart", "preStop"];
const NODE_PROBLEMS = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const MODE_0644 = 0o644;
const GATED = {
  type: "PodScheduled",
  status: "False",
  reason: "SchedulingGated",
  message: "Scheduling is blocked due to non-empty scheduling gates",
};
/** Lifetime of projected tokens in seconds. */
const TOKEN_LIFETIME = 3600;

export function podWithDefaults(pod: KubeObject): KubeObject {
  const { spec } = pod;
  if (!isObject(spec)) return pod;
  return { ...pod, spec: podSpecWithDefaults(spec) };
}

function podSpecWithDefaults(spec: Plain): Plain {
  const isHostNetwork = spec.hostNetwork === true;
  const account = spec.serviceAccountName ?? spec.serviceAccount;
  const lists = CONTAINER_LISTS.filter((list) => spec[list] !== undefined).map((list) => [
    list,
    mapObjects(spec[list], (container) => containerWithDefaults(container, isHostNetwork)),
  ]);
  return {
    dnsPolicy: "ClusterFirst",
    enableServiceLinks: true,
    restartPolicy: "Always",
    schedulerName: "default-scheduler",
    securityContext: {},
    terminationGracePeriodSeconds: 30,
    ...spec,
    ...(account === undefined ? {} : { serviceAccountName: account, serviceAccount: account }),
    ...Object.fromEntries(lists),
    ...(spec.volumes === undefined
      ? {}
      : { volumes: mapObjects(spec.volumes, volumeWithDefaults) }),
  };
}

function mapObjects(list: unknown, map: (item: Plain) => Plain): unknown {
  if (!Array.isArray(list)) return list;
  return list.map((item: unknown) => (isObject(item) ? map(item) : item));
}

/** `{ field: mapped }` when there is an object at the field, else nothing. */
function mapField(object: Plain, field: string, map: (value: Plain) => Plain): Plain {
  const value = object[field];
  return isObject(value) ? { [field]: map(value) } : {};
}

function containerWithDefaults(container: Plain, isHostNetwork: boolean): Plain {
  return {
    imagePullPolicy: pullPolicyOf(container.image),
    resources: {},
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    ...container,
    ...mapField(container, "resources", requestsFromLimits),
    ...Object.assign({}, ...PROBES.map((probe) => mapField(container, probe, probeWithDefaults))),
    ...mapField(container, "lifecycle", (lifecycle) => ({
      ...lifecycle,
      ...Object.assign({}, ...HOOKS.map((hook) => mapField(lifecycle, hook, actionWithDefaults))),
    })),
    ...(container.ports === undefined
      ? {}
      : { ports: mapObjects(container.ports, (port) => portWithDefaults(port, isHostNetwork)) }),
    ...(container.env === undefined ? {} : { env: mapObjects(container.env, envWithDefaults) }),
  };
}

/** Always for images without a tag or with `latest`; an image pinned by digest never changes. */
function pullPolicyOf(image: unknown): string {
  const text = typeof image === "string" ? image : "";
  if (text.includes("@")) return "IfNotPresent";
  const tag = /:([^:/]+)$/.exec(text)?.[1] ?? "latest";
  return tag === "latest" ? "Always" : "IfNotPresent";
}

function requestsFromLimits(resources: Plain): Plain {
  const { limits, requests = {} } = resources;
  if (!isObject(limits) || !isObject(requests)) return resources;
  return { ...resources, requests: { ...limits, ...requests } };
}

function probeWithDefaults(probe: Plain): Plain {
  return {
    ...actionWithDefaults(probe),
    timeoutSeconds: probe.timeoutSeconds || 1,
    periodSeconds: probe.periodSeconds || 10,
    successThreshold: probe.successThreshold || 1,
    failureThreshold: probe.failureThreshold || 3,
  };
}

function actionWithDefaults(action: Plain): Plain {
  return {
    ...action,
    ...mapField(action, "httpGet", (get) => ({
      ...get,
      path: get.path || "/",
      scheme: get.scheme || "HTTP",
    })),
    ...mapField(action, "grpc", (grpc) => ({ service: "", ...grpc })),
  };
}

function portWithDefaults(port: Plain, isHostNetwork: boolean): Plain {
  const isUnset = port.hostPort === undefined || port.hostPort === 0;
  const hostPort = isHostNetwork && isUnset ? { hostPort: port.containerPort } : {};
  return { protocol: "TCP", ...port, ...hostPort };
}

function envWithDefaults(env: Plain): Plain {
  return { ...env, ...mapField(env, "valueFrom", fieldRefWithDefaults) };
}

function fieldRefWithDefaults(holder: Plain): Plain {
  return {
    ...holder,
    ...mapField(holder, "fieldRef", (ref) => ({ apiVersion: "v1", ...ref })),
    ...mapField(holder, "fileKeyRef", (ref) => ({ optional: false, ...ref })),
    ...mapField(holder, "resourceFieldRef", (ref) => ({ divisor: "0", ...ref })),
  };
}

function volumeWithDefaults(volume: Plain): Plain {
  const { name, ...sources } = volume;
  // Upstream's oldest default: a volume that names no source is an emptyDir.
  if (Object.keys(sources).length === 0) return { ...volume, emptyDir: {} };
  const withMode = (source: Plain): Plain => ({ defaultMode: MODE_0644, ...source });
  return {
    ...volume,
    ...mapField(volume, "secret", withMode),
    ...mapField(volume, "configMap", withMode),
    ...mapField(volume, "hostPath", (source) => ({ type: "", ...source })),
    ...mapField(volume, "downwardAPI", (source) => withMode(itemsWithDefaults(source))),
    ...mapField(volume, "projected", (source) => ({
      ...withMode(source),
      ...(source.sources === undefined
        ? {}
        : { sources: mapObjects(source.sources, projectionWithDefaults) }),
    })),
  };
}

function itemsWithDefaults(source: Plain): Plain {
  if (source.items === undefined) return source;
  return { ...source, items: mapObjects(source.items, fieldRefWithDefaults) };
}

function projectionWithDefaults(projection: Plain): Plain {
  return {
    ...projection,
    ...mapField(projection, "downwardAPI", itemsWithDefaults),
    ...mapField(projection, "serviceAccountToken", (token) => ({
      expirationSeconds: TOKEN_LIFETIME,
      ...token,
    })),
  };
}

/** A new pod after defaulting: generation 1, a Pending status in place of the client's, and what admission adds. */
export function admitPod(pod: KubeObject): KubeObject {
  const { spec } = pod;
  if (!isObject(spec)) return pod;
  const isGated = listAt(spec, "schedulingGates").length > 0;
  const status = {
    phase: "Pending",
    qosClass: computeQosClass(pod),
    ...(isGated ? { conditions: [GATED] } : {}),
  };
  const admitted = { preemptionPolicy: "PreemptLowerPriority", priority: 0, ...spec };
  const isMirror = at(pod, "metadata", "annotations", "kubernetes.io/config.mirror") !== undefined;
  const account = isMirror ? {} : { serviceAccountName: "default", serviceAccount: "default" };
  return {
    ...withMeta(pod, { generation: 1 }),
    spec: { ...account, ...admitted, ...withTolerations(spec) },
    status,
  };
}

function withTolerations(spec: Plain): Plain {
  if (spec.tolerations !== undefined && !Array.isArray(spec.tolerations)) return {};
  const given = listAt(spec, "tolerations");
  const missing = NODE_PROBLEMS.filter(
    (key) => !given.some((toleration) => tolerates(toleration, key)),
  );
  const added = missing.map((key) => ({
    key,
    operator: "Exists",
    effect: "NoExecute",
    tolerationSeconds: 300,
  }));
  return { tolerations: [...given, ...added] };
}

function tolerates(toleration: unknown, key: string): boolean {
  const { key: its = "", effect = "" } = isObject(toleration) ? toleration : { key: undefined };
  return (its === key || its === "") && (effect === "NoExecute" || effect === "");
}
