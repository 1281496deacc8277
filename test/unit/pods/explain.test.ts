import { describe, expect, test } from "vitest";
import { formatPodExplanation } from "../../../src/cli/explain-text.ts";
import { computePodExplanation, explainPod } from "../../../src/pods/explain.ts";
import type { ProbeReport } from "../../../src/probes/probes.ts";
import { type Change, makeFacts, RUNNING, waiting } from "./facts.ts";
import { makeContainer, makePod, makeSandbox, NOW } from "./support.ts";

const DEAD = makeContainer({ state: "exited", exitCode: 7 });
const HEALTHY = `Pod          ns/p (uid u1)
Phase        Running; worker: sync
Why          web runs
Next         nothing to do; looks again in 30 s, or at an event
Sandbox      ready (attempt 0, s0), 10.0.0.2, made 60 s ago
Volumes      ready
Container    web
  State      running, 50 s ago, ready, restarts: 0
  Image      web:1: present, abc
Status       written
`;

const READINESS: ProbeReport = {
  containerId: "web-0",
  kind: "readiness",
  result: "failure",
  streak: 5,
  last: { at: NOW - 2_000, outcome: "failure", message: "HTTP probe failed\nwith 500 \u001b[2J" },
};

/** Sentence, change of the healthy pod, lines that are in the text. */
const table: readonly (readonly [string, Change, readonly string[]])[] = [
  [
    "an image that cannot be pulled, and when it is tried again",
    {
      record: {
        status: waiting("ImagePullBackOff", "Back-off"),
        observed: { sandboxes: [makeSandbox()], containers: [] },
        lastPlan: { actions: [], waitMs: 8_000, why: "web: no such image", at: NOW },
      },
      imageOf: () => ({
        kind: "failed",
        reason: "ImagePullBackOff",
        message: "no such image",
        waitMs: 8_000,
        mayRetry: false,
      }),
      turn: { isRunning: false, dueInMs: 8_000 },
    },
    [
      "Why          web: no such image",
      "Next         nothing to do; looks again in 8 s, or at an event",
      "  State      waiting, not ready, restarts: 0; ImagePullBackOff: Back-off",
      "  Image      web:1: failed, ImagePullBackOff: no such image, again in 8 s",
    ],
  ],
  [
    "a crash loop: back-off that is left, last exit",
    {
      record: {
        status: {
          phase: "Running",
          containerStatuses: [
            {
              ...{ ...RUNNING, ready: false, restartCount: 3 },
              state: { waiting: { reason: "CrashLoopBackOff" } },
              lastState: {
                terminated: { exitCode: 7, reason: "Error", finishedAt: "2026-01-01T00:09:55Z" },
              },
            },
          ],
        },
        observed: { sandboxes: [makeSandbox()], containers: [DEAD] },
        backoff: new Map([["web", { delayMs: 20_000, since: NOW - 6_000 }]]),
      },
    },
    [
      "  State      waiting, not ready, restarts: 3; CrashLoopBackOff",
      "  Back-off   in 15 s of 20 s",
      "  Last exit  code 7, Error, 5 s ago",
    ],
  ],
  [
    "a failing probe with its last words on one line, and the condition that is not True",
    {
      record: {
        status: {
          phase: "Running",
          containerStatuses: [{ ...RUNNING, ready: false }],
          conditions: [
            { type: "Initialized", status: "True" },
            { type: "Ready", status: "False", reason: "ContainersNotReady", message: "[web]" },
          ],
        },
      },
      probes: [READINESS, { ...READINESS, containerId: "an older instance", streak: 99 }],
    },
    [
      "  Readiness  failure; last failure 2 s ago, 5 in a row of 3: HTTP probe failed with 500 �[2J",
      "Condition    Ready is False: ContainersNotReady: [web]",
    ],
  ],
  [
    "a probe that has not run yet",
    { probes: [{ containerId: "web-0", kind: "startup", result: "unknown", streak: 0 }] },
    ["  Startup    unknown; has not run yet"],
  ],
  [
    "a volume that is not there",
    {
      record: {
        status: waiting("ContainerCreating"),
        observed: { sandboxes: [], containers: [] },
        volumes: { kind: "waiting", message: 'configmap "x" not found', waitMs: 2_000 },
      },
    },
    ["Sandbox      none", 'Volumes      waiting: configmap "x" not found'],
  ],
  [
    "a start that failed, and its next attempt",
    {
      record: {
        status: waiting("CreateContainerConfigError", 'secret "s" not found'),
        observed: { sandboxes: [makeSandbox()], containers: [] },
        startFailures: new Map([
          [
            "web",
            { reason: "CreateContainerConfigError", message: "secret", retryAt: NOW + 4_000 },
          ],
        ]),
      },
    },
    [
      '  State      waiting, not ready, restarts: 0; CreateContainerConfigError: secret "s" not found',
      "  Retry      in 4 s",
    ],
  ],
  [
    "what is under way",
    {
      record: {
        phase: "terminating",
        lastPlan: {
          actions: [
            {
              ...{ kind: "kill-container", id: "web-0", name: "web", reason: "terminating" },
              ...{ graceSeconds: 30, isAnnounced: false, message: "Stopping container web" },
            },
          ],
          waitMs: undefined,
          why: "the pod is ending",
          at: NOW,
        },
      },
      turn: { isRunning: true, dueInMs: undefined },
    },
    [
      "Phase        Running; worker: terminating",
      "Next         kill-container web (terminating) (under way)",
    ],
  ],
  [
    "a turn that failed, and the API server that does not take the status",
    {
      record: {
        lastPlan: {
          actions: [{ kind: "create-sandbox", attempt: 0 }],
          ...{ waitMs: undefined, why: "no running sandbox", at: NOW },
        },
      },
      failure: { count: 3, at: NOW - 1_000, message: "the Engine is away" },
      turn: { isRunning: false, dueInMs: 4_000 },
      statusWrite: { state: "pending", since: NOW - 200_000, error: "no route" },
    },
    [
      "Next         create-sandbox, again in 4 s, or at an event",
      "Status       not yet written to the API server, began 3 min ago, no route",
      "Last error   the Engine is away (1 s ago, 3 in a row)",
    ],
  ],
  [
    "what the spec asks for in vain",
    { record: { problem: "spec is no object" }, ignored: ["seLinuxOptions: not here"] },
    ["No effect    the newest spec: spec is no object", "No effect    seLinuxOptions: not here"],
  ],
  [
    "a pod that this node refused",
    { record: { status: { phase: "Failed", reason: "NodeAffinity", message: "does not fit" } } },
    ["Phase        Failed; NodeAffinity: does not fit; worker: sync"],
  ],
  [
    "a pod that nobody has looked at",
    { record: { lastPlan: undefined }, turn: { isRunning: false, dueInMs: 0 } },
    ["Why          the worker has not looked at the pod yet"],
  ],
];

describe("the explanation of a pod", () => {
  test("tells of a healthy one in ten lines", () => {
    expect(formatPodExplanation(computePodExplanation(makeFacts()))).toBe(HEALTHY);
  });

  test.each(table)("tells of %s", (_, change, lines) => {
    const text = formatPodExplanation(computePodExplanation(makeFacts(change)));
    for (const line of lines) expect(text.split("\n")).toContain(line);
  });

  test("holds no environment, arguments, annotations or termination message", () => {
    const secret = "hunter2";
    const pod = makePod(
      {
        containers: [
          { name: "web", image: "web:1", env: [{ name: "A", value: secret }], args: [secret] },
        ],
      },
      { annotations: { a: secret } },
    );
    const terminated = { exitCode: 1, reason: "Error", message: secret };
    const status = { containerStatuses: [{ ...RUNNING, state: { terminated } }] };
    const explanation = computePodExplanation(makeFacts({ record: { pod, status } }));
    expect(JSON.stringify(explanation)).not.toContain(secret);
  });
});

describe("which pod is meant", () => {
  const named = (namespace: string, name: string, uid: string, isApiGone = false) =>
    makeFacts({ record: { pod: makePod({}, { namespace, name, uid }), uid, isApiGone } });
  const facts = [
    named("a", "web", "1"),
    named("b", "web", "2"),
    named("b", "db", "3", true),
    named("b", "db", "4"),
    named("b", "old", "5", true),
  ];

  test.each([
    ["its namespace and name", "a/web", "1"],
    ["its UID", "2", "2"],
    ["a name that only one has", "old", "5"],
    ["the one with an object rather than the one before it", "b/db", "4"],
    ["the UID of the one before it", "3", "3"],
  ])("by %s", (_, wanted, uid) => {
    expect(explainPod(facts, wanted, [])).toMatchObject({ status: 200, body: { uid } });
  });

  test.each([
    ["a name of two", "web", 409, "web may be a/web (uid 1) or b/web (uid 2): name one"],
    ["no pod of this node", "b/nope", 404, "pod b/nope is not on this node, which has 5 pods"],
    ["nothing", "", 404, "pod  is not on this node"],
  ])("is refused for %s", (_, wanted, status, message) => {
    expect(explainPod(facts, wanted, [])).toMatchObject({
      status,
      body: { message: expect.stringContaining(message) },
    });
  });

  test("is not known before the agent runs pods", () => {
    expect(explainPod(undefined, "a/web", ["waiting for a podCIDR"])).toEqual({
      status: 503,
      body: { message: "the agent runs no pods yet: waiting for a podCIDR" },
    });
  });
});
