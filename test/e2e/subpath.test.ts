/** subPath and subPathExpr with a real Engine and kubectl: what conformance asks for, and a container that races. */

import { describe, expect, test } from "vitest";
import { IDLE, podManifest, type SeenPod, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();

const waitingOf = (pod: SeenPod) => pod.status.containerStatuses?.[0]?.state.waiting;

/** A variable that shows an annotation of the pod's own. */
const annotation = (name: string, key: string) => ({
  name,
  valueFrom: { fieldRef: { fieldPath: `metadata.annotations['${key}']` } },
});

describe.concurrent("parts of volumes", () => {
  test("an expanded directory is made in the volume and seen through a mount of the whole", async () => {
    await cluster.apply(
      podManifest("expanded", {
        containers: [
          shell("main", `echo text >/part/file; ${IDLE}`, {
            env: [{ name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
            volumeMounts: [
              { name: "v", mountPath: "/part", subPathExpr: "logs/$(NAME)" },
              { name: "v", mountPath: "/whole" },
            ],
          }),
        ],
        volumes: [{ name: "v", emptyDir: {} }],
      }),
    );
    const pod = await cluster.ready("expanded");
    const seen = await eventually("written", () =>
      cluster.kubectl("exec", "expanded", "--", "cat", "/whole/logs/expanded/file"),
    );
    expect(seen).toBe("text\n");
    await cluster.kubectl("delete", "pod", "expanded");
    const { uid } = pod.metadata;
    expect(await cluster.node.sh(`grep -c ${uid} /proc/self/mountinfo || true`)).toBe("0\n");
    expect(await cluster.node.sh(`ls /var/lib/longshore/pods | grep -c ${uid} || true`)).toBe(
      "0\n",
    );
  });

  test.each([
    ["absolute", "/tmp", "error SubPath `/tmp` must not be an absolute path"],
    ["upwards", "..", "unable to provision SubPath `..`: must not contain '..'"],
  ])(
    "an expansion that is %s waits as CreateContainerConfigError",
    async (name, value, message) => {
      await cluster.apply(
        podManifest(name, {
          containers: [
            shell("main", IDLE, {
              env: [{ name: "PART", value }],
              volumeMounts: [{ name: "v", mountPath: "/part", subPathExpr: "$(PART)" }],
            }),
          ],
          volumes: [{ name: "v", emptyDir: {} }],
        }),
      );
      const pod = await cluster.until(
        name,
        "refused",
        (seen) => waitingOf(seen)?.message === message,
      );
      expect(waitingOf(pod)?.reason).toBe("CreateContainerConfigError");
      expect(pod.status.phase).toBe("Pending");
    },
  );

  test("an annotation that comes later lets the pod run, and one that changes then moves nothing", async () => {
    await cluster.apply(
      podManifest("annotated", {
        containers: [
          shell("main", `echo first >/part/file; ${IDLE}`, {
            env: [annotation("PART", "part")],
            volumeMounts: [
              { name: "v", mountPath: "/part", subPathExpr: "$(PART)" },
              { name: "v", mountPath: "/whole" },
            ],
          }),
        ],
        volumes: [{ name: "v", emptyDir: {} }],
      }),
    );
    await cluster.until(
      "annotated",
      "without a value",
      (seen) => waitingOf(seen)?.message === "missing value for PART",
    );
    await cluster.kubectl("annotate", "pod", "annotated", "part=one");
    await cluster.ready("annotated", 90_000);
    await cluster.kubectl("annotate", "pod", "annotated", "part=two", "--overwrite");
    const script = "cat /part/file; echo more >>/part/file; ls /whole; cat /whole/one/file";
    const exec = (line: string) => cluster.kubectl("exec", "annotated", "--", "sh", "-c", line);
    expect(await exec(script)).toBe("first\none\nfirst\nmore\n");
  });

  test("a file of a volume on /etc/resolv.conf wins over the agent's, and does not follow the object", async () => {
    await cluster.apply(
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "part" }, data: { key: "v1" } },
      podManifest("file", {
        containers: [
          shell("main", IDLE, {
            volumeMounts: [
              { name: "c", mountPath: "/etc/resolv.conf", subPath: "key" },
              { name: "c", mountPath: "/whole" },
              { name: "d", mountPath: "/name", subPath: "downward/podname", readOnly: true },
            ],
          }),
        ],
        volumes: [
          { name: "c", configMap: { name: "part" } },
          {
            name: "d",
            downwardAPI: {
              items: [{ path: "downward/podname", fieldRef: { fieldPath: "metadata.name" } }],
            },
          },
        ],
      }),
    );
    await cluster.ready("file");
    const exec = (line: string) => cluster.tryKubectl("exec", "file", "--", "sh", "-c", line);
    expect((await exec("cat /etc/resolv.conf /whole/key /name")).stdout).toBe("v1v1file");
    expect((await exec("echo x >/name")).code).not.toBe(0);
    await cluster.kubectl("patch", "configmap", "part", "-p", '{"data":{"key":"v2"}}');
    await eventually(
      "the whole follows",
      async () => (await exec("cat /whole/key")).stdout === "v2",
      100_000,
    );
    expect((await exec("cat /etc/resolv.conf")).stdout).toBe("v1");
  });

  test("a neighbour that turns the directory into a link to / gets nobody out of the volume", async () => {
    const race =
      "mkdir -p /v/part; while true; do mv /v/part /v/away; ln -s / /v/part; rm -rf /v/part; mv /v/away /v/part; done 2>/dev/null";
    // A start that meets the link is refused and counts for the back-off: of several victims some always get on.
    const victims = ["a", "b", "c", "d", "e", "f"].map((name) => `victim-${name}`);
    await cluster.apply(
      podManifest("race", {
        restartPolicy: "Always",
        containers: [
          shell("racer", race, { volumeMounts: [{ name: "v", mountPath: "/v" }] }),
          ...victims.map((name) =>
            shell(name, "ls -a /part; sleep 0.1", {
              volumeMounts: [{ name: "v", mountPath: "/part", subPath: "part" }],
            }),
          ),
        ],
        volumes: [{ name: "v", emptyDir: {} }],
      }),
    );
    const restarted = await cluster.until(
      "race",
      "restarted some times",
      (pod) => {
        const counts = (pod.status.containerStatuses ?? []).map((status) => status.restartCount);
        return counts.reduce((sum, count) => sum + count, 0) >= 4;
      },
      90_000,
    );
    for (const status of restarted.status.containerStatuses ?? []) {
      if (status.restartCount === 0 || status.name === "racer") continue;
      const names = await cluster.kubectl("logs", "race", "-c", status.name, "--previous");
      for (const name of names.split("\n").filter((line) => line !== ""))
        expect([".", "..", "part", "away"]).toContain(name);
    }
    await cluster.kubectl("delete", "pod", "race");
  });
});
