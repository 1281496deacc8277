/**
 * The shape of a Pod, as far as this agent walks through it: an API server refuses what is not of it, but nobody has
 * looked at a static pod before us. Fields that are not named here are left alone. Pure. Used by validation.ts.
 */

type Shape =
  | "text"
  | "number"
  | "flag"
  /** A number, or a text such as a port's name or a quantity. */
  | "number or text"
  | "object"
  | { readonly list: Shape }
  | { readonly map: Shape }
  | { readonly [field: string]: Shape };

const TEXTS: Shape = { list: "text" };
const REF = { name: "text", key: "text", optional: "flag" } as const;
const QUANTITIES: Shape = { map: "number or text" };

const SELECTION = {
  fieldRef: { fieldPath: "text" },
  resourceFieldRef: { containerName: "text", resource: "text", divisor: "number or text" },
} as const;

const HANDLER = {
  exec: { command: TEXTS },
  httpGet: {
    path: "text",
    host: "text",
    scheme: "text",
    port: "number or text",
    httpHeaders: { list: { name: "text", value: "text" } },
  },
  tcpSocket: { host: "text", port: "number or text" },
  grpc: { port: "number", service: "text" },
  sleep: { seconds: "number" },
} as const;

const PROBE: Shape = {
  ...HANDLER,
  initialDelaySeconds: "number",
  timeoutSeconds: "number",
  periodSeconds: "number",
  successThreshold: "number",
  failureThreshold: "number",
  terminationGracePeriodSeconds: "number",
};

const SECURITY = {
  runAsUser: "number",
  runAsGroup: "number",
  runAsNonRoot: "flag",
  seccompProfile: { type: "text" },
  appArmorProfile: { type: "text" },
} as const;

const CONTAINER: Shape = {
  name: "text",
  image: "text",
  imagePullPolicy: "text",
  command: TEXTS,
  args: TEXTS,
  workingDir: "text",
  restartPolicy: "text",
  restartPolicyRules: { list: "object" },
  terminationMessagePath: "text",
  terminationMessagePolicy: "text",
  tty: "flag",
  stdin: "flag",
  stdinOnce: "flag",
  env: {
    list: {
      name: "text",
      value: "text",
      valueFrom: { ...SELECTION, secretKeyRef: REF, configMapKeyRef: REF, fileKeyRef: "object" },
    },
  },
  envFrom: { list: { prefix: "text", secretRef: REF, configMapRef: REF } },
  ports: {
    list: {
      name: "text",
      containerPort: "number",
      hostPort: "number",
      hostIP: "text",
      protocol: "text",
    },
  },
  volumeMounts: {
    list: {
      name: "text",
      mountPath: "text",
      subPath: "text",
      subPathExpr: "text",
      readOnly: "flag",
      mountPropagation: "text",
      recursiveReadOnly: "text",
    },
  },
  volumeDevices: { list: { name: "text", devicePath: "text" } },
  resources: { limits: QUANTITIES, requests: QUANTITIES, claims: { list: "object" } },
  livenessProbe: PROBE,
  readinessProbe: PROBE,
  startupProbe: PROBE,
  lifecycle: { postStart: HANDLER, preStop: HANDLER, stopSignal: "text" },
  securityContext: {
    ...SECURITY,
    privileged: "flag",
    readOnlyRootFilesystem: "flag",
    allowPrivilegeEscalation: "flag",
    procMount: "text",
    capabilities: { add: TEXTS, drop: TEXTS },
  },
};

const DOWNWARD_API = {
  defaultMode: "number",
  items: { list: { path: "text", mode: "number", ...SELECTION } },
} as const;

const VOLUME: Shape = {
  name: "text",
  emptyDir: { medium: "text", sizeLimit: "number or text" },
  hostPath: { path: "text", type: "text" },
  secret: "object",
  configMap: "object",
  csi: "object",
  image: { reference: "text", pullPolicy: "text" },
  downwardAPI: DOWNWARD_API,
  projected: { defaultMode: "number", sources: { list: { downwardAPI: DOWNWARD_API } } },
};

const EXPRESSIONS: Shape = { list: { key: "text", operator: "text", values: TEXTS } };
const TERM = { matchExpressions: EXPRESSIONS, matchFields: EXPRESSIONS } as const;

const SPEC: Shape = {
  containers: { list: CONTAINER },
  initContainers: { list: CONTAINER },
  ephemeralContainers: { list: "object" },
  volumes: { list: VOLUME },
  restartPolicy: "text",
  dnsPolicy: "text",
  dnsConfig: {
    nameservers: TEXTS,
    searches: TEXTS,
    options: { list: { name: "text", value: "text" } },
  },
  hostname: "text",
  hostnameOverride: "text",
  subdomain: "text",
  priorityClassName: "text",
  priority: "number",
  serviceAccountName: "text",
  serviceAccount: "text",
  runtimeClassName: "text",
  activeDeadlineSeconds: "number",
  terminationGracePeriodSeconds: "number",
  hostNetwork: "flag",
  hostPID: "flag",
  hostIPC: "flag",
  hostUsers: "flag",
  shareProcessNamespace: "flag",
  setHostnameAsFQDN: "flag",
  enableServiceLinks: "flag",
  hostAliases: { list: { ip: "text", hostnames: TEXTS } },
  imagePullSecrets: { list: "object" },
  nodeSelector: { map: "text" },
  tolerations: { list: { key: "text", operator: "text", value: "text", effect: "text" } },
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: { list: TERM } },
    },
  },
  readinessGates: { list: "object" },
  resourceClaims: { list: "object" },
  resources: "object",
  os: { name: "text" },
  securityContext: {
    ...SECURITY,
    fsGroup: "number",
    supplementalGroups: { list: "number" },
    supplementalGroupsPolicy: "text",
    sysctls: { list: { name: "text", value: "text" } },
  },
};

const POD: Shape = {
  metadata: {
    name: "text",
    namespace: "text",
    labels: { map: "text" },
    annotations: { map: "text" },
  },
  spec: SPEC,
};

/** What of a manifest is not of a Pod's shape, by its path; undefined = nothing. */
export function findShapeProblem(manifest: unknown): string | undefined {
  return findIn(manifest, POD, "");
}

function findIn(value: unknown, shape: Shape, path: string): string | undefined {
  if (typeof shape === "string") return isOf(value, shape) ? undefined : `${path} is no ${shape}`;
  if ("list" in shape) {
    if (!Array.isArray(value)) return `${path} is no list`;
    return firstProblem(value.map((item, i) => [item, shape.list as Shape, `${path}[${i}]`]));
  }
  if (!isOf(value, "object")) return `${path} is no object`;
  const entries = Object.entries(value as object);
  const below = (key: string): string => (path === "" ? key : `${path}.${key}`);
  if ("map" in shape)
    return firstProblem(entries.map(([key, item]) => [item, shape.map as Shape, below(key)]));
  return firstProblem(
    entries.flatMap(([key, item]) => {
      const inner = Object.hasOwn(shape, key) ? shape[key] : undefined;
      return inner === undefined ? [] : [[item, inner, below(key)] as const];
    }),
  );
}

function firstProblem(
  parts: readonly (readonly [value: unknown, shape: Shape, path: string])[],
): string | undefined {
  for (const part of parts) {
    const problem = findIn(...part);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function isOf(value: unknown, shape: Extract<Shape, string>): boolean {
  switch (shape) {
    case "text":
      return typeof value === "string";
    case "number":
      return Number.isInteger(value);
    case "flag":
      return typeof value === "boolean";
    case "number or text":
      return typeof value === "string" || typeof value === "number";
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
  }
}
