import { describe, expect, test } from "vitest";
import type { PodStatus } from "../../../src/api/types.ts";
import type { PodSnapshot } from "../../../src/pods/snapshot.ts";
import { computePodStatus } from "../../../src/pods/status.ts";
import { makeContainer, makePod, makeSandbox, makeSnapshot, NOW } from "./support.ts";

const only = (...containers: ReturnType<typeof makeContainer>[]) => ({
  sandboxes: [makeSandbox()],
  containers,
});
const dead = (fields = {}) => makeContainer({ state: "exited", exitCode: 1, ...fields });
const proxy = (fields = {}) => makeContainer({ name: "proxy", kind: "init", ...fields });
const withSidecar = (spec = {}) =>
  makePod({ initContainers: [{ name: "proxy", restartPolicy: "Always" }], ...spec });
const hook = (status: "running" | "done" | "failed") =>
  new Map([["web-0", { "post-start": { status, since: NOW, graceSeconds: 0 } }]]);
const restartingAll = makePod({
  containers: [
    {
      name: "web",
      restartPolicy: "Never",
      restartPolicyRules: [
        { action: "RestartAllContainers", exitCodes: { operator: "In", values: [1] } },
      ],
    },
  ],
});
const gated = (status?: string) => ({
  ...makePod({ readinessGates: [{ conditionType: "example.com/ok" }] }),
  status: status === undefined ? {} : { conditions: [{ type: "example.com/ok", status } as const] },
});

interface Case {
  readonly sentence: string;
  readonly given: Partial<PodSnapshot>;
  readonly expected: object;
}

const CASES: readonly Case[] = [
  {
    sentence: "a pod whose sidecar has not started yet is Pending",
    given: {
      pod: withSidecar(),
      observed: only(proxy()),
      probes: new Map([["proxy-0", { isStarted: false, isReady: false }]]),
    },
    expected: { phase: "Pending", Initialized: "False ContainersNotInitialized" },
  },
  {
    sentence: "a sidecar that restarts beside its pod does not make it Pending again",
    given: { pod: withSidecar(), observed: only(proxy({ state: "exited" }), makeContainer()) },
    expected: { phase: "Running", Initialized: "True", Ready: "False ContainersNotReady" },
  },
  {
    sentence: "a running pod with a running sidecar is ready",
    given: { pod: withSidecar(), observed: only(proxy(), makeContainer()) },
    expected: { phase: "Running", Ready: "True", Initialized: "True" },
  },
  {
    sentence: "a sidecar that is not ready makes its pod unready",
    given: {
      pod: withSidecar(),
      observed: only(proxy(), makeContainer()),
      probes: new Map([["proxy-0", { isStarted: true, isReady: false }]]),
    },
    expected: { phase: "Running", Ready: "False ContainersNotReady", Initialized: "True" },
  },
  {
    sentence: "a pod whose app containers are done still runs while its sidecar does",
    given: {
      phase: "terminating",
      pod: withSidecar({ restartPolicy: "Never" }),
      previous: { phase: "Running" },
      observed: only(proxy(), dead({ exitCode: 0 })),
    },
    expected: { phase: "Running" },
  },
  {
    sentence: "a sidecar's exit code does not decide how the pod ended",
    given: {
      phase: "terminating",
      pod: withSidecar({ restartPolicy: "Never" }),
      observed: only(proxy({ state: "exited", exitCode: 143 }), dead({ exitCode: 0 })),
    },
    expected: { phase: "Succeeded", Initialized: "True PodCompleted" },
  },
  {
    sentence: "a pod whose init container failed for good is not Failed while a sidecar runs",
    given: {
      phase: "terminating",
      pod: makePod({
        restartPolicy: "Never",
        initContainers: [{ name: "proxy", restartPolicy: "Always" }, { name: "migrate" }],
      }),
      observed: only(proxy(), dead({ name: "migrate", kind: "init" })),
    },
    expected: { phase: "Pending" },
  },
  {
    sentence: "while its postStart hook runs a container is still being created",
    given: { operations: hook("running") },
    expected: {
      phase: "Pending",
      web: "waiting ContainerCreating",
      Ready: "False ContainersNotReady",
    },
  },
  {
    sentence: "after its postStart hook a container runs",
    given: { operations: hook("done") },
    expected: { phase: "Running", web: "running", Ready: "True" },
  },
  {
    sentence: "a failed postStart hook is the reason why its container waits",
    given: {
      observed: only(dead()),
      startFailures: new Map([["web", { reason: "PostStartHookError", message: "m", retryAt: 0 }]]),
    },
    expected: { phase: "Running", web: "waiting PostStartHookError" },
  },
  {
    sentence: "a pod that ends shows a container whose postStart hook runs as running",
    given: { phase: "terminating", operations: hook("running") },
    expected: { web: "running" },
  },
  {
    sentence: "an ephemeral container counts neither for the phase nor for readiness",
    given: {
      pod: makePod({ ephemeralContainers: [{ name: "debug" }] }),
      observed: only(makeContainer(), dead({ name: "debug", kind: "ephemeral" })),
    },
    expected: { phase: "Running", Ready: "True", debug: "terminated Error" },
  },
  {
    sentence: "an ephemeral container that is to come waits",
    given: { pod: makePod({ ephemeralContainers: [{ name: "debug" }] }) },
    expected: { phase: "Running", debug: "waiting ContainerCreating" },
  },
  {
    sentence: "a readiness gate without its condition keeps the pod unready",
    given: { pod: gated() },
    expected: { ContainersReady: "True", Ready: "False ReadinessGatesNotReady" },
  },
  {
    sentence: "a readiness gate whose condition is not True keeps the pod unready",
    given: { pod: gated("False") },
    expected: { Ready: "False ReadinessGatesNotReady" },
  },
  {
    sentence: "a readiness gate whose condition is True is passed",
    given: { pod: gated("True") },
    expected: { Ready: "True" },
  },
  {
    sentence: "a pod that restarts all its containers says so, and goes on running",
    given: { pod: restartingAll, observed: only(dead()) },
    expected: { phase: "Running", AllContainersRestarting: "True RestartAllContainersStarted" },
  },
  {
    sentence: "a pod that could restart all its containers says that it does not",
    given: { pod: restartingAll },
    expected: { AllContainersRestarting: "False" },
  },
  {
    sentence: "another pod says nothing of it",
    given: {},
    expected: { AllContainersRestarting: undefined },
  },
  {
    sentence: "a container's own policy keeps its pod from ending",
    given: {
      pod: makePod({
        restartPolicy: "Never",
        containers: [{ name: "web", restartPolicy: "Always" }],
      }),
      observed: only(dead({ exitCode: 0 })),
    },
    expected: { phase: "Running" },
  },
];

/** What a row names: the phase, a container's state with its reason, or a condition with its reason. */
function look(status: PodStatus, what: string): string | undefined {
  if (what === "phase") return status.phase;
  const { initContainerStatuses = [], containerStatuses = [] } = status;
  const { ephemeralContainerStatuses = [] } = status;
  const all = [...initContainerStatuses, ...containerStatuses, ...ephemeralContainerStatuses];
  const container = all.find(({ name }) => name === what);
  const [kind, detail] = Object.entries(container?.state ?? {})[0] ?? [];
  if (kind !== undefined) return `${kind} ${(detail as { reason?: string }).reason ?? ""}`.trim();
  const condition = status.conditions?.find(({ type }) => type === what);
  return condition && `${condition.status} ${condition.reason ?? ""}`.trim();
}

describe("the status of a pod with sidecars, hooks and rules", () => {
  test.each(CASES)("$sentence", ({ given, expected }) => {
    const status = computePodStatus(makeSnapshot(given));
    const seen = Object.fromEntries(
      Object.keys(expected).map((what) => [what, look(status, what)]),
    );
    expect(seen).toEqual(expected);
  });

  test("a container tells the resources it was made with, whatever its spec says now", () => {
    const made = { limits: { memory: "64Mi" }, requests: { cpu: "100m", memory: "64Mi" } };
    const annotations = { "longshore.io/resources": JSON.stringify(made) };
    const pod = makePod({ containers: [{ name: "web", resources: { limits: { cpu: "2" } } }] });
    const observed = only(makeContainer({ annotations }));
    const [web] = computePodStatus(makeSnapshot({ pod, observed })).containerStatuses ?? [];
    expect(web).toMatchObject({ resources: made, allocatedResources: made.requests });
  });

  test("a readiness gate is named with what is wrong with it", () => {
    const messageOf = (pod: PodSnapshot["pod"]) =>
      computePodStatus(makeSnapshot({ pod })).conditions?.find(({ type }) => type === "Ready")
        ?.message;
    expect(messageOf(gated())).toBe(
      'corresponding condition of pod readiness gate "example.com/ok" does not exist.',
    );
    expect(messageOf(gated("Unknown"))).toBe(
      'the status of pod readiness gate "example.com/ok" is not "True", but Unknown',
    );
  });

  test("an init container that runs again in a new sandbox does not take back its success", () => {
    const pod = makePod({ restartPolicy: "OnFailure", initContainers: [{ name: "one" }] });
    const one = { name: "one", kind: "init" } as const;
    const first = computePodStatus(
      makeSnapshot({
        pod,
        observed: only(makeContainer({ ...one, state: "exited" }), makeContainer()),
      }),
    );
    const again = only(
      makeContainer({ ...one, attempt: 1 }),
      makeContainer({ ...one, state: "exited" }),
      dead({ sandboxId: "old" }),
    );
    const later = computePodStatus(makeSnapshot({ pod, observed: again, previous: first }));
    expect(later.initContainerStatuses).toEqual(first.initContainerStatuses);
    expect(later.phase).toBe("Running");
  });

  test("what is left of an ephemeral container stays in the status when it is gone", () => {
    const pod = makePod({ ephemeralContainers: [{ name: "debug" }] });
    const ended = only(makeContainer(), dead({ name: "debug", kind: "ephemeral" }));
    const previous = computePodStatus(makeSnapshot({ pod, observed: ended }));
    const later = computePodStatus(makeSnapshot({ pod, previous, phase: "terminated" }));
    expect(later.ephemeralContainerStatuses).toEqual(previous.ephemeralContainerStatuses);
  });
});
