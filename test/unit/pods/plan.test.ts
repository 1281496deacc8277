import { describe, expect, test } from "vitest";
import type { ActionKind } from "../../../src/pods/actions.ts";
import { computePodActions } from "../../../src/pods/plan.ts";
import { LIFECYCLE_CASES } from "./lifecycle-cases.ts";
import { describeAction, type PlanCase } from "./plan-case.ts";
import { RESIZE_CASES } from "./resize-cases.ts";
import { makeContainer, makePod, makeSandbox, makeSnapshot, NOW } from "./support.ts";

const SANDBOX = makeSandbox();
const DEAD = makeContainer({ state: "exited", exitCode: 1 });
const DONE = makeContainer({ state: "exited" });
const withInit = (restartPolicy: "Always" | "Never" = "Always") =>
  makePod({
    restartPolicy,
    initContainers: [{ name: "one" }, { name: "two" }],
    containers: [{ name: "web" }],
  });
const init = (name: string, fields = {}) => makeContainer({ name, kind: "init", ...fields });
const deleted = makePod(
  {},
  { deletionTimestamp: "2026-01-01T00:09:59Z", deletionGracePeriodSeconds: 7 },
);
const nothing = { sandboxes: [], containers: [] };
const only = (...containers: ReturnType<typeof makeContainer>[]) => ({
  sandboxes: [SANDBOX],
  containers,
});

const CASES: readonly PlanCase[] = [
  ...LIFECYCLE_CASES,
  ...RESIZE_CASES,
  { sentence: "a pod that runs as it should needs nothing", given: {}, expected: [] },
  {
    sentence: "a new pod gets a sandbox first",
    given: { observed: nothing },
    expected: ["create-sandbox 0"],
  },
  {
    sentence: "without its volumes a pod gets no sandbox",
    given: { observed: nothing, volumes: { kind: "waiting", message: "m", waitMs: 2000 } },
    expected: [],
    waitMs: 2000,
  },
  {
    sentence: "a sandbox that failed is tried again after a while",
    given: { observed: nothing, sandboxRetryAt: NOW + 4000 },
    expected: [],
    waitMs: 4000,
  },
  {
    sentence: "a half-made sandbox is removed",
    given: { observed: { sandboxes: [makeSandbox({ state: "created" })], containers: [] } },
    expected: ["remove-sandbox s0"],
  },
  {
    sentence: "in a ready sandbox a container whose image is unknown asks for it",
    given: { observed: only(), images: new Map() },
    expected: ["ensure-image web"],
  },
  {
    sentence: "while its image is pulled nothing is done",
    given: { observed: only(), images: new Map([["web", { kind: "pulling" }]]) },
    expected: [],
  },
  {
    sentence: "a failed pull waits",
    given: {
      observed: only(),
      images: new Map([
        [
          "web",
          { kind: "failed", reason: "ErrImagePull", message: "m", waitMs: 9, mayRetry: false },
        ],
      ]),
    },
    expected: [],
    waitMs: 9,
  },
  {
    sentence: "a failed pull is tried again when its time has come",
    given: {
      observed: only(),
      images: new Map([
        [
          "web",
          { kind: "failed", reason: "ErrImagePull", message: "m", waitMs: 0, mayRetry: true },
        ],
      ]),
    },
    expected: ["ensure-image web"],
  },
  {
    sentence: "with its image a container is started",
    given: { observed: only() },
    expected: ["start-container web 0"],
  },
  {
    sentence: "a container that could not be configured waits for its next attempt",
    given: {
      observed: only(),
      startFailures: new Map([
        ["web", { reason: "CreateContainerConfigError", message: "m", retryAt: NOW + 10 }],
      ]),
    },
    expected: [],
    waitMs: 10,
  },
  {
    sentence: "the attempt counts on from the status when the instances are gone",
    given: {
      observed: only(),
      previous: {
        containerStatuses: [
          {
            name: "web",
            image: "",
            imageID: "",
            ready: false,
            restartCount: 4,
            containerID: "docker://x",
          },
        ],
      },
    },
    expected: ["start-container web 5"],
  },
  {
    sentence: "a half-made container is removed and made again",
    given: { observed: only(makeContainer({ state: "created" })) },
    expected: ["remove-container web-0", "start-container web 0"],
  },
  {
    sentence: "a container that ended is restarted at once the first time",
    given: { observed: only(DEAD) },
    expected: ["start-container web 1"],
  },
  {
    sentence: "a container that ended again waits for its back-off",
    given: {
      observed: only(DEAD),
      backoff: new Map([["web", { delayMs: 10_000, since: NOW - 50_000 }]]),
    },
    expected: [],
    waitMs: 5000,
  },
  {
    sentence: "ten minutes of running forget the back-off",
    given: {
      observed: only(DEAD),
      backoff: new Map([["web", { delayMs: 300_000, since: NOW - 606_000 }]]),
    },
    expected: ["start-container web 1"],
  },
  {
    sentence: "success is final with OnFailure",
    given: { pod: makePod({ restartPolicy: "OnFailure" }), observed: only(DONE) },
    expected: [],
  },
  {
    sentence: "failure is restarted with OnFailure",
    given: { pod: makePod({ restartPolicy: "OnFailure" }), observed: only(DEAD) },
    expected: ["start-container web 1"],
  },
  {
    sentence: "any end is final with Never",
    given: { pod: makePod({ restartPolicy: "Never" }), observed: only(DEAD) },
    expected: [],
  },
  {
    sentence: "a changed definition kills the container",
    given: { specHashes: new Map([["web", "other"]]) },
    expected: ["kill-container web-0 definition-changed"],
  },
  {
    sentence: "a container killed for its definition starts again even with Never",
    given: {
      pod: makePod({ restartPolicy: "Never" }),
      observed: only(DEAD),
      replaced: new Set(["web-0"]),
    },
    expected: ["start-container web 1"],
  },
  {
    sentence: "a failed liveness probe kills the container",
    given: {
      probes: new Map([
        ["web-0", { isStarted: true, isReady: true, failure: { kind: "liveness", message: "m" } }],
      ]),
    },
    expected: ["kill-container web-0 liveness-probe"],
  },
  {
    sentence: "a failed startup probe kills the container",
    given: {
      probes: new Map([
        ["web-0", { isStarted: false, isReady: false, failure: { kind: "startup", message: "m" } }],
      ]),
    },
    expected: ["kill-container web-0 startup-probe"],
  },
  {
    sentence: "when the sandbox died its containers end first",
    given: {
      observed: { sandboxes: [makeSandbox({ state: "exited" })], containers: [makeContainer()] },
    },
    expected: ["kill-container web-0 sandbox-changed"],
  },
  {
    sentence: "when the sandbox died and nothing runs a new one is made",
    given: { observed: { sandboxes: [makeSandbox({ state: "exited" })], containers: [DEAD] } },
    expected: ["create-sandbox 1"],
  },
  {
    sentence: "a pod that is done gets no new sandbox",
    given: {
      pod: makePod({ restartPolicy: "OnFailure" }),
      observed: { sandboxes: [makeSandbox({ state: "exited" })], containers: [DONE] },
    },
    expected: [],
  },
  {
    sentence: "in a new sandbox the old one is removed and containers start without back-off",
    given: {
      observed: {
        sandboxes: [makeSandbox({ state: "exited" }), makeSandbox({ id: "s1", attempt: 1 })],
        containers: [DEAD],
      },
      backoff: new Map([["web", { delayMs: 10_000, since: NOW - 50_000 }]]),
    },
    expected: ["remove-sandbox s0", "start-container web 1"],
  },
  {
    sentence: "only the last two instances of a container are kept",
    given: {
      observed: only(
        makeContainer({ attempt: 2 }),
        makeContainer({ attempt: 1, state: "exited" }),
        DEAD,
      ),
    },
    expected: ["remove-container web-0"],
  },
  {
    sentence: "the first init container starts alone",
    given: { pod: withInit(), observed: only() },
    expected: ["start-container one 0"],
  },
  {
    sentence: "while an init container runs nothing else starts",
    given: { pod: withInit(), observed: only(init("one")) },
    expected: [],
  },
  {
    sentence: "the second init container starts after the first succeeded",
    given: { pod: withInit(), observed: only(init("one", { state: "exited" })) },
    expected: ["start-container two 0"],
  },
  {
    sentence: "a failed init container is started again",
    given: { pod: withInit(), observed: only(init("one", { state: "exited", exitCode: 1 })) },
    expected: ["start-container one 1"],
  },
  {
    sentence: "a failed init container is final with Never",
    given: {
      pod: withInit("Never"),
      observed: only(init("one", { state: "exited", exitCode: 1 })),
    },
    expected: [],
  },
  {
    sentence: "after the init containers the app containers start",
    given: {
      pod: withInit(),
      observed: only(init("one", { state: "exited" }), init("two", { state: "exited" })),
    },
    expected: ["start-container web 0"],
  },
  {
    sentence: "init containers run again in a new sandbox",
    given: {
      pod: withInit(),
      observed: {
        sandboxes: [makeSandbox({ id: "s1", attempt: 1 })],
        containers: [init("one", { state: "exited" }), init("two", { state: "exited" })],
      },
    },
    expected: ["start-container one 1"],
  },
  {
    sentence: "a pod past its deadline fails",
    given: { pod: makePod({ activeDeadlineSeconds: 60 }) },
    expected: ["fail-pod DeadlineExceeded"],
  },
  {
    sentence: "a deadline to come is waited for",
    given: { pod: makePod({ activeDeadlineSeconds: 90 }) },
    expected: [],
    waitMs: 30_000,
  },
  {
    sentence: "a pod that ends stops all its containers at once",
    given: {
      phase: "terminating",
      pod: deleted,
      observed: only(makeContainer(), makeContainer({ name: "side" })),
    },
    expected: ["kill-container web-0 terminating", "kill-container side-0 terminating"],
  },
  {
    sentence: "then its sandbox",
    given: { phase: "terminating", pod: deleted, observed: only(DONE) },
    expected: ["stop-sandbox s0"],
  },
  {
    sentence: "then nothing of it runs",
    given: {
      phase: "terminating",
      observed: { sandboxes: [makeSandbox({ state: "exited" })], containers: [DONE] },
    },
    expected: [],
  },
  {
    sentence: "what has ended gives up sandbox and volumes",
    given: { phase: "terminated", observed: only(DONE) },
    expected: ["remove-sandbox s0", "teardown-volumes"],
  },
  {
    sentence: "a finished pod nobody deleted keeps its containers for their logs",
    given: {
      phase: "terminated",
      volumes: { kind: "torn-down" },
      observed: { sandboxes: [], containers: [DONE] },
    },
    expected: [],
  },
  {
    sentence: "the object is not deleted before the terminal status is written",
    given: {
      phase: "terminated",
      pod: deleted,
      volumes: { kind: "torn-down" },
      observed: nothing,
      isStatusWritten: false,
    },
    expected: [],
  },
  {
    sentence: "the object is deleted when everything else is gone",
    given: { phase: "terminated", pod: deleted, volumes: { kind: "torn-down" }, observed: nothing },
    expected: ["delete-object"],
  },
  {
    sentence: "the delete is sent once",
    given: {
      phase: "terminated",
      pod: deleted,
      volumes: { kind: "torn-down" },
      observed: nothing,
      isDeleteSent: true,
    },
    expected: [],
  },
  {
    sentence: "the containers go after the object",
    given: {
      phase: "terminated",
      volumes: { kind: "torn-down" },
      observed: { sandboxes: [], containers: [DONE] },
      isApiGone: true,
    },
    expected: ["remove-container web-0"],
  },
];

describe("computePodActions", () => {
  test.each(CASES)("$sentence", ({ given, expected, waitMs }) => {
    const plan = computePodActions(makeSnapshot(given));
    expect(plan.actions.map(describeAction)).toEqual(expected);
    expect(plan.waitMs).toBe(waitMs);
    expect(plan.why).not.toBe("");
  });

  test("every kind of action is expected by some case", () => {
    const kinds: Readonly<Record<ActionKind, true>> = {
      "create-sandbox": true,
      "stop-sandbox": true,
      "remove-sandbox": true,
      "ensure-image": true,
      "start-container": true,
      "run-pre-stop": true,
      "kill-container": true,
      "remove-container": true,
      "resize-container": true,
      "finish-resize": true,
      "fail-pod": true,
      "teardown-volumes": true,
      "delete-object": true,
    };
    const seen = new Set(
      CASES.flatMap(({ expected }) => expected.map((text) => text.split(" ")[0])),
    );
    expect([...seen].sort()).toEqual(Object.keys(kinds).sort());
  });

  test.each([
    ["the deletion's grace period", deleted, 7],
    ["the pod's own without one", makePod({ terminationGracePeriodSeconds: 9 }), 9],
    ["never less than a second", makePod({}, { deletionGracePeriodSeconds: 0 }), 1],
    ["30 seconds by default", makePod(), 30],
  ])("a kill uses %s", (_sentence, pod, graceSeconds) => {
    const [action] = computePodActions(makeSnapshot({ pod, phase: "terminating" })).actions;
    expect(action).toMatchObject({ graceSeconds, message: "Stopping container web" });
  });
});
