/** Validation: one good object of each kind, and a table of mutations with the problem each must report. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { applyDefaults, prepareForCreate } from "../../../src/controlplane/defaults.ts";
import { isObject, type KubeObject } from "../../../src/controlplane/objects.ts";
import {
  CONFIG_MAPS,
  NAMESPACES,
  PODS,
  RESOURCE_TYPES,
  type ResourceType,
  SECRETS,
  SERVICES,
} from "../../../src/controlplane/registry.ts";
import { StatusError } from "../../../src/controlplane/status-error.ts";
import { validateCreate, validateUpdate } from "../../../src/controlplane/validation.ts";

type Mutable = Record<string, unknown>;

/** A copy with the value at a dotted path (numbers index lists) set, or removed when undefined. */
function set(object: KubeObject, path: string, value: unknown): KubeObject {
  const copy = structuredClone(object) as unknown as Mutable;
  const steps = path.split("/");
  const last = steps.pop() ?? "";
  let inner = copy;
  for (const step of steps) {
    inner[step] ??= {};
    inner = inner[step] as Mutable;
  }
  if (value === undefined) delete inner[last];
  else inner[last] = value;
  return copy as unknown as KubeObject;
}

function messageOf(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    expect(error.body.code).toBe(422);
    expect(error.body.details?.causes?.length).toBeGreaterThan(0);
    return error.message;
  }
  return "";
}

function made(type: ResourceType, fields: object): KubeObject {
  const metadata = { name: "x", ...(type.namespaced ? { namespace: "ns" } : {}) };
  const object = { apiVersion: "v1", kind: type.kind, metadata, ...fields };
  return prepareForCreate(type, applyDefaults(type, object));
}

const pod = made(PODS, {
  spec: {
    volumes: [{ name: "v", emptyDir: {} }],
    containers: [
      {
        name: "c",
        image: "busybox",
        command: ["sleep"],
        env: [{ name: "E", value: "1" }],
        ports: [{ name: "http", containerPort: 80 }],
        volumeMounts: [{ name: "v", mountPath: "/v" }],
        resources: { requests: { cpu: "100m" }, limits: { cpu: "1" } },
        readinessProbe: { exec: { command: ["true"] } },
        lifecycle: { preStop: { sleep: { seconds: 1 } } },
        restartPolicy: "Never",
        restartPolicyRules: [{ action: "Restart", exitCodes: { operator: "In", values: [1] } }],
      },
    ],
  },
});
const service = made(SERVICES, { spec: { clusterIP: "10.0.0.1", ports: [{ port: 80 }] } });
const secret = made(SECRETS, { data: { key: "eA==" } });
const configMap = made(CONFIG_MAPS, { data: { key: "x" } });

const C = "spec/containers/0";

describe("validateCreate", () => {
  it.each([
    [PODS, pod],
    [SERVICES, service],
    [SECRETS, secret],
    [CONFIG_MAPS, configMap],
    [NAMESPACES, made(NAMESPACES, {})],
  ] as const)("accepts a good object", (type, object) => {
    expect(messageOf(() => validateCreate(type, object))).toBe("");
  });

  it("words a problem as upstream does, with its cause", () => {
    const bad = set(pod, `${C}/image`, undefined);
    expect(() => validateCreate(PODS, bad)).toThrow(
      expect.objectContaining({
        message: 'Pod "x" is invalid: spec.containers[0].image: Required value',
        body: expect.objectContaining({
          details: expect.objectContaining({
            causes: [
              {
                reason: "FieldValueRequired",
                message: "Required value",
                field: "spec.containers[0].image",
              },
            ],
          }),
        }),
      }),
    );
  });

  it.each<[string, unknown, string]>([
    [
      "metadata/name",
      "X_1",
      'metadata.name: Invalid value: "X_1": a lowercase RFC 1123 subdomain must',
    ],
    [
      "metadata/labels",
      { "a b": "x" },
      'metadata.labels: Invalid value: "a b": name part must consist',
    ],
    [
      "metadata/labels",
      { a: "b c" },
      'metadata.labels: Invalid value: "b c": a valid label must be',
    ],
    ["spec/containers", [], "spec.containers: Required value"],
    ["spec/containers", "x", 'spec.containers: Invalid value: "x": must be of type array'],
    ["spec", undefined, "spec.containers: Required value"],
    [`${C}/name`, "", "spec.containers[0].name: Required value"],
    [
      `${C}/imagePullPolicy`,
      "Maybe",
      'spec.containers[0].imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"',
    ],
    [`${C}/volumeMounts/0/name`, "z", 'spec.containers[0].volumeMounts[0].name: Not found: "z"'],
    [
      `${C}/ports/0/containerPort`,
      70_000,
      "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ],
    [
      `${C}/ports/0/protocol`,
      "tcp",
      'spec.containers[0].ports[0].protocol: Unsupported value: "tcp"',
    ],
    [
      `${C}/resources/requests/cpu`,
      "2",
      'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ],
    [
      `${C}/resources/limits/memory`,
      "lots",
      "spec.containers[0].resources.limits[memory]: Invalid value",
    ],
    [`${C}/command`, [null], "spec.containers[0].command[0]: Required value"],
    [`${C}/env/0/valueFrom`, {}, "spec.containers[0].env[0].valueFrom: Invalid value"],
    [
      `${C}/readinessProbe`,
      {},
      "spec.containers[0].readinessProbe: Required value: must specify a handler type",
    ],
    [
      "spec/restartPolicy",
      "Never ever",
      'spec.restartPolicy: Unsupported value: "Never ever": supported values: "Always", "OnFailure", "Never"',
    ],
    ["spec/dnsPolicy", 7, "spec.dnsPolicy: Invalid value: 7: must be of type string"],
    ["spec/hostNetwork", "yes", 'spec.hostNetwork: Invalid value: "yes": must be of type boolean'],
    ["spec/volumes/1", { name: "v", emptyDir: {} }, 'spec.volumes[1].name: Duplicate value: "v"'],
    [
      "spec/volumes/0/secret",
      { secretName: "s" },
      "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
    ],
    [
      "spec/initContainers",
      [{ name: "c", image: "i" }],
      'spec.initContainers[0].name: Duplicate value: "c"',
    ],
    [
      "spec/tolerations/0/effect",
      "Never",
      'spec.tolerations[0].effect: Unsupported value: "Never"',
    ],
  ])("refuses a pod whose %s is %j", (path, value, message) => {
    expect(messageOf(() => validateCreate(PODS, set(pod, path, value)))).toContain(message);
  });

  it.each<[ResourceType, KubeObject, string, unknown, string]>([
    [SERVICES, service, "metadata/name", "1x", "a DNS-1035 label must consist"],
    [SERVICES, service, "spec/ports", [], "spec.ports: Required value"],
    [
      SERVICES,
      service,
      "spec/ports/1",
      { port: 81, targetPort: 1 },
      "spec.ports[0].name: Required value",
    ],
    [SERVICES, service, "spec/type", "Magic", 'spec.type: Unsupported value: "Magic"'],
    [
      SERVICES,
      service,
      "spec/selector",
      { a: 1 },
      "spec.selector: Invalid value: 1: must be of type string",
    ],
    [SERVICES, service, "spec/clusterIP", "nowhere", 'spec.clusterIP: Invalid value: "nowhere"'],
    [
      SECRETS,
      secret,
      "data",
      { "a/b": "eA==" },
      'data[a/b]: Invalid value: "a/b": a valid config key',
    ],
    [SECRETS, secret, "data/key", "se cret", 'data[key]: Invalid value: "": illegal base64 data'],
    [
      SECRETS,
      secret,
      "stringData",
      { a: 1 },
      "stringData[a]: Invalid value: 1: must be of type string",
    ],
    [CONFIG_MAPS, configMap, "data/key", 1, "data[key]: Invalid value: 1: must be of type string"],
    [CONFIG_MAPS, configMap, "binaryData", { key: "eA==" }, "duplicate of key present in data"],
    [CONFIG_MAPS, configMap, "data/key", "x".repeat(1_500_000), "Too long"],
    [
      NAMESPACES,
      made(NAMESPACES, {}),
      "metadata/name",
      "a.b",
      "a lowercase RFC 1123 label must consist",
    ],
  ])("refuses a %o", (type, object, path, value, message) => {
    expect(messageOf(() => validateCreate(type, set(object, path, value)))).toContain(message);
  });

  it("never shows a value of a secret", () => {
    const bad = set(secret, "data/key", "hunter2!");
    expect(messageOf(() => validateCreate(SECRETS, bad))).not.toContain("hunter2");
  });
});

describe("validateUpdate", () => {
  it.each<[string, unknown]>([
    [`${C}/image`, "other:1"],
    ["spec/activeDeadlineSeconds", 5],
    ["spec/tolerations/2", { key: "k", operator: "Exists", effect: "NoSchedule" }],
    ["metadata/labels", { a: "b" }],
    ["status", { phase: "Running" }],
  ])("a pod may change its %s", (path, value) => {
    expect(messageOf(() => validateUpdate(PODS, set(pod, path, value), pod))).toBe("");
  });

  it.each<[ResourceType, KubeObject, string, unknown, string]>([
    [
      PODS,
      pod,
      `${C}/command`,
      ["true"],
      "spec: Forbidden: pod updates may not change fields other than",
    ],
    [
      PODS,
      pod,
      "spec/nodeName",
      "n",
      "spec: Forbidden: pod updates may not change fields other than",
    ],
    [
      PODS,
      pod,
      "spec/tolerations",
      [],
      "spec.tolerations: Forbidden: existing toleration can not be modified",
    ],
    [
      PODS,
      pod,
      "metadata/annotations",
      { "kubernetes.io/config.mirror": "x" },
      "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation",
    ],
    [
      PODS,
      set(pod, "metadata/annotations", { "kubernetes.io/config.mirror": "x" }),
      "metadata/annotations",
      { "kubernetes.io/config.mirror": "y" },
      "Forbidden: may not remove or update mirror pod annotation",
    ],
    [PODS, pod, "metadata/name", "y", 'metadata.name: Invalid value: "y": field is immutable'],
    [PODS, set(pod, "metadata/uid", "1"), "metadata/uid", "2", "metadata.uid: Invalid value"],
    [SERVICES, service, "spec/clusterIP", undefined, "spec.clusterIPs[0]: Invalid value"],
    [SERVICES, service, "spec/clusterIP", "10.0.0.2", "may not change once set"],
    [SECRETS, secret, "type", "other", 'type: Invalid value: "other": field is immutable'],
    [
      CONFIG_MAPS,
      set(configMap, "immutable", true),
      "data/key",
      "y",
      "data: Forbidden: field is immutable when `immutable` is set",
    ],
    [
      SECRETS,
      set(secret, "immutable", true),
      "immutable",
      false,
      "immutable: Forbidden: field is immutable",
    ],
  ])("refuses a change of %o", (type, old, path, value, message) => {
    expect(messageOf(() => validateUpdate(type, set(old, path, value), old))).toContain(message);
  });

  it("a status update may say anything about the spec, but needs a status that can be read", () => {
    const running = set(set(pod, "status/phase", "Running"), "spec/nodeName", "n");
    expect(messageOf(() => validateUpdate(PODS, running, pod, "status"))).toBe("");
    const bad = set(pod, "status/conditions", [{ type: "Ready" }]);
    expect(messageOf(() => validateUpdate(PODS, bad, pod, "status"))).toContain(
      "status.conditions[0].status: Required value",
    );
  });
});

describe("rubbish", () => {
  const samples = [pod, service, secret, configMap];

  /** Each path to a value inside an object, as `set` takes them. */
  function pathsOf(value: unknown, path: string): string[] {
    const inner = isObject(value) || Array.isArray(value) ? Object.entries(value) : [];
    return [path, ...inner.flatMap(([key, item]) => pathsOf(item, `${path}/${key}`))];
  }
  const places = samples.flatMap((object) =>
    Object.keys(object).flatMap((key) =>
      pathsOf(object[key], key).map((path) => ({ object, path })),
    ),
  );

  it("in any place of a good object is refused with a StatusError or accepted", () => {
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.jsonValue(), ({ object, path }, value) => {
        const type = RESOURCE_TYPES.find(({ kind }) => kind === object.kind) ?? PODS;
        const bad = applyDefaults(type, set(object, path, value));
        messageOf(() => validateCreate(type, prepareForCreate(type, bad)));
        messageOf(() => validateUpdate(type, bad, object));
        messageOf(() => validateUpdate(type, bad, object, "status"));
        messageOf(() => validateUpdate(type, bad, object, "ephemeralcontainers"));
      }),
      { numRuns: 500 },
    );
  });

  it("as a whole object is refused with a StatusError or accepted", () => {
    const rubbish = fc.record({
      metadata: fc.jsonValue(),
      spec: fc.jsonValue(),
      data: fc.jsonValue(),
    });
    fc.assert(
      fc.property(fc.constantFrom(...RESOURCE_TYPES), rubbish, (type, value) => {
        const object = applyDefaults(type, value as unknown as KubeObject);
        messageOf(() => validateCreate(type, prepareForCreate(type, object)));
      }),
      { numRuns: 200 },
    );
  });
});
