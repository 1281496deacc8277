/** metadata.generation counts changes of the spec, and status.observedGeneration follows. */

import { expect, test } from "vitest";
import { IDLE, podManifest, type SeenPod, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();

const converged =
  (generation: number) =>
  ({ metadata, status }: SeenPod): boolean =>
    metadata.generation === generation && status.observedGeneration === generation;

const merge = (name: string, patch: object) =>
  cluster.kubectl("patch", "pod", name, "--type=merge", "-p", JSON.stringify(patch));

test("the generation starts at 1, moves with the spec alone, and is observed each time", async () => {
  await cluster.node.sh("docker tag busybox busybox:other");
  await cluster.apply(
    podManifest("counted", {
      initContainers: [shell("init", "true")],
      containers: [shell("main", IDLE)],
    }),
  );
  await cluster.ready("counted");
  await cluster.until("counted", "at 1", converged(1));
  await merge("counted", { metadata: { labels: { a: "b" }, generation: 7 } });
  expect((await cluster.pod("counted")).metadata.generation).toBe(1);
  const toleration = { key: "k", operator: "Exists", effect: "NoSchedule" };
  const changes = [
    [{ op: "add", path: "/spec/tolerations/-", value: toleration }],
    [{ op: "add", path: "/spec/activeDeadlineSeconds", value: 5000 }],
    [{ op: "replace", path: "/spec/containers/0/image", value: "busybox:other" }],
    [{ op: "replace", path: "/spec/initContainers/0/image", value: "busybox:other" }],
  ];
  for (const [index, change] of changes.entries()) {
    await cluster.kubectl("patch", "pod", "counted", "--type=json", "-p", JSON.stringify(change));
    await cluster.until("counted", `at ${index + 2}`, converged(index + 2), 20_000);
  }
});

test("the generation a client chose is not taken, and a graceful deletion adds one", async () => {
  const manifest = podManifest("deleted", {
    terminationGracePeriodSeconds: 20,
    containers: [shell("main", "trap '' TERM; while true; do sleep 0.2; done")],
  }) as { metadata: object };
  await cluster.apply({ ...manifest, metadata: { ...manifest.metadata, generation: 100 } });
  await cluster.ready("deleted");
  expect((await cluster.pod("deleted")).metadata.generation).toBe(1);
  await cluster.kubectl("delete", "pod", "deleted", "--wait=false");
  await cluster.until("deleted", "at 2", converged(2), 15_000);
  await cluster.kubectl("delete", "pod", "deleted", "--grace-period=0", "--force");
});

test("500 quick changes are all counted, and the last is observed", async () => {
  await cluster.apply(
    podManifest("busy", { activeDeadlineSeconds: 10_000, containers: [shell("main", IDLE)] }),
  );
  await cluster.ready("busy");
  await cluster.node.background("proxy", "kubectl proxy --port 8099");
  await cluster.node.sh(
    `for i in $(seq 100); do curl -sf localhost:8099/readyz && break; sleep 0.1; done
    for i in $(seq 499); do
      curl -sf -o /dev/null -X PATCH -H 'content-type: application/merge-patch+json' -d '{"spec":{"activeDeadlineSeconds":'$((10000 - i))'}}' \
        localhost:8099/api/v1/namespaces/${cluster.namespace}/pods/busy || exit 1
    done`,
    { timeoutMs: 150_000 },
  );
  await cluster.node.kill("proxy", "TERM");
  const pod = await cluster.until("busy", "at 500", converged(500), 30_000);
  expect(pod.status.containerStatuses?.[0]?.restartCount).toBe(0);
});
