/** Pods of many parts: sidecars in their order, stop signals, and a great many containers. */

import { describe, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();
const DIR = "/var/tmp/longshore-order";

/** A hostPath volume in which every container of the pod writes lines to one file. */
const SHARED = { volumes: [{ name: "order", hostPath: { path: DIR, type: "DirectoryOrCreate" } }] };
const MOUNT = { volumeMounts: [{ name: "order", mountPath: "/order" }] };

/** Writes when it starts and when it is told to end. */
function noting(pod: string, name: string, more: object = {}): object {
  const script = `echo start ${name} >>/order/${pod}; trap 'echo end ${name} >>/order/${pod}; exit 0' TERM; while true; do sleep 0.2; done`;
  return shell(name, script, { ...MOUNT, ...more });
}

const linesOf = async (pod: string): Promise<readonly string[]> =>
  (await cluster.node.sh(`cat ${DIR}/${pod}`)).trim().split("\n");

describe.concurrent("a pod of many parts", () => {
  test("starts its sidecars in order, each when the one before has started, and ends them last and in reverse", async () => {
    const started = {
      startupProbe: {
        exec: { command: ["test", "-e", "/tmp/up"] },
        ...{ periodSeconds: 1, failureThreshold: 60 },
      },
    };
    const slow = {
      ...noting("sidecars", "one", { restartPolicy: "Always", ...started }),
      command: [
        ...["sh", "-c"],
        "sleep 1; echo start one >>/order/sidecars; touch /tmp/up; trap 'echo end one >>/order/sidecars; exit 0' TERM; while true; do sleep 0.2; done",
      ],
    };
    await cluster.apply(
      podManifest("sidecars", {
        ...SHARED,
        terminationGracePeriodSeconds: 20,
        initContainers: [
          slow,
          noting("sidecars", "two", { restartPolicy: "Always" }),
          shell("setup", "echo setup >>/order/sidecars", MOUNT),
        ],
        containers: [
          noting("sidecars", "main", {
            lifecycle: {
              preStop: { exec: { command: ["sh", "-c", "echo hook >>/order/sidecars; sleep 1"] } },
            },
          }),
        ],
      }),
    );
    const pod = await cluster.ready("sidecars");
    expect(pod.status.initContainerStatuses?.map(({ ready }) => ready)).toEqual([true, true, true]);
    expect(await cluster.kubectl("get", "pod", "sidecars")).toMatch(/sidecars\s+3\/3\s+Running/);
    await cluster.kubectl("delete", "pod", "sidecars");
    expect(await linesOf("sidecars")).toEqual([
      ...["start one", "start two", "setup", "start main"],
      ...["hook", "end main", "end two", "end one"],
    ]);
  });

  test("a sidecar that crashes is restarted without the others, and a Job's pod ends although one runs", async () => {
    await cluster.apply(
      podManifest("job-with-sidecar", {
        restartPolicy: "Never",
        volumes: [{ name: "v", emptyDir: {} }],
        initContainers: [
          shell("side", `[ -e /v/x ] && { ${IDLE}; }; touch /v/x; sleep 1; exit 7`, {
            restartPolicy: "Always",
            volumeMounts: [{ name: "v", mountPath: "/v" }],
          }),
        ],
        containers: [shell("main", "sleep 3")],
      }),
    );
    const done = await cluster.until(
      "job-with-sidecar",
      "Succeeded",
      ({ status }) => status.phase === "Succeeded",
    );
    expect(done.status.initContainerStatuses?.[0]?.restartCount).toBe(1);
    expect(done.status.containerStatuses?.[0]?.restartCount).toBe(0);
  });

  test("lifecycle.stopSignal is the signal a container gets", async () => {
    const script =
      "trap 'echo usr1 >>/order/signal; exit 0' USR1; trap 'echo term >>/order/signal; exit 0' TERM; while true; do sleep 0.2; done";
    await cluster.apply(
      podManifest("signal", {
        ...SHARED,
        os: { name: "linux" },
        terminationGracePeriodSeconds: 5,
        containers: [shell("main", script, { ...MOUNT, lifecycle: { stopSignal: "SIGUSR1" } })],
      }),
    );
    await cluster.ready("signal");
    await cluster.kubectl("delete", "pod", "signal");
    expect(await linesOf("signal")).toEqual(["usr1"]);
  });

  test("50 containers run in one pod, and 30 init containers one after the other in another", async () => {
    const many = (count: number, script: string): object[] =>
      Array.from({ length: count }, (_, index) => shell(`c${index}`, script));
    await cluster.apply(
      podManifest("fifty", { containers: many(50, IDLE) }),
      podManifest("thirty", {
        initContainers: many(30, "true"),
        containers: [shell("main", IDLE)],
      }),
    );
    const fifty = await cluster.ready("fifty", 180_000);
    expect(fifty.status.containerStatuses?.every(({ restartCount }) => restartCount === 0)).toBe(
      true,
    );
    const thirty = await cluster.ready("thirty", 180_000);
    expect(thirty.status.initContainerStatuses).toHaveLength(30);
    await cluster.kubectl("delete", "pod", "fifty", "thirty", "--wait=false");
    await eventually("nothing of them is left", async () => {
      const ids = [...(await cluster.node.containerIds()).keys()];
      return ids.every((id) => !/^(fifty|thirty)\//.test(id));
    });
  }, 300_000);
});
