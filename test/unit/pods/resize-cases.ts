/** What the planner does about a resize that was granted. */

import type { Container as ContainerSpec } from "../../../src/api/types.ts";
import type { Allocation, PodSnapshot } from "../../../src/pods/snapshot.ts";
import { RESOURCES_ANNOTATION } from "../../../src/runtime/container-config.ts";
import type { Container } from "../../../src/runtime/runtime.ts";
import type { PlanCase } from "./plan-case.ts";
import { makeContainer, makePod, makeSandbox, NOW } from "./support.ts";

const MI = 2 ** 20;
const SMALL = { requests: { cpu: "100m" }, limits: { cpu: "200m", memory: "64Mi" } };
const BIG = { requests: { cpu: "300m" }, limits: { cpu: "400m", memory: "128Mi" } };
const ofSmall = {
  annotations: { [RESOURCES_ANNOTATION]: JSON.stringify(SMALL) },
  resources: { cpuShares: 102, cpuQuotaMicros: 20_000, memoryBytes: 64 * MI },
};
const ofBig = {
  ...ofSmall,
  resources: { cpuShares: 307, cpuQuotaMicros: 40_000, memoryBytes: 128 * MI },
};
export const OPEN: Allocation = { containers: { web: BIG }, generation: 2, isDone: false };

/** A pod that was granted the big resources. */
export function resized(
  fields: Partial<Container>,
  container: Partial<ContainerSpec> = {},
  more: Partial<PodSnapshot> = {},
): Partial<PodSnapshot> {
  return {
    pod: makePod({ containers: [{ name: "web", resources: BIG, ...container }] }),
    allocation: OPEN,
    observed: {
      sandboxes: [makeSandbox()],
      containers: [makeContainer({ ...ofSmall, ...fields })],
    },
    ...more,
  };
}

const restarting = (resourceName: string) => ({
  resizePolicy: [{ resourceName, restartPolicy: "RestartContainer" }],
});
const INIT = { name: "init", resources: BIG };
const initOf = (fields: Partial<Container>, restartPolicy?: string): Partial<PodSnapshot> => ({
  pod: makePod({
    containers: [{ name: "web" }],
    initContainers: [{ ...INIT, ...(restartPolicy === undefined ? {} : { restartPolicy }) }],
  }),
  allocation: { ...OPEN, containers: { init: BIG, web: {} } },
  observed: {
    sandboxes: [makeSandbox()],
    containers: [makeContainer({ name: "init", kind: "init", ...ofSmall, ...fields })],
  },
});

export const RESIZE_CASES: readonly PlanCase[] = [
  {
    sentence: "a running container gets in place what is allocated",
    given: resized({}),
    expected: ["resize-container web-0"],
  },
  {
    sentence: "the pod's cgroup comes last",
    given: resized(ofBig),
    expected: ["finish-resize"],
  },
  {
    sentence: "what is done is not done again, whatever the runtime says",
    given: resized({}, {}, { allocation: { ...OPEN, isDone: true } }),
    expected: [],
  },
  {
    sentence: "a change of a resource with RestartContainer ends the container",
    given: resized({}, restarting("memory")),
    expected: ["kill-container web-0 resize"],
  },
  {
    sentence: "a request of such a resource is a change too, though no cgroup tells it",
    given: resized(ofBig, restarting("cpu")),
    expected: ["kill-container web-0 resize"],
  },
  {
    sentence: "a policy of a resource that stays restarts nothing",
    given: resized(
      {
        ...ofSmall,
        annotations: {
          [RESOURCES_ANNOTATION]: JSON.stringify({
            ...SMALL,
            limits: { cpu: "200m", memory: "128Mi" },
          }),
        },
      },
      restarting("memory"),
    ),
    expected: ["resize-container web-0"],
  },
  {
    sentence:
      "what was ended for its resize starts again without a back-off, before the resize is over",
    given: resized({ ...ofSmall, state: "exited", exitCode: 137 }, restarting("memory"), {
      replaced: new Set(["web-0"]),
      backoff: new Map([["web", { delayMs: 10_000, since: NOW }]]),
    }),
    expected: ["start-container web 1"],
  },
  {
    sentence: "what failed is tried again after a while",
    given: resized({}, {}, { resizeFailure: { message: "m", retryAt: NOW + 3000 } }),
    expected: [],
    waitMs: 3000,
  },
  {
    sentence: "so is the pod's cgroup",
    given: resized(ofBig, {}, { resizeFailure: { message: "m", retryAt: NOW + 3000 } }),
    expected: [],
    waitMs: 3000,
  },
  {
    sentence: "when its time has come it is tried again",
    given: resized({}, {}, { resizeFailure: { message: "m", retryAt: NOW } }),
    expected: ["resize-container web-0"],
  },
  {
    sentence: "a running init container is resized in place",
    given: initOf({}),
    expected: ["resize-container init-0"],
  },
  {
    sentence: "one that has ended keeps nobody waiting",
    given: initOf({ state: "exited" }),
    expected: ["start-container web 0", "finish-resize"],
  },
  {
    sentence: "a sidecar is resized in place",
    given: initOf({}, "Always"),
    expected: ["resize-container init-0", "start-container web 0"],
  },
  {
    sentence: "a pod that ends is not resized any more",
    given: resized({}, {}, { phase: "terminating" }),
    expected: ["kill-container web-0 terminating"],
  },
];
