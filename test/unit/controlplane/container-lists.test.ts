/** What each kind of container of a pod may have, and what of a pod may change: a good pod and tables of mutations. */

import { describe, expect, it, test } from "vitest";
import { applyDefaults, prepareForCreate } from "../../../src/controlplane/defaults.ts";
import type { KubeObject } from "../../../src/controlplane/objects.ts";
import { PODS } from "../../../src/controlplane/registry.ts";
import { StatusError } from "../../../src/controlplane/status-error.ts";
import { validateCreate, validateUpdate } from "../../../src/controlplane/validation.ts";

type Fields = Readonly<Record<string, unknown>>;

const probe = { exec: { command: ["true"] } };

function podOf(spec: Fields, container: Fields = {}): KubeObject {
  const containers = [{ name: "c", image: "busybox", ...container }];
  const metadata = { name: "x", namespace: "ns" };
  const pod = { apiVersion: "v1", kind: "Pod", metadata, spec: { containers, ...spec } };
  return prepareForCreate(PODS, applyDefaults(PODS, pod as unknown as KubeObject));
}

const withInit = (container: Fields): KubeObject =>
  podOf({ initContainers: [{ name: "i", image: "busybox", ...container }] });

/** What is wrong, without `Pod "x" is invalid: `; "" if nothing. */
function problemOf(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (error instanceof StatusError && error.body.code === 422)
      return error.message.replace('Pod "x" is invalid: ', "");
    throw error;
  }
  return "";
}

const rules = (...given: unknown[]) => ({ restartPolicy: "Never", restartPolicyRules: given });
const onExit = (values: unknown, operator = "In", action = "Restart") => ({
  action,
  exitCodes: { operator, values },
});

describe("a new pod may have", () => {
  it.each<[string, KubeObject]>([
    [
      "a sidecar with probes and hooks",
      withInit({
        restartPolicy: "Always",
        startupProbe: { httpGet: { port: 80 } },
        readinessProbe: probe,
        livenessProbe: probe,
        lifecycle: { preStop: { sleep: { seconds: 1 } } },
      }),
    ],
    ["an init container with rules", withInit(rules(onExit([1, 2])))],
    [
      "a container with rules",
      podOf({}, rules(onExit([42], "NotIn", "RestartAllContainers"), onExit([0]))),
    ],
    ["a container with a policy of its own", podOf({}, { restartPolicy: "OnFailure" })],
    [
      "hooks of every kind",
      podOf(
        { os: { name: "linux" } },
        {
          lifecycle: {
            postStart: { httpGet: { port: "http", httpHeaders: [{ name: "X-A", value: "b" }] } },
            preStop: { tcpSocket: { port: 80 } },
            stopSignal: "SIGRTMIN+3",
          },
        },
      ),
    ],
    ["a sleep of no time", podOf({}, { lifecycle: { preStop: { sleep: { seconds: 0 } } } })],
    ["a gRPC probe", podOf({}, { readinessProbe: { grpc: { port: 5000 } } })],
    [
      "a grace period for a probe",
      podOf({}, { livenessProbe: { ...probe, terminationGracePeriodSeconds: 1 } }),
    ],
    ["readiness gates", podOf({ readinessGates: [{ conditionType: "example.com/ready" }] })],
    ["a negative grace period", podOf({ terminationGracePeriodSeconds: -1 })],
    ["a host name that overrides all others", podOf({ hostnameOverride: "a.b.c" })],
    ["its FQDN as host name", podOf({ setHostnameAsFQDN: true, hostname: "a", subdomain: "b" })],
  ])("%s", (_, pod) => {
    expect(problemOf(() => validateCreate(PODS, pod))).toBe("");
  });
});

describe("a new pod may not have", () => {
  const forbidden = "may not be set for init containers without restartPolicy=Always";
  it.each<[string, KubeObject, string]>([
    [
      "hooks of an init container",
      withInit({ lifecycle: { preStop: { sleep: { seconds: 1 } } } }),
      `spec.initContainers[0].lifecycle: Forbidden: ${forbidden}`,
    ],
    [
      "probes of an init container that is no sidecar",
      withInit({ restartPolicy: "OnFailure", startupProbe: probe }),
      `spec.initContainers[0].startupProbe: Forbidden: ${forbidden}`,
    ],
    [
      "an unknown policy",
      withInit({ restartPolicy: "Sometimes" }),
      'spec.initContainers[0].restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
    ],
    [
      "rules without a policy",
      podOf({}, { restartPolicyRules: [onExit([1])] }),
      "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
    ],
    [
      "an unknown action",
      podOf({}, rules(onExit([1], "In", "Wait"))),
      'spec.containers[0].restartPolicyRules[0].action: Unsupported value: "Wait": supported values: "Restart", "RestartAllContainers"',
    ],
    [
      "a rule without exit codes",
      podOf({}, rules({ action: "Restart" })),
      "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
    ],
    [
      "an unknown operator",
      podOf({}, rules(onExit([1], "Is"))),
      'spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: "Is": supported values: "In", "NotIn"',
    ],
    [
      "21 rules",
      podOf({}, rules(...Array.from({ length: 21 }, () => onExit([1])))),
      "spec.containers[0].restartPolicyRules: Too many: 21: must have at most 20 items",
    ],
    [
      "256 exit codes",
      podOf({}, rules(onExit(Array.from({ length: 256 }, (_, code) => code)))),
      "spec.containers[0].restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 items",
    ],
    [
      "a hook that does nothing",
      podOf({}, { lifecycle: { postStart: {} } }),
      "spec.containers[0].lifecycle.postStart: Required value: must specify a handler type",
    ],
    [
      "a hook that does two things",
      podOf({}, { lifecycle: { postStart: { ...probe, sleep: { seconds: 1 } } } }),
      "spec.containers[0].lifecycle.postStart.sleep: Forbidden: may not specify more than 1 handler type",
    ],
    [
      "a hook that sleeps longer than the pod has",
      podOf({}, { lifecycle: { preStop: { sleep: { seconds: 31 } } } }),
      "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
    ],
    [
      "a header with a space",
      podOf({}, { livenessProbe: { httpGet: { port: 1, httpHeaders: [{ name: "a b" }] } } }),
      'spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header',
    ],
    [
      "a stop signal without an operating system",
      podOf({}, { lifecycle: { stopSignal: "SIGTERM" } }),
      "spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`",
    ],
    [
      "an unknown stop signal",
      podOf({ os: { name: "linux" } }, { lifecycle: { stopSignal: "TERM" } }),
      'spec.containers[0].lifecycle.stopSignal: Unsupported value: "TERM"',
    ],
    [
      "no time for a probe's kill",
      podOf({}, { livenessProbe: { ...probe, terminationGracePeriodSeconds: 0 } }),
      "spec.containers[0].livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
    ],
    [
      "a grace period for readiness",
      podOf({}, { readinessProbe: { ...probe, terminationGracePeriodSeconds: 1 } }),
      "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
    ],
    [
      "a gate without a type",
      podOf({ readinessGates: [{}] }),
      'spec.readinessGates[0].conditionType: Invalid value: "": name part must be non-empty',
    ],
    [
      "ephemeral containers",
      podOf({ ephemeralContainers: [{ name: "e", image: "busybox" }] }),
      "spec.ephemeralContainers: Forbidden: cannot be set on create",
    ],
    [
      "two ways to a host name",
      podOf({ hostnameOverride: "a", setHostnameAsFQDN: true }),
      "spec.hostnameOverride: Forbidden: may not be set when `setHostnameAsFQDN` is true",
    ],
    [
      "a host name the kernel does not take",
      podOf({ hostnameOverride: "a".repeat(65) }),
      "must be no more than 64 characters",
    ],
  ])("%s", (_, pod, problem) => {
    expect(problemOf(() => validateCreate(PODS, pod))).toContain(problem);
  });
});

describe("ephemeral containers", () => {
  const old = podOf({
    ephemeralContainers: [{ name: "e", image: "busybox" }],
    initContainers: [{ name: "i", image: "busybox" }],
    volumes: [{ name: "v", emptyDir: {} }],
  });
  const update = (...ephemeralContainers: unknown[]): string => {
    const changed = applyDefaults(PODS, {
      ...old,
      spec: { ...(old.spec as object), ephemeralContainers },
    });
    return problemOf(() => validateUpdate(PODS, changed, old, "ephemeralcontainers"));
  };
  const e = { name: "e", image: "busybox" };
  const f = { name: "f", image: "busybox" };

  it.each<[string, readonly unknown[]]>([
    ["appended", [e, { ...f, targetContainerName: "c", stdin: true, tty: true }]],
    ["named in another order", [f, e]],
    [
      "given mounts, an environment and rights",
      [
        e,
        {
          ...f,
          env: [{ name: "A", value: "b" }],
          volumeMounts: [{ name: "v", mountPath: "/v" }],
          securityContext: { capabilities: { add: ["SYS_PTRACE"] } },
          ports: [],
          resources: {},
        },
      ],
    ],
  ])("may be %s", (_, containers) => {
    expect(update(...containers)).toBe("");
  });

  const refused = "cannot be set for an Ephemeral Container";
  it.each<[string, readonly unknown[], string]>([
    [
      "removed",
      [f],
      'spec.ephemeralContainers: Forbidden: existing ephemeral containers "e" may not be removed',
    ],
    [
      "changed",
      [{ ...e, image: "nginx" }],
      'spec.ephemeralContainers: Forbidden: existing ephemeral containers "e" may not be changed',
    ],
    [
      "named like a container",
      [e, { ...f, name: "c" }],
      'spec.ephemeralContainers[1].name: Duplicate value: "c"',
    ],
    ["named twice", [e, f, f], 'spec.ephemeralContainers[2].name: Duplicate value: "f"'],
    [
      "aimed at nothing",
      [e, { ...f, targetContainerName: "e" }],
      'spec.ephemeralContainers[1].targetContainerName: Not found: "e"',
    ],
    ...(
      [
        ["ports", [{ containerPort: 80 }]],
        ["lifecycle", { preStop: probe }],
        ["readinessProbe", probe],
        ["resources", { limits: { cpu: "1" } }],
        ["restartPolicy", "Always"],
      ] as const
    ).map(
      ([field, value]) =>
        [
          `given ${field}`,
          [e, { ...f, [field]: value }],
          `spec.ephemeralContainers[1].${field}: Forbidden: ${refused}`,
        ] as [string, readonly unknown[], string],
    ),
    [
      "given a part of a volume",
      [e, { ...f, volumeMounts: [{ name: "v", mountPath: "/v", subPath: "a" }] }],
      `spec.ephemeralContainers[1].volumeMounts[0].subPath: Forbidden: ${refused}`,
    ],
    ["given no image", [e, { name: "f" }], "spec.ephemeralContainers[1].image: Required value"],
  ])("may not be %s", (_, containers, problem) => {
    expect(update(...containers)).toContain(problem);
  });

  it("are none of a mirror pod's", () => {
    const metadata = { ...old.metadata, annotations: { "kubernetes.io/config.mirror": "x" } };
    const mirror = { ...old, metadata };
    expect(problemOf(() => validateUpdate(PODS, mirror, mirror, "ephemeralcontainers"))).toContain(
      "static pods do not support ephemeral containers",
    );
  });
});

describe("an update of a pod", () => {
  const old = podOf({
    activeDeadlineSeconds: 60,
    terminationGracePeriodSeconds: -1,
    schedulingGates: [{ name: "a.io/b" }, { name: "a.io/c" }],
  });
  const update = (change: Fields): string => {
    const changed = { ...old, spec: { ...(old.spec as object), ...change } };
    return problemOf(() => validateUpdate(PODS, changed, old));
  };

  it.each<[string, Fields]>([
    ["lower the deadline", { activeDeadlineSeconds: 5 }],
    ["mend a negative grace period", { terminationGracePeriodSeconds: 1 }],
    ["open a gate", { schedulingGates: [{ name: "a.io/c" }] }],
    ["open all gates", { schedulingGates: undefined }],
  ])("may %s", (_, change) => {
    expect(update(change)).toBe("");
  });

  it.each<[string, Fields, string]>([
    [
      "raise the deadline",
      { activeDeadlineSeconds: 61 },
      "spec.activeDeadlineSeconds: Invalid value: 61: must be less than or equal to previous value",
    ],
    [
      "remove the deadline",
      { activeDeadlineSeconds: undefined },
      "must not update from a positive integer to nil value",
    ],
    [
      "add a gate",
      { schedulingGates: [{ name: "a.io/d" }] },
      "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a.io/d'",
    ],
    [
      "choose a grace period",
      { terminationGracePeriodSeconds: 2 },
      "spec: Forbidden: pod updates may not change fields other than",
    ],
    [
      "add a container",
      {
        containers: [
          { name: "c", image: "busybox" },
          { name: "d", image: "busybox" },
        ],
      },
      "spec.containers: Forbidden: pod updates may not add or remove containers",
    ],
    [
      "add an ephemeral container",
      { ephemeralContainers: [{ name: "e", image: "busybox" }] },
      "spec: Forbidden: pod updates may not change fields other than",
    ],
  ])("may not %s", (_, change, problem) => {
    expect(update(change)).toContain(problem);
  });
});

test("a pod with gates says that it is not scheduled", () => {
  expect(podOf({ schedulingGates: [{ name: "a.io/b" }] }).status).toMatchObject({
    conditions: [{ type: "PodScheduled", status: "False", reason: "SchedulingGated" }],
  });
});

describe("a status", () => {
  const ended = (exitCode: number) => ({ name: "c", state: { terminated: { exitCode } } });
  const running = { name: "c", state: { running: {} } };
  const update = (pod: KubeObject, list: string, before: unknown): string => {
    const old = { ...pod, status: { [list]: [before] } };
    const changed = { ...pod, status: { [list]: [running] } };
    return problemOf(() => validateUpdate(PODS, changed, old, "status"));
  };
  const back = "may not be transitioned to non-terminated state";

  it.each<[string, KubeObject, string, number, string]>([
    ["restartPolicy Always", podOf({}), "containerStatuses", 0, ""],
    ["OnFailure and 1", podOf({ restartPolicy: "OnFailure" }), "containerStatuses", 1, ""],
    ["OnFailure and 0", podOf({ restartPolicy: "OnFailure" }), "containerStatuses", 0, back],
    ["Never", podOf({ restartPolicy: "Never" }), "initContainerStatuses", 1, back],
    ["an ephemeral container", podOf({}), "ephemeralContainerStatuses", 1, back],
    [
      "a policy of the container's own",
      podOf({ restartPolicy: "Never" }, rules(onExit([1]))),
      "containerStatuses",
      1,
      "",
    ],
    [
      "a container that restarts all",
      podOf(
        { restartPolicy: "Never", initContainers: [{ name: "c", image: "busybox" }] },
        { name: "other", ...rules(onExit([1], "In", "RestartAllContainers")) },
      ),
      "initContainerStatuses",
      0,
      "",
    ],
  ])("of a container that ended, with %s", (_, pod, list, exitCode, problem) => {
    expect(update(pod, list, ended(exitCode))).toContain(problem);
    if (problem === "") expect(update(pod, list, ended(exitCode))).toBe("");
  });
});
