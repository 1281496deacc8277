/**
 * The defaults that an API server would have filled into a pod's spec (pkg/apis/core/v1/defaults.go of upstream),
 * because nobody does it for a static pod. Pure; the spec's shape has been checked by validation.ts. Used by manifest.ts.
 */

type Plain = Readonly<Record<string, unknown>>;

const CONTAINER_LISTS = ["initContainers", "containers"];
const PROBES = ["livenessProbe", "readinessProbe", "startupProbe"];
const HOOKS = ["postStart", "preStop"];
const FILE_MODE = 0o644;

export function podSpecWithDefaults(spec: Plain): Plain {
  const toContainer = (container: Plain): Plain =>
    containerWithDefaults(container, spec.hostNetwork === true);
  return {
    dnsPolicy: "ClusterFirst",
    enableServiceLinks: true,
    restartPolicy: "Always",
    schedulerName: "default-scheduler",
    securityContext: {},
    terminationGracePeriodSeconds: 30,
    ...priorityOf(spec.priorityClassName),
    ...spec,
    ...Object.assign({}, ...CONTAINER_LISTS.map((list) => eachAt(spec, list, toContainer))),
    ...eachAt(spec, "volumes", volumeWithDefaults),
  };
}

/** Of the two classes that every cluster has; admission would ask the API for others. */
function priorityOf(className: unknown): Plain {
  if (className === "system-node-critical") return { priority: 2_000_001_000 };
  if (className === "system-cluster-critical") return { priority: 2_000_000_000 };
  return {};
}

/** `{ field: list mapped }` where there is a list, else nothing. */
function eachAt(object: Plain, field: string, map: (item: Plain) => Plain): Plain {
  const items = object[field];
  return Array.isArray(items) ? { [field]: items.map(map) } : {};
}

/** `{ field: mapped }` where there is an object, else nothing. */
function at(object: Plain, field: string, map: (value: Plain) => Plain): Plain {
  const value = object[field];
  return typeof value === "object" && value !== null ? { [field]: map(value as Plain) } : {};
}

function allAt(object: Plain, fields: readonly string[], map: (value: Plain) => Plain): Plain {
  return Object.assign({}, ...fields.map((field) => at(object, field, map)));
}

function containerWithDefaults(container: Plain, isHostNetwork: boolean): Plain {
  return {
    imagePullPolicy: pullPolicyOf(String(container.image)),
    resources: {},
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    ...container,
    ...at(container, "resources", requestsFromLimits),
    ...allAt(container, PROBES, probeWithDefaults),
    ...at(container, "lifecycle", (hooks) => ({
      ...hooks,
      ...allAt(hooks, HOOKS, actionWithDefaults),
    })),
    ...eachAt(container, "ports", (port) => ({
      protocol: "TCP",
      ...port,
      ...(isHostNetwork && !port.hostPort ? { hostPort: port.containerPort } : {}),
    })),
    ...eachAt(container, "env", (env) => ({ ...env, ...at(env, "valueFrom", referenceOf) })),
  };
}

/** Always for images without a tag or with `latest`, unless a digest pins them. */
function pullPolicyOf(image: string): string {
  if (image.includes("@")) return "IfNotPresent";
  const [, tag = "latest"] = image.slice(image.lastIndexOf("/") + 1).split(":");
  return tag === "latest" ? "Always" : "IfNotPresent";
}

function requestsFromLimits(resources: Plain): Plain {
  const { limits, requests } = resources as { limits?: Plain; requests?: Plain };
  return limits === undefined ? resources : { ...resources, requests: { ...limits, ...requests } };
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
  const httpGet = (get: Plain): Plain => ({
    ...get,
    path: get.path || "/",
    scheme: get.scheme || "HTTP",
  });
  return {
    ...action,
    ...at(action, "httpGet", httpGet),
    ...at(action, "grpc", (grpc) => ({ service: "", ...grpc })),
  };
}

function referenceOf(holder: Plain): Plain {
  return {
    ...holder,
    ...at(holder, "fieldRef", (ref) => ({ apiVersion: "v1", ...ref })),
    ...at(holder, "resourceFieldRef", (ref) => ({ divisor: "0", ...ref })),
  };
}

/** Of the volumes that refer to no object of the API. */
function volumeWithDefaults(volume: Plain): Plain {
  // Upstream's oldest default: a volume that names no source is an emptyDir.
  if (Object.keys(volume).length === 1) return { ...volume, emptyDir: {} };
  const items = (source: Plain): Plain => ({ ...source, ...eachAt(source, "items", referenceOf) });
  return {
    ...volume,
    ...at(volume, "hostPath", (source) => ({ type: "", ...source })),
    ...at(volume, "downwardAPI", (source) => ({ defaultMode: FILE_MODE, ...items(source) })),
    ...at(volume, "projected", (source) => ({
      defaultMode: FILE_MODE,
      ...source,
      ...eachAt(source, "sources", (part) => ({ ...part, ...at(part, "downwardAPI", items) })),
    })),
  };
}
