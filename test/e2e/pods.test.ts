/** Scenarios 1 to 6, 13 and 14: one pod through its life, with kubectl. */

import { describe, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();

describe.concurrent("a pod", () => {
  test("scenario 1: goes from Pending to Running and shows in kubectl's columns", async () => {
    await cluster.apply(podManifest("one", { containers: [shell("main", IDLE)] }));
    const pod = await cluster.ready("one");
    expect(pod.status.phase).toBe("Running");
    expect(pod.status.podIP).toMatch(/^10\.244\./);
    const table = await cluster.kubectl("get", "pod", "one");
    expect(table).toMatch(
      /NAME\s+READY\s+STATUS\s+RESTARTS\s+AGE\none\s+1\/1\s+Running\s+0\s+\d+s/,
    );
  });

  test("scenario 2: is described with node, IP, container ID, state, QoS, conditions and events", async () => {
    await cluster.apply(podManifest("described", { containers: [shell("main", IDLE)] }));
    await cluster.ready("described");
    const text = await eventually("the Started event is written", async () => {
      const described = await cluster.kubectl("describe", "pod", "described");
      return described.includes("Started") && described;
    });
    for (const part of [
      /Node:\s+node1\//,
      /IP:\s+10\.244\./,
      /Container ID:\s+docker:\/\/[0-9a-f]{64}/,
      /Image ID:\s+\S*sha256:/,
      /State:\s+Running\s+Started:\s+\w/,
      /QoS Class:\s+BestEffort/,
      /Ready\s+True/,
      /PodScheduled\s+True/,
      /Scheduled/,
      /Pulled/,
      /Created/,
    ])
      expect(text).toMatch(part);
  });

  test("scenario 3: an image that does not exist waits, and the corrected one starts the same pod", async () => {
    await cluster.apply(
      podManifest("typo", { containers: [{ ...shell("main", IDLE), image: "no-such-image:1" }] }),
    );
    const seen = new Set<string>();
    const before = await cluster.until(
      "typo",
      "in ImagePullBackOff",
      (pod) => {
        const waiting = pod.status.containerStatuses?.[0]?.state.waiting;
        if (waiting !== undefined) seen.add(waiting.reason);
        return waiting?.reason === "ImagePullBackOff";
      },
      90_000,
    );
    expect(before.status.phase).toBe("Pending");
    expect(await cluster.eventReasons("typo")).toContain("Failed");
    await cluster.kubectl("set", "image", "pod/typo", "main=busybox:latest");
    const after = await cluster.ready("typo", 90_000);
    expect(after.metadata.uid).toBe(before.metadata.uid);
  }, 200_000);

  test("scenario 4: gets SIGTERM, then SIGKILL after its grace period, and its data goes with it", async () => {
    const script = "trap 'echo TERM' TERM; touch /data/file; while true; do sleep 0.2; done";
    await cluster.apply(
      podManifest("stubborn", {
        terminationGracePeriodSeconds: 3,
        containers: [shell("main", script, { volumeMounts: [{ name: "d", mountPath: "/data" }] })],
        volumes: [{ name: "d", emptyDir: {} }],
      }),
    );
    const pod = await cluster.ready("stubborn");
    const started = Date.now();
    await cluster.kubectl("delete", "pod", "stubborn", "--wait=false");
    const table = await cluster.kubectl("get", "pod", "stubborn");
    expect(table).toContain("Terminating");
    await cluster.gone("stubborn");
    expect(Date.now() - started).toBeGreaterThan(2_500);
    const left = await cluster.node.sh(
      `ls -d /var/lib/longshore/pods/${pod.metadata.uid} 2>/dev/null; docker ps -aq --filter label=io.kubernetes.pod.uid=${pod.metadata.uid}; grep ${pod.metadata.uid} /proc/self/mountinfo || true`,
    );
    expect(left).toBe("");
  });

  test("scenario 5: shows its logs with every option of kubectl logs", async () => {
    const script = `for i in 1 2 3 4 5; do echo line $i; done; sleep 1; echo to-stderr >&2; ${IDLE}`;
    await cluster.apply(
      podManifest("logs", {
        containers: [shell("main", script), shell("other", `echo other; ${IDLE}`)],
      }),
    );
    await cluster.ready("logs");
    const logs = (...args: string[]) => cluster.kubectl("logs", "logs", "-c", "main", ...args);
    // The Engine reads the two streams apart: only what lies well apart in time has an order.
    const all = await eventually("both streams are logged", async () => {
      const text = await logs();
      return text.includes("to-stderr") && text;
    });
    expect(all).toBe("line 1\nline 2\nline 3\nline 4\nline 5\nto-stderr\n");
    expect(await cluster.kubectl("logs", "logs", "-c", "other")).toBe("other\n");
    expect(await logs("--tail=2")).toBe("line 5\nto-stderr\n");
    expect(await logs("--limit-bytes=4")).toBe("line");
    expect(await logs("--timestamps", "--tail=1")).toMatch(/^\d{4}-\d\d-\d\dT\S+Z to-stderr\n$/);
    expect(await logs("--since=1h")).toContain("line 1");
    expect((await cluster.tryKubectl("logs", "logs", "-c", "nothing")).stderr).toContain("nothing");
    const follow = await cluster.node.exec([
      "timeout",
      "2",
      "kubectl",
      "-n",
      cluster.namespace,
      "logs",
      "-f",
      "logs",
      "-c",
      "main",
    ]);
    expect(follow.stdout).toContain("line 5");
  });

  test("scenario 5: shows the previous instance's logs after a crash", async () => {
    const script = `[ -f /d/x ] && { ${IDLE}; }; touch /d/x; echo first words; exit 1`;
    await cluster.apply(
      podManifest("crashed", {
        containers: [shell("main", script, { volumeMounts: [{ name: "d", mountPath: "/d" }] })],
        volumes: [{ name: "d", emptyDir: {} }],
      }),
    );
    await cluster.until("crashed", "running again", (pod) => {
      const main = pod.status.containerStatuses?.[0];
      return main?.restartCount === 1 && main.state.running !== undefined;
    });
    expect(await cluster.kubectl("logs", "--previous", "crashed")).toBe("first words\n");
  });

  test("scenario 6: runs commands with their exit code, input and a terminal", async () => {
    await cluster.apply(podManifest("exec", { containers: [shell("main", IDLE)] }));
    await cluster.ready("exec");
    expect(await cluster.kubectl("exec", "exec", "--", "echo", "hello")).toBe("hello\n");
    const failed = await cluster.tryKubectl(
      "exec",
      "exec",
      "--",
      "sh",
      "-c",
      "echo out; echo err >&2; exit 7",
    );
    expect(failed.code).toBe(7);
    expect(failed.stdout).toBe("out\n");
    expect(failed.stderr).toContain("err\n");
    const input = await cluster.node.exec(
      ["kubectl", "-n", cluster.namespace, "exec", "-i", "exec", "--", "cat"],
      { input: "through standard input" },
    );
    expect(input.stdout).toBe("through standard input");
    const terminal = await cluster.node.sh(
      `script -qec "kubectl -n ${cluster.namespace} exec -it exec -- sh -c 'tty; exit 5'" /dev/null; echo code $?`,
      { input: "" },
    );
    expect(terminal).toContain("/dev/pts/");
    expect(terminal).toContain("code 5");
  });

  test("scenario 13: a crash-looping container waits 10 s, then 20 s", async () => {
    await cluster.apply(podManifest("loop", { containers: [shell("main", "exit 3")] }));
    const pod = await cluster.until(
      "loop",
      "waiting 20 s",
      (seen) => {
        const main = seen.status.containerStatuses?.[0];
        return main?.state.waiting?.message?.startsWith("back-off 20s") === true;
      },
      60_000,
    );
    const main = pod.status.containerStatuses?.[0];
    expect(main?.state.waiting?.reason).toBe("CrashLoopBackOff");
    expect(main?.lastState.terminated).toMatchObject({ exitCode: 3, reason: "Error" });
    expect(pod.status.phase).toBe("Running");
    expect(await cluster.kubectl("get", "pod", "loop")).toContain("CrashLoopBackOff");
    expect(await cluster.eventReasons("loop")).toContain("BackOff");
  });

  test("scenario 14: a CPU request sets the CPU shares, and memory its limit", async () => {
    const resources = { requests: { cpu: "500m", memory: "128Mi" }, limits: { memory: "256Mi" } };
    await cluster.apply(
      podManifest("shares", { containers: [shell("main", IDLE, { resources })] }),
    );
    const pod = await cluster.ready("shares");
    expect(pod.status.qosClass).toBe("Burstable");
    const id = pod.status.containerStatuses?.[0]?.containerID?.replace("docker://", "");
    const config = await cluster.node.sh(
      `docker inspect -f '{{.HostConfig.CpuShares}} {{.HostConfig.CpuQuota}} {{.HostConfig.Memory}}' ${id}`,
    );
    expect(config.trim()).toBe(`512 0 ${256 * 1024 * 1024}`);
  });
});

describe.concurrent("restart policies", () => {
  const cases = [
    { policy: "Never", code: 0, phase: "Succeeded", restarts: 0 },
    { policy: "Never", code: 4, phase: "Failed", restarts: 0 },
    { policy: "OnFailure", code: 0, phase: "Succeeded", restarts: 0 },
  ] as const;
  for (const { policy, code, phase, restarts } of cases) {
    test(`${policy} with exit code ${code} ends ${phase}`, async () => {
      const name = `${policy.toLowerCase()}-${code}`;
      await cluster.apply(
        podManifest(name, {
          restartPolicy: policy,
          containers: [shell("main", `echo bye; exit ${code}`)],
        }),
      );
      const pod = await cluster.until(name, phase, (seen) => seen.status.phase === phase);
      const main = pod.status.containerStatuses?.[0];
      expect(main?.restartCount).toBe(restarts);
      expect(main?.state.terminated?.exitCode).toBe(code);
      expect(await cluster.kubectl("logs", name)).toBe("bye\n");
    });
  }

  test("init containers run in order before the others, and one that fails keeps them waiting", async () => {
    const volumeMounts = [{ name: "d", mountPath: "/d" }];
    await cluster.apply(
      podManifest("init", {
        restartPolicy: "Never",
        initContainers: [
          shell("first", "echo 1 >>/d/order", { volumeMounts }),
          shell("second", "echo 2 >>/d/order", { volumeMounts }),
        ],
        containers: [shell("main", "cat /d/order", { volumeMounts })],
        volumes: [{ name: "d", emptyDir: {} }],
      }),
      podManifest("init-fails", {
        restartPolicy: "Never",
        initContainers: [shell("first", "exit 2")],
        containers: [shell("main", IDLE)],
      }),
    );
    await cluster.until("init", "Succeeded", (pod) => pod.status.phase === "Succeeded");
    expect(await cluster.kubectl("logs", "init")).toBe("1\n2\n");
    const failed = await cluster.until(
      "init-fails",
      "Failed",
      (pod) => pod.status.phase === "Failed",
    );
    expect(failed.status.containerStatuses?.[0]?.state.waiting?.reason).toBe("PodInitializing");
  });

  test("what this version cannot do is refused by name", async () => {
    await cluster.apply(
      podManifest("unsupported", { hostUsers: false, containers: [shell("main", IDLE)] }),
    );
    const pod = await cluster.until(
      "unsupported",
      "Failed",
      (seen) => seen.status.phase === "Failed",
    );
    expect(pod.status.reason).toBe("UnsupportedPodSpec");
    expect(JSON.stringify(pod.status)).toContain("hostUsers");
  });
});
