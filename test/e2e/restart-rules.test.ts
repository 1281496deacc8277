/** What of a pod runs again when, by the rules of its containers, and when it counts as Ready by gates of others. */

import { beforeAll, describe, expect, test } from "vitest";
import { IDLE, isReady, podManifest, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();

const volumes = [{ name: "d", emptyDir: {} }];
const volumeMounts = [{ name: "d", mountPath: "/d" }];
/** Ends with `first` in its first run, and well in the second. */
const twice = (first: number, more: object) =>
  shell("main", `[ -e /d/ran ] && exit 0; touch /d/ran; exit ${first}`, { volumeMounts, ...more });
/** A container that only its rule starts again. */
const rule = (operator: string, ...values: readonly number[]) => ({
  restartPolicy: "Never",
  restartPolicyRules: [{ action: "Restart", exitCodes: { operator, values } }],
});

beforeAll(async () => {
  await cluster.apply(
    podManifest("matched", {
      restartPolicy: "Never",
      containers: [twice(42, rule("In", 42))],
      volumes,
    }),
    podManifest("unmatched", {
      restartPolicy: "Never",
      containers: [twice(42, rule("NotIn", 0, 42))],
      volumes,
    }),
    podManifest("own-policy", {
      restartPolicy: "Never",
      containers: [twice(1, { restartPolicy: "OnFailure" })],
      volumes,
    }),
    podManifest("all", {
      restartPolicy: "Never",
      initContainers: [shell("setup", "true")],
      containers: [
        shell("main", `[ -e /d/ran ] && { ${IDLE}; }; touch /d/ran; exit 42`, {
          volumeMounts,
          restartPolicy: "Never",
          restartPolicyRules: [
            { action: "RestartAllContainers", exitCodes: { operator: "In", values: [42] } },
          ],
        }),
        shell("other", IDLE),
      ],
      volumes,
    }),
    podManifest("gated", {
      readinessGates: [{ conditionType: "example.com/open" }],
      containers: [shell("main", IDLE)],
    }),
  );
});

describe("a container", () => {
  test.each([
    ["matched", "Succeeded", 1],
    ["unmatched", "Failed", 0],
    ["own-policy", "Succeeded", 1],
  ] as const)("runs again as its own rules say: %s", async (name, phase, restarts) => {
    const pod = await cluster.until(name, phase, ({ status }) => status.phase === phase);
    expect(pod.status.containerStatuses?.[0]?.restartCount).toBe(restarts);
  });
});

test("RestartAllContainers begins the pod anew, init containers too, with its address and its data", async () => {
  const pod = await cluster.until("all", "restarted", ({ status }) =>
    (status.containerStatuses ?? []).every(
      ({ ready, restartCount }) => ready && restartCount === 1,
    ),
  );
  expect(pod.status.initContainerStatuses?.map(({ restartCount }) => restartCount)).toEqual([1]);
});

test("a pod is Ready when its gates are open, and no longer when one is shut", async () => {
  const set = (status: string) =>
    cluster.kubectl(
      ...["patch", "pod", "gated", "--subresource=status", "-p"],
      JSON.stringify({ status: { conditions: [{ type: "example.com/open", status }] } }),
    );
  const shut = await cluster.until(
    "gated",
    "running behind its gate",
    ({ status }) => status.containerStatuses?.[0]?.ready === true,
  );
  expect(isReady(shut)).toBe(false);
  expect(shut.status.conditions).toContainEqual(
    expect.objectContaining({ type: "Ready", status: "False", reason: "ReadinessGatesNotReady" }),
  );
  expect(await cluster.kubectl("get", "pod", "gated", "-o", "wide")).toMatch(/0\/1\s*$/m);
  await set("True");
  await cluster.ready("gated");
  expect(await cluster.kubectl("get", "pod", "gated", "-o", "wide")).toMatch(/1\/1\s*$/m);
  await set("False");
  await cluster.until("gated", "shut again", (pod) => !isReady(pod));
});
