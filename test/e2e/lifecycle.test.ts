/** Pods as clients change and remove them: deadlines, images, statuses, collections. */

import { describe, expect, test } from "vitest";
import { IDLE, isReady, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();

/** Runs until it is killed, so that what is seen in its grace period is no matter of luck. */
const STUBBORN = "trap '' TERM; while true; do sleep 0.2; done";
const patch = (name: string, ...rest: readonly string[]) =>
  cluster.kubectl("patch", "pod", name, ...rest);
const raw = (rest: string) => `/api/v1/namespaces/${cluster.namespace}/pods${rest}`;

describe.concurrent("a running pod", () => {
  test("fails when its deadline is lowered to a time that is over", async () => {
    await cluster.apply(podManifest("late", { containers: [shell("main", IDLE)] }));
    const pod = await cluster.ready("late");
    expect(pod.status.hostIP).toMatch(/^\d+\./);
    await patch("late", "-p", '{"spec":{"activeDeadlineSeconds":5}}');
    const failed = await cluster.until("late", "Failed", ({ status }) => status.phase === "Failed");
    expect(failed.status.reason).toBe("DeadlineExceeded");
    const raise = ["patch", "pod", "late", "-p", '{"spec":{"activeDeadlineSeconds":6}}'];
    expect((await cluster.tryKubectl(...raise)).stderr).toContain(
      "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value",
    );
  });

  test("stays Ready right after an edit of an image, which restarts that container alone", async () => {
    await cluster.node.sh("docker tag busybox busybox:newer");
    await cluster.apply(
      podManifest("edited", {
        terminationGracePeriodSeconds: 3,
        containers: [shell("main", STUBBORN), shell("other", IDLE)],
      }),
    );
    const before = await cluster.ready("edited");
    const both = `kubectl -n ${cluster.namespace} set image pod/edited main=busybox:newer && kubectl -n ${cluster.namespace} get pod edited -o json`;
    const text = await cluster.node.sh(both);
    const right = JSON.parse(text.slice(text.indexOf("{"))) as typeof before;
    expect(isReady(right)).toBe(true);
    expect(right.status.conditions).toContainEqual(
      expect.objectContaining({ type: "ContainersReady", status: "True" }),
    );
    const after = await cluster.until(
      "edited",
      "Ready with the new image",
      (pod) => isReady(pod) && pod.status.containerStatuses?.[0]?.restartCount === 1,
    );
    expect(after.status.containerStatuses?.[1]).toEqual(before.status.containerStatuses?.[1]);
    expect(after.status.containerStatuses?.[0]?.lastState.terminated).toBeDefined();
  });

  test("takes back a status that somebody else wrote", async () => {
    await cluster.apply(podManifest("forged", { containers: [shell("main", IDLE)] }));
    await cluster.ready("forged");
    const forged = { status: { conditions: [{ type: "Ready", status: "False" }] } };
    await patch("forged", "--subresource=status", "-p", JSON.stringify(forged));
    await cluster.ready("forged", 90_000);
  });

  test("keeps a condition of somebody else", async () => {
    await cluster.apply(podManifest("foreign", { containers: [shell("main", IDLE)] }));
    await cluster.ready("foreign");
    const condition = { type: "example.com/mine", status: "True", reason: "Because" };
    const patched = { status: { conditions: [condition] } };
    await patch("foreign", "--subresource=status", "-p", JSON.stringify(patched));
    await patch("foreign", "-p", '{"spec":{"activeDeadlineSeconds":600}}');
    const pod = await cluster.until(
      "foreign",
      "observed",
      ({ status }) => status.observedGeneration === 2,
    );
    expect(pod.status.conditions).toContainEqual(expect.objectContaining(condition));
  });

  test("is deleted after its grace period, and a watch sees it go", async () => {
    await cluster.apply(
      podManifest("watched", {
        terminationGracePeriodSeconds: 3,
        containers: [shell("main", STUBBORN)],
      }),
    );
    await cluster.ready("watched");
    const watch = await cluster.watch();
    await cluster.kubectl("delete", "pod", "watched", "--wait=false");
    const seen = await eventually("the watch saw the end", async () => {
      const updates = await watch.read("watched");
      return updates.at(-1)?.type === "DELETED" && updates;
    });
    await watch.stop();
    const graces = seen.map(({ object }) => object.metadata.deletionGracePeriodSeconds);
    expect(graces).toContain(3);
    expect(seen.find(({ object }) => object.metadata.deletionTimestamp)?.type).toBe("MODIFIED");
  });

  test("is deleted with others as a collection", async () => {
    const names = ["many-1", "many-2", "many-3"];
    const containers = [shell("main", IDLE)];
    await cluster.apply(...names.map((name) => podManifest(name, { containers }, { many: "x" })));
    for (const name of names) await cluster.ready(name);
    await cluster.kubectl("delete", "--raw", raw("?labelSelector=many%3Dx&gracePeriodSeconds=1"));
    for (const name of names) await cluster.gone(name);
  });

  test("follows a change of its labels", async () => {
    await cluster.apply(podManifest("labelled", { containers: [shell("main", IDLE)] }));
    await cluster.ready("labelled");
    await cluster.kubectl("label", "pod", "labelled", "time=now");
    expect(await cluster.kubectl("get", "pods", "-l", "time=now", "-o", "name")).toBe(
      "pod/labelled\n",
    );
  });
});
