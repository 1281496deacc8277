/** Pods that use more of the disk than they may are evicted; their neighbours stay. Of kill -9 crash.test.ts tells. */

import { expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();

const limits = { resources: { limits: { "ephemeral-storage": "4Mi" } } };
const onDisk = (sizeLimit: string) => [{ name: "x", emptyDir: { sizeLimit } }];
const volumeMounts = [{ name: "x", mountPath: "/x" }];
/** Only SIGKILL ends it. */
const STUBBORN = "trap '' TERM; while true; do sleep 0.2; done";
const fill = (path: string, then = STUBBORN): string =>
  `dd if=/dev/zero of=${path} bs=1M count=8; ${then}`;

test("a full emptyDir, a full root and huge logs end their pods, a neighbour stays", async () => {
  await cluster.apply(
    podManifest("dir", {
      terminationGracePeriodSeconds: 600,
      containers: [shell("c", fill("/x/f"), { volumeMounts })],
      volumes: onDisk("1Mi"),
    }),
    podManifest("root", { containers: [shell("c", fill("/f"), limits), shell("d", IDLE)] }),
    podManifest("sum", {
      containers: [
        shell("c", fill("/f"), { resources: { limits: { "ephemeral-storage": "1Mi" } } }),
        shell("d", IDLE, { resources: { limits: { "ephemeral-storage": "1Gi" } } }),
      ],
    }),
    podManifest("logs", {
      containers: [shell("c", `yes | head -c 400000; ${IDLE}`, limits)],
    }),
    podManifest("neighbour", {
      containers: [shell("c", `ln -s /bin /x/bin; ${fill("/x/f", IDLE)}`, { volumeMounts })],
      volumes: onDisk("1Gi"),
    }),
  );
  const total = "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ";
  const messages = {
    dir: 'Usage of EmptyDir volume "x" exceeds the limit "1Mi". ',
    root: total,
    sum: 'Container c exceeded its local ephemeral storage limit "1Mi". ',
    logs: total,
  };
  for (const [name, message] of Object.entries(messages)) {
    const { status } = await cluster.until(
      name,
      "evicted",
      (pod) => pod.status.phase === "Failed",
      120_000,
    );
    expect(status).toMatchObject({ reason: "Evicted", message });
    expect(status.containerStatuses?.every(({ state }) => state.terminated)).toBe(true);
    expect(status.conditions.map(({ type }) => type)).not.toContain("DisruptionTarget");
  }
  const events = await cluster.kubectl(
    ...["get", "events", "--field-selector", "reason=Evicted,type=Warning"],
    ...["-o", "jsonpath={range .items[*]}{.involvedObject.name}: {.message}{'\\n'}{end}"],
  );
  expect(
    events
      .trimEnd()
      .split("\n")
      .map((line) => line.trim())
      .sort(),
  ).toEqual(
    Object.entries(messages)
      .map(([name, message]) => `${name}: ${message}`.trim())
      .sort(),
  );
  expect(await cluster.kubectl("get", "pod", "neighbour", "--no-headers")).toMatch(
    /1\/1 +Running +0/,
  );
}, 180_000);
