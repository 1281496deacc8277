/** What of a pod runs again when, by the rules of its containers, and when it counts as Ready by gates of others. */

import { beforeAll, describe, expect, test } from "vitest";
import { IDLE, isReady, podManifest, type SeenPod, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();

const volumes = [{ name: "d", emptyDir: {} }];
const volumeMounts = [{ name: "d", mountPath: "/d" }];
/** Ends with `first` in its first run, and goes on with `then` in later ones. */
const twice = (name: string, first: number, then: string, more: object = {}) =>
  shell(name, `echo x >>/d/${name}; [ $(wc -l </d/${name}) -eq 1 ] && exit ${first}; ${then}`, {
    volumeMounts,
    ...more,
  });
const rule = (action: string, operator: string, ...values: readonly number[]) => ({
  restartPolicy: "Never",
  restartPolicyRules: [{ action, exitCodes: { operator, values } }],
});
const restartsOf = (pod: SeenPod, name: string) =>
  [...(pod.status.initContainerStatuses ?? []), ...(pod.status.containerStatuses ?? [])].find(
    (status) => status.name === name,
  )?.restartCount;

beforeAll(async () => {
  await cluster.apply(
    podManifest("matched", {
      restartPolicy: "Never",
      containers: [twice("main", 42, "exit 0", rule("Restart", "In", 42))],
      volumes,
    }),
    podManifest("unmatched", {
      restartPolicy: "Never",
      containers: [twice("main", 42, "exit 0", rule("Restart", "NotIn", 0, 42))],
      volumes,
    }),
    podManifest("own-policy", {
      restartPolicy: "Never",
      containers: [twice("main", 1, "exit 0", { restartPolicy: "OnFailure" })],
      volumes,
    }),
    podManifest("all", {
      restartPolicy: "Never",
      initContainers: [shell("init", "echo x >>/d/init", { volumeMounts })],
      containers: [
        twice("main", 88, IDLE, rule("RestartAllContainers", "In", 88)),
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
    expect(restartsOf(pod, "main")).toBe(restarts);
  });

  test("may have all of its pod run again, init containers too", async () => {
    const pod = await cluster.until(
      "all",
      "Ready after all were restarted",
      (seen) => isReady(seen) && restartsOf(seen, "main") === 1,
    );
    expect(pod.status.phase).toBe("Running");
    expect(restartsOf(pod, "other")).toBe(1);
    const runs = await cluster.kubectl("exec", "all", "-c", "main", "--", "cat", "/d/init");
    expect(runs).toBe("x\nx\n");
  });
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
