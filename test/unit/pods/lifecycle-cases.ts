/** What the planner makes of sidecars, hooks, ephemeral containers and restart rules; run by plan.test.ts. */

import type { OperationState } from "../../../src/pods/operations.ts";
import type { PlanCase } from "./plan-case.ts";
import { makeContainer, makePod, makeSandbox, NOW } from "./support.ts";

const SANDBOX = makeSandbox();
const only = (...containers: ReturnType<typeof makeContainer>[]) => ({
  sandboxes: [SANDBOX],
  containers,
});
const init = (name: string, fields = {}) => makeContainer({ name, kind: "init", ...fields });
const done = (name: string, fields = {}) => init(name, { state: "exited", ...fields });
const operation = (fields: Partial<OperationState> = {}): OperationState => ({
  status: "running",
  since: NOW - 5_000,
  graceSeconds: 30,
  ...fields,
});
const SIDECAR = { name: "proxy", restartPolicy: "Always" } as const;
const withSidecar = (spec = {}) =>
  makePod({
    initContainers: [SIDECAR, { name: "migrate" }],
    containers: [{ name: "web" }],
    ...spec,
  });
const twoSidecars = makePod({
  initContainers: [SIDECAR, { name: "mesh", restartPolicy: "Always" }],
  containers: [{ name: "web" }],
});
const PRE_STOP = { lifecycle: { preStop: { exec: { command: ["true"] } } } };
const POST_START = { lifecycle: { postStart: { exec: { command: ["true"] } } } };
const deleting = (spec: Parameters<typeof makePod>[0]) =>
  makePod(spec, { deletionTimestamp: "2026-01-01T00:10:00Z", deletionGracePeriodSeconds: 20 });
const hooked = makePod({ containers: [{ name: "web", ...POST_START }, { name: "side" }] });
const rule = (action: string) => ({
  restartPolicy: "Never",
  restartPolicyRules: [{ action, exitCodes: { operator: "In", values: [42] } }],
});
const debug = { name: "debug", image: "busybox" };

export const LIFECYCLE_CASES: readonly PlanCase[] = [
  {
    sentence: "a sidecar is started in its turn",
    given: { pod: withSidecar(), observed: only() },
    expected: ["start-container proxy 0"],
  },
  {
    sentence: "a running sidecar lets the next init container start",
    given: { pod: withSidecar(), observed: only(init("proxy")) },
    expected: ["start-container migrate 0"],
  },
  {
    sentence: "a sidecar whose startup probe has not passed holds back the next",
    given: {
      pod: withSidecar(),
      observed: only(init("proxy")),
      probes: new Map([["proxy-0", { isStarted: false, isReady: false }]]),
    },
    expected: [],
  },
  {
    sentence: "a sidecar whose postStart hook runs holds back the next",
    given: {
      pod: withSidecar(),
      observed: only(init("proxy")),
      operations: new Map([["proxy-0", { "post-start": operation() }]]),
    },
    expected: [],
  },
  {
    sentence: "a sidecar that is not ready holds back nothing",
    given: {
      pod: withSidecar(),
      observed: only(init("proxy")),
      probes: new Map([["proxy-0", { isStarted: true, isReady: false }]]),
    },
    expected: ["start-container migrate 0"],
  },
  {
    sentence: "a sidecar that ends while a later init container runs is restarted beside it",
    given: {
      pod: withSidecar(),
      observed: only(done("proxy"), init("migrate")),
    },
    expected: ["start-container proxy 1"],
  },
  {
    sentence: "a sidecar that ends before it has started holds back the next while it is restarted",
    given: { pod: withSidecar(), observed: only(done("proxy", { exitCode: 1 })) },
    expected: ["start-container proxy 1"],
  },
  {
    sentence: "a sidecar is restarted after success too, and beside the app containers",
    given: { pod: withSidecar(), observed: only(done("proxy"), done("migrate"), makeContainer()) },
    expected: ["start-container proxy 1"],
  },
  {
    sentence: "a crashing sidecar waits for its back-off",
    given: {
      pod: withSidecar(),
      observed: only(done("proxy", { exitCode: 1 }), done("migrate"), makeContainer()),
      backoff: new Map([["proxy", { delayMs: 10_000, since: NOW - 50_000 }]]),
    },
    expected: [],
    waitMs: 5000,
  },
  {
    sentence: "a sidecar is restarted in a pod that restarts nothing else",
    given: {
      pod: withSidecar({ restartPolicy: "Never" }),
      observed: only(done("proxy", { exitCode: 1 }), done("migrate"), makeContainer()),
    },
    expected: ["start-container proxy 1"],
  },
  {
    sentence: "a sidecar that fails its liveness probe is killed",
    given: {
      pod: withSidecar(),
      observed: only(init("proxy"), done("migrate"), makeContainer()),
      probes: new Map([
        [
          "proxy-0",
          { isStarted: true, isReady: true, failure: { kind: "liveness", message: "m" } },
        ],
      ]),
    },
    expected: ["kill-container proxy-0 liveness-probe"],
  },
  {
    sentence: "a sidecar with a new image is killed to be replaced",
    given: {
      pod: withSidecar(),
      observed: only(init("proxy"), done("migrate"), makeContainer()),
      specHashes: new Map([["proxy", "other"]]),
    },
    expected: ["kill-container proxy-0 definition-changed"],
  },
  {
    sentence: "sidecars serve while an app container ends",
    given: {
      phase: "terminating",
      pod: deleting({ initContainers: [SIDECAR], containers: [{ name: "web" }] }),
      observed: only(init("proxy"), makeContainer()),
      endingSince: NOW,
    },
    expected: ["kill-container web-0 terminating"],
    waitMs: 20_000,
  },
  {
    sentence: "sidecars end in the reverse of their order",
    given: { phase: "terminating", pod: twoSidecars, observed: only(init("proxy"), init("mesh")) },
    expected: ["kill-container mesh-0 terminating"],
    waitMs: 30_000,
  },
  {
    sentence: "the first sidecar ends last",
    given: { phase: "terminating", pod: twoSidecars, observed: only(init("proxy"), done("mesh")) },
    expected: ["kill-container proxy-0 terminating"],
  },
  {
    sentence: "when the grace period is over sidecars wait no longer",
    given: {
      phase: "terminating",
      pod: deleting({ initContainers: [SIDECAR], containers: [{ name: "web" }] }),
      observed: only(init("proxy"), makeContainer()),
      operations: new Map([["web-0", { stop: operation({ graceSeconds: 20 }) }]]),
      endingSince: NOW - 20_000,
    },
    expected: ["kill-container proxy-0 terminating 2"],
  },
  {
    sentence: "a stop under way is waited for",
    given: {
      phase: "terminating",
      operations: new Map([["web-0", { stop: operation() }]]),
    },
    expected: [],
  },
  {
    sentence: "a stop under way that was given the least there is after a wait is not begun again",
    given: {
      phase: "terminating",
      pod: makePod(
        {},
        { deletionTimestamp: "2026-01-01T00:09:50Z", deletionGracePeriodSeconds: 0 },
      ),
      operations: new Map([["web-0", { stop: operation({ graceSeconds: 2 }) }]]),
      endingSince: NOW - 10_000,
    },
    expected: [],
  },
  {
    sentence: "a stop under way is hastened by a shorter grace period",
    given: {
      phase: "terminating",
      pod: deleting({ containers: [{ name: "web" }] }),
      operations: new Map([["web-0", { stop: operation() }]]),
      endingSince: NOW,
    },
    expected: ["kill-container web-0 terminating 20"],
  },
  {
    sentence: "a preStop hook runs before its container is stopped",
    given: {
      phase: "terminating",
      pod: deleting({ containers: [{ name: "web", ...PRE_STOP }] }),
      endingSince: NOW,
    },
    expected: ["run-pre-stop web-0 terminating"],
  },
  {
    sentence: "a sidecar's preStop hook runs with the others, though its stop comes later",
    given: {
      phase: "terminating",
      pod: deleting({
        initContainers: [{ ...SIDECAR, ...PRE_STOP }],
        containers: [{ name: "web" }],
      }),
      observed: only(init("proxy"), makeContainer()),
      endingSince: NOW,
    },
    expected: ["run-pre-stop proxy-0 terminating", "kill-container web-0 terminating"],
  },
  {
    sentence: "while the preStop hook runs the container is left alone",
    given: {
      phase: "terminating",
      pod: deleting({ containers: [{ name: "web", ...PRE_STOP }] }),
      operations: new Map([["web-0", { "pre-stop": operation() }]]),
      endingSince: NOW - 5_000,
    },
    expected: [],
    waitMs: 15_000,
  },
  {
    sentence: "after its preStop hook a container has what is left of the grace period",
    given: {
      phase: "terminating",
      pod: deleting({ containers: [{ name: "web", ...PRE_STOP }] }),
      operations: new Map([["web-0", { "pre-stop": operation({ status: "done" }) }]]),
      endingSince: NOW - 5_000,
    },
    expected: ["kill-container web-0 terminating 15"],
  },
  {
    sentence: "a clock that was set back lengthens no grace period",
    given: {
      phase: "terminating",
      pod: deleting({ containers: [{ name: "web", ...PRE_STOP }] }),
      operations: new Map([["web-0", { "pre-stop": operation({ status: "done" }) }]]),
      endingSince: NOW + 3_600_000,
    },
    expected: ["kill-container web-0 terminating 20"],
  },
  {
    sentence: "a preStop hook that fails stops nothing from ending",
    given: {
      phase: "terminating",
      pod: deleting({ containers: [{ name: "web", ...PRE_STOP }] }),
      operations: new Map([["web-0", { "pre-stop": operation({ status: "failed" }) }]]),
      endingSince: NOW - 5_000,
    },
    expected: ["kill-container web-0 terminating 15"],
  },
  {
    sentence: "a preStop hook that outlasts the grace period leaves two seconds",
    given: {
      phase: "terminating",
      pod: deleting({ containers: [{ name: "web", ...PRE_STOP }] }),
      operations: new Map([["web-0", { "pre-stop": operation() }]]),
      endingSince: NOW - 20_000,
    },
    expected: ["kill-container web-0 terminating 2"],
  },
  {
    sentence: "a container that fails its liveness probe has its preStop hook too",
    given: {
      pod: makePod({ containers: [{ name: "web", ...PRE_STOP }] }),
      probes: new Map([
        ["web-0", { isStarted: true, isReady: true, failure: { kind: "liveness", message: "m" } }],
      ]),
    },
    expected: ["run-pre-stop web-0 liveness-probe"],
  },
  {
    sentence: "the containers behind one with a postStart hook wait",
    given: { pod: hooked, observed: only() },
    expected: ["start-container web 0"],
  },
  {
    sentence: "they wait while the hook runs",
    given: {
      pod: hooked,
      observed: only(makeContainer()),
      operations: new Map([["web-0", { "post-start": operation() }]]),
    },
    expected: [],
  },
  {
    sentence: "they start when it is through",
    given: {
      pod: hooked,
      observed: only(makeContainer()),
      operations: new Map([["web-0", { "post-start": operation({ status: "done" }) }]]),
    },
    expected: ["start-container side 0"],
  },
  {
    sentence: "a failed postStart hook kills its container",
    given: {
      operations: new Map([["web-0", { "post-start": operation({ status: "failed" }) }]]),
    },
    expected: ["kill-container web-0 post-start-hook"],
  },
  {
    sentence: "an ephemeral container is started beside the others",
    given: { pod: makePod({ ephemeralContainers: [debug] }) },
    expected: ["start-container debug 0"],
  },
  {
    sentence: "an ephemeral container is started though an init container fails",
    given: {
      pod: makePod({ initContainers: [{ name: "migrate" }], ephemeralContainers: [debug] }),
      observed: only(done("migrate", { exitCode: 1 })),
    },
    expected: ["start-container debug 0", "start-container migrate 1"],
  },
  {
    sentence: "an ephemeral container that ended is not started again",
    given: {
      pod: makePod({ ephemeralContainers: [debug] }),
      observed: only(
        makeContainer(),
        makeContainer({ name: "debug", kind: "ephemeral", state: "exited", exitCode: 1 }),
      ),
    },
    expected: [],
  },
  {
    sentence: "an ephemeral container of which only the status is left is not started again",
    given: {
      pod: makePod({ ephemeralContainers: [debug] }),
      previous: {
        ephemeralContainerStatuses: [
          {
            ...{ name: "debug", image: "", imageID: "", ready: false, restartCount: 0 },
            containerID: "docker://x",
          },
        ],
      },
    },
    expected: [],
  },
  {
    sentence: "a container's own policy goes before its pod's",
    given: {
      pod: makePod({
        restartPolicy: "Never",
        containers: [{ name: "web", restartPolicy: "OnFailure" }],
      }),
      observed: only(makeContainer({ state: "exited", exitCode: 1 })),
    },
    expected: ["start-container web 1"],
  },
  {
    sentence: "a restart rule goes before the policy",
    given: {
      pod: makePod({ containers: [{ name: "web", ...rule("Restart") }] }),
      observed: only(makeContainer({ state: "exited", exitCode: 42 })),
    },
    expected: ["start-container web 1"],
  },
  {
    sentence: "an exit code that no rule names follows the policy",
    given: {
      pod: makePod({ containers: [{ name: "web", ...rule("Restart") }] }),
      observed: only(makeContainer({ state: "exited", exitCode: 41 })),
    },
    expected: [],
  },
  {
    sentence: "NotIn rules name all other exit codes",
    given: {
      pod: makePod({
        containers: [
          {
            name: "web",
            restartPolicy: "Never",
            restartPolicyRules: [
              { action: "Restart", exitCodes: { operator: "NotIn", values: [1] } },
            ],
          },
        ],
      }),
      observed: only(makeContainer({ state: "exited", exitCode: 2 })),
    },
    expected: ["start-container web 1"],
  },
  {
    sentence:
      "an init container whose own policy is Never fails its pod, which then starts nothing",
    given: {
      pod: makePod({ initContainers: [{ name: "migrate", restartPolicy: "Never" }] }),
      observed: only(done("migrate", { exitCode: 1 })),
    },
    expected: [],
  },
  {
    sentence: "RestartAllContainers ends everything that runs, without hooks",
    given: {
      pod: makePod({
        initContainers: [{ ...SIDECAR, ...PRE_STOP }],
        containers: [{ name: "web", ...rule("RestartAllContainers") }, { name: "side" }],
      }),
      observed: only(
        init("proxy"),
        makeContainer({ state: "exited", exitCode: 42 }),
        makeContainer({ name: "side" }),
      ),
    },
    expected: ["kill-container proxy-0 restart-all", "kill-container side-0 restart-all"],
  },
  {
    sentence: "RestartAllContainers that comes again at once waits for its back-off",
    given: {
      pod: makePod({ containers: [{ name: "web", ...rule("RestartAllContainers") }] }),
      observed: only(makeContainer({ state: "exited", exitCode: 42 })),
      backoff: new Map([["web", { delayMs: 10_000, since: NOW - 50_000 }]]),
    },
    expected: [],
    waitMs: 5000,
  },
  {
    sentence: "RestartAllContainers then removes everything, so that the pod begins anew",
    given: {
      pod: makePod({ containers: [{ name: "web", ...rule("RestartAllContainers") }] }),
      observed: only(done("migrate"), makeContainer({ state: "exited", exitCode: 42 })),
    },
    expected: ["remove-container migrate-0"],
  },
  {
    sentence: "the container whose rule it was goes last: an agent that died before still knows",
    given: {
      pod: makePod({ containers: [{ name: "web", ...rule("RestartAllContainers") }] }),
      observed: only(
        makeContainer({ state: "exited", exitCode: 42 }),
        makeContainer({ name: "side", state: "exited", exitCode: 137 }),
      ),
    },
    expected: ["remove-container side-0"],
  },
  {
    sentence: "when all others are gone it goes too",
    given: {
      pod: makePod({ containers: [{ name: "web", ...rule("RestartAllContainers") }] }),
      observed: only(makeContainer({ state: "exited", exitCode: 42 })),
    },
    expected: ["remove-container web-0"],
  },
];
