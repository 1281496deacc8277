import { describe, expect, test } from "vitest";
import type { PodStatus } from "../../../src/api/types.ts";
import type { PodSnapshot } from "../../../src/pods/snapshot.ts";
import { computePodStatus } from "../../../src/pods/status.ts";
import { makeContainer, makePod, makeSandbox, makeSnapshot, NOW } from "./support.ts";

const SANDBOX = makeSandbox();
const only = (...containers: ReturnType<typeof makeContainer>[]) => ({
  sandboxes: [SANDBOX],
  containers,
});
const nothing = { sandboxes: [], containers: [] };
const dead = (fields = {}) => makeContainer({ state: "exited", exitCode: 1, ...fields });
const withInit = (restartPolicy: "Always" | "Never" = "Always") =>
  makePod({
    restartPolicy,
    initContainers: [{ name: "a" }, { name: "b" }],
    containers: [{ name: "web" }],
  });
const init = (name: string, fields = {}) => makeContainer({ name, kind: "init", ...fields });
const two = makePod({ containers: [{ name: "web" }, { name: "side" }] });
const backoff = new Map([["web", { delayMs: 10_000, since: NOW - 50_000 }]]);
const failedImage = (reason: string, message: string) =>
  new Map([["web", { kind: "failed", reason, message, waitMs: 1, mayRetry: false } as const]]);

interface Case {
  readonly sentence: string;
  readonly given: Partial<PodSnapshot>;
  readonly phase: string;
  /** `state/reason` of the container `web`. */
  readonly web?: string;
  readonly message?: string;
}

const CASES: readonly Case[] = [
  {
    sentence: "a new pod is creating its containers",
    given: { observed: nothing },
    phase: "Pending",
    web: "waiting/ContainerCreating",
  },
  { sentence: "a running container runs", given: {}, phase: "Running", web: "running/" },
  {
    sentence: "a failed postStart hook is told while its container waits to be started again",
    given: {
      observed: only(dead()),
      startFailures: new Map([["web", { reason: "PostStartHookError", message: "m", retryAt: 0 }]]),
    },
    phase: "Running",
    web: "waiting/PostStartHookError",
    message: "m",
  },
  {
    sentence: "a container that was killed to be replaced does not end a pod that restarts nothing",
    given: {
      pod: makePod({ restartPolicy: "Never" }),
      observed: only(dead()),
      replaced: new Set(["web-0"]),
    },
    phase: "Running",
    web: "terminated/Error",
  },
  {
    sentence: "Pending lasts until every container has been started",
    given: { pod: two },
    phase: "Pending",
    web: "running/",
  },
  {
    sentence: "before its init containers are done a container is initializing",
    given: { pod: withInit(), observed: only(init("a")) },
    phase: "Pending",
    web: "waiting/PodInitializing",
  },
  {
    sentence: "a failed init container fails a Never pod",
    given: { pod: withInit("Never"), observed: only(init("a", { state: "exited", exitCode: 1 })) },
    phase: "Failed",
    web: "waiting/PodInitializing",
  },
  {
    sentence: "a failed init container leaves an Always pod Pending",
    given: { pod: withInit(), observed: only(init("a", { state: "exited", exitCode: 1 })) },
    phase: "Pending",
    web: "waiting/PodInitializing",
  },
  {
    sentence: "a container in back-off says for how long it was set",
    given: { observed: only(dead()), backoff },
    phase: "Running",
    web: "waiting/CrashLoopBackOff",
    message: "back-off 10s restarting failed container=web pod=p_ns(u1)",
  },
  {
    sentence: "five minutes are 5m0s",
    given: {
      observed: only(dead()),
      backoff: new Map([["web", { delayMs: 300_000, since: NOW - 50_000 }]]),
    },
    phase: "Running",
    web: "waiting/CrashLoopBackOff",
    message: "back-off 5m0s restarting failed container=web pod=p_ns(u1)",
  },
  ...["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"].map(
    (reason): Case => ({
      sentence: `an image problem shows as ${reason}`,
      given: { observed: only(), images: failedImage(reason, "words") },
      phase: "Pending",
      web: `waiting/${reason}`,
      message: "words",
    }),
  ),
  ...(["CreateContainerConfigError", "CreateContainerError", "RunContainerError"] as const).map(
    (reason): Case => ({
      sentence: `a start that failed shows as ${reason}`,
      given: {
        observed: only(),
        startFailures: new Map([["web", { reason, message: "words", retryAt: NOW }]]),
      },
      phase: "Pending",
      web: `waiting/${reason}`,
      message: "words",
    }),
  ),
  {
    sentence: "success of all is Succeeded with OnFailure",
    given: { pod: makePod({ restartPolicy: "OnFailure" }), observed: only(dead({ exitCode: 0 })) },
    phase: "Succeeded",
    web: "terminated/Completed",
  },
  {
    sentence: "failure is Failed with Never",
    given: { pod: makePod({ restartPolicy: "Never" }), observed: only(dead()) },
    phase: "Failed",
    web: "terminated/Error",
  },
  {
    sentence: "one that still runs keeps a Never pod Running",
    given: {
      pod: makePod({ restartPolicy: "Never", containers: [{ name: "web" }, { name: "side" }] }),
      observed: only(dead(), makeContainer({ name: "side" })),
    },
    phase: "Running",
    web: "terminated/Error",
  },
  {
    sentence: "a container killed for its memory says so",
    given: { observed: only(dead({ exitCode: 137, oomKilled: true })) },
    phase: "Running",
    web: "terminated/OOMKilled",
  },
  {
    sentence: "a program that cannot be run says so",
    given: {
      pod: makePod({ restartPolicy: "Never" }),
      observed: only(makeContainer({ state: "created", exitCode: 127, error: "not found" })),
    },
    phase: "Failed",
    web: "terminated/ContainerCannotRun",
    message: "not found",
  },
  {
    sentence: "a termination message is shown",
    given: { observed: only(dead()), messages: new Map([["web-0", "bye"]]) },
    phase: "Running",
    web: "terminated/Error",
    message: "bye",
  },
  {
    sentence: "a terminal phase stays whatever is observed",
    given: { previous: { phase: "Failed" } },
    phase: "Failed",
    web: "running/",
  },
  {
    sentence: "a terminal phase of the API server stays",
    given: { pod: { ...makePod(), status: { phase: "Succeeded" } } },
    phase: "Succeeded",
    web: "running/",
  },
  {
    sentence: "past its deadline a pod is not Failed while something runs",
    given: { phase: "terminating", verdict: { reason: "DeadlineExceeded", message: "m" } },
    phase: "Running",
    web: "running/",
  },
  {
    sentence: "past its deadline a stopped pod is Failed",
    given: {
      phase: "terminating",
      verdict: { reason: "DeadlineExceeded", message: "m" },
      observed: only(dead({ exitCode: 137 })),
    },
    phase: "Failed",
    web: "terminated/Error",
  },
  {
    sentence: "a deleted pod is over as soon as its containers have stopped",
    given: { phase: "terminating", observed: only(dead()) },
    phase: "Failed",
    web: "terminated/Error",
  },
  {
    sentence: "a deleted pod ends Failed when a container did",
    given: { phase: "terminated", observed: only(dead()) },
    phase: "Failed",
    web: "terminated/Error",
  },
  {
    sentence: "a deleted pod ends Succeeded when all containers did",
    given: { phase: "terminated", observed: only(dead({ exitCode: 0 })) },
    phase: "Succeeded",
    web: "terminated/Completed",
  },
  {
    sentence: "a pod deleted before it ran ends Failed",
    given: { phase: "terminated", observed: nothing },
    phase: "Failed",
    web: "terminated/ContainerStatusUnknown",
    message: "The container could not be located when the pod was terminated",
  },
];

function webOf(status: PodStatus) {
  const web = status.containerStatuses?.find(({ name }) => name === "web");
  const [kind, detail] = Object.entries(web?.state ?? {})[0] ?? [];
  const { reason = "", message } = (detail ?? {}) as { reason?: string; message?: string };
  return { text: `${kind}/${reason}`, message };
}

function conditionOf(status: PodStatus, type: string) {
  return status.conditions?.find((condition) => condition.type === type);
}

describe("computePodStatus", () => {
  test.each(CASES)("$sentence", ({ given, phase, web, message }) => {
    const status = computePodStatus(makeSnapshot(given));
    expect(status.phase).toBe(phase);
    if (web !== undefined) expect(webOf(status)).toEqual({ text: web, message });
  });

  test("every reason is shown by some case", () => {
    const reasons =
      "PodInitializing ContainerCreating CrashLoopBackOff ErrImagePull ImagePullBackOff ErrImageNeverPull InvalidImageName CreateContainerConfigError CreateContainerError RunContainerError PostStartHookError Completed Error OOMKilled ContainerCannotRun ContainerStatusUnknown";
    const seen = CASES.map(({ web }) => web?.split("/")[1]);
    expect(reasons.split(" ").filter((reason) => !seen.includes(reason))).toEqual([]);
  });

  test.each([
    ["a running pod is ready", {}, "Ready", { status: "True" }],
    [
      "a pod without a sandbox is not ready to start containers",
      { observed: nothing },
      "PodReadyToStartContainers",
      { status: "False" },
    ],
    [
      "init containers to come are named",
      { pod: withInit(), observed: only() },
      "Initialized",
      {
        status: "False",
        reason: "ContainersNotInitialized",
        message: "containers with incomplete status: [a b]",
      },
    ],
    [
      "only those to come are named",
      { pod: withInit(), observed: only(init("a", { state: "exited" })) },
      "Initialized",
      { message: "containers with incomplete status: [b]" },
    ],
    [
      "a container that started once keeps the pod initialized",
      { pod: withInit(), observed: only(dead()) },
      "Initialized",
      { status: "True" },
    ],
    [
      "containers that are not ready are named",
      { observed: only(dead()) },
      "Ready",
      {
        status: "False",
        reason: "ContainersNotReady",
        message: "containers with unready status: [web]",
      },
    ],
    [
      "a readiness probe that fails makes a container unready",
      { probes: new Map([["web-0", { isStarted: true, isReady: false }]]) },
      "ContainersReady",
      { status: "False", reason: "ContainersNotReady" },
    ],
    [
      "a pod that succeeded is completed",
      { pod: makePod({ restartPolicy: "Never" }), observed: only(dead({ exitCode: 0 })) },
      "Ready",
      { status: "False", reason: "PodCompleted" },
    ],
  ])("%s", (_sentence, given, type, expected) => {
    const status = computePodStatus(makeSnapshot(given as Partial<PodSnapshot>));
    expect(conditionOf(status, type)).toMatchObject(expected);
  });

  test("a transition time changes only with the status", () => {
    const first = computePodStatus(makeSnapshot());
    const later = computePodStatus(makeSnapshot({ previous: first, now: NOW + 5000 }));
    expect(later).toEqual(first);
    const down = computePodStatus(
      makeSnapshot({ previous: first, now: NOW + 5000, observed: only(dead()) }),
    );
    expect(conditionOf(down, "Ready")?.lastTransitionTime).toBe("2026-01-01T00:10:05Z");
    expect(conditionOf(down, "Initialized")?.lastTransitionTime).toBe("2026-01-01T00:10:00Z");
  });

  test("conditions of others are preserved", () => {
    const foreign = { type: "DisruptionTarget", status: "True" };
    const pod = { ...makePod(), status: { conditions: [foreign] } };
    expect(computePodStatus(makeSnapshot({ pod })).conditions).toContainEqual(foreign);
  });

  test("a restarted container shows its last end, its count and its IDs", () => {
    const observed = only(makeContainer({ attempt: 1 }), dead({ id: "old" }));
    const [web] = computePodStatus(makeSnapshot({ observed })).containerStatuses ?? [];
    expect(web).toMatchObject({
      restartCount: 1,
      ready: true,
      started: true,
      imageID: "docker://sha256:abc",
      containerID: "docker://web-1",
      lastState: { terminated: { exitCode: 1, reason: "Error", containerID: "docker://old" } },
    });
  });

  test("the restart count never falls", () => {
    const previous = {
      containerStatuses: [
        {
          name: "web",
          image: "",
          imageID: "",
          ready: true,
          restartCount: 6,
          containerID: "docker://x",
        },
      ],
    };
    for (const observed of [nothing, only(makeContainer({ attempt: 2 }))]) {
      const [web] = computePodStatus(makeSnapshot({ previous, observed })).containerStatuses ?? [];
      expect(web?.restartCount).toBe(6);
    }
  });

  test("addresses, start time, class and generation are told", () => {
    expect(computePodStatus(makeSnapshot())).toMatchObject({
      hostIP: "192.0.2.1",
      hostIPs: [{ ip: "192.0.2.1" }],
      podIP: "10.0.0.2",
      podIPs: [{ ip: "10.0.0.2" }],
      startTime: "2026-01-01T00:09:00Z",
      qosClass: "BestEffort",
      observedGeneration: 1,
    });
  });

  test("the reason of a phase that another set is kept", () => {
    const ended = { phase: "Failed", reason: "Evicted", message: "m" } as const;
    const pod = { ...makePod(), status: ended };
    const status = computePodStatus(makeSnapshot({ pod, previous: { phase: "Running" } }));
    expect(status).toMatchObject(ended);
  });

  test("a refused pod has a reason and no containers", () => {
    const verdict = { reason: "UnsupportedPodSpec", message: "m" };
    const status = computePodStatus(makeSnapshot({ verdict, observed: nothing }));
    expect(status).toMatchObject({ phase: "Failed", ...verdict });
    expect(status.containerStatuses).toBeUndefined();
  });
});
