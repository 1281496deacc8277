/** What a container may do and use, end to end: what a pod is given, what it is refused and in which words. */

import { describe, expect, test } from "vitest";
import { IDLE, podManifest, type SeenPod, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();

/** The message of an event with this reason, when there is one. */
async function eventMessage(name: string, reason: string): Promise<string> {
  return eventually(`an event ${reason} about ${name}`, async () => {
    const selector = `involvedObject.name=${name},reason=${reason}`;
    const text = await cluster.kubectl(
      ...["get", "events", "--field-selector", selector, "-o", "jsonpath={.items[0].message}"],
    );
    return text !== "" && text;
  });
}

/** Pinned, so that the node and not the scheduler decides. */
function pinned(name: string, spec: object): object {
  return podManifest(name, { nodeName: "node1", ...spec });
}

function refusal({ status }: SeenPod): object {
  const { phase, reason, message } = status as SeenPod["status"] & { readonly message?: string };
  return { phase, reason, message };
}

describe.concurrent("a container", () => {
  test("that must not run as root does not, with the kubelet's words", async () => {
    const securityContext = { runAsNonRoot: true };
    const spec = { securityContext, containers: [shell("main", IDLE)] };
    await cluster.apply(podManifest("rootless", spec));
    const pod = await cluster.until(
      "rootless",
      "waiting",
      ({ status }) =>
        status.containerStatuses?.[0]?.state.waiting?.reason === "CreateContainerConfigError",
    );
    const words = `container has runAsNonRoot and image will run as root (pod: "rootless_${cluster.namespace}(${pod.metadata.uid})", container: main)`;
    expect(pod.status.containerStatuses?.[0]?.state.waiting?.message).toBe(words);
    expect(await eventMessage("rootless", "Failed")).toBe(`Error: ${words}`);
  });

  test("runs as who the spec says, with what it leaves", async () => {
    const script =
      'id -u; id -g; grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status; touch /x 2>&1';
    const securityContext = { runAsUser: 1001, runAsGroup: 2002, runAsNonRoot: true };
    const own = {
      ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
      ...{ capabilities: { drop: ["ALL"] }, seccompProfile: { type: "RuntimeDefault" } },
    };
    const containers = [shell("main", script, { securityContext: own })];
    const spec = { restartPolicy: "Never", securityContext, containers };
    await cluster.apply(podManifest("restricted", spec));
    await cluster.until("restricted", "done", ({ status }) => status.phase === "Failed");
    const output = (await cluster.kubectl("logs", "restricted")).replaceAll("\t", " ");
    expect(output).toBe(
      "1001\n2002\nCapEff: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2\ntouch: /x: Read-only file system\n",
    );
  });

  test("may mount when it is privileged, and not when it is not", async () => {
    const script = "mkdir /m && mount -t tmpfs none /m 2>&1 && grep ' /m ' /proc/mounts";
    const containers = [true, false].map((privileged) =>
      shell(privileged ? "may" : "may-not", script, { securityContext: { privileged } }),
    );
    await cluster.apply(podManifest("mounting", { restartPolicy: "Never", containers }));
    await cluster.until("mounting", "done", ({ status }) => status.phase === "Failed");
    const log = (name: string) => cluster.kubectl("logs", "mounting", "-c", name);
    expect(await log("may")).toMatch(/^none \/m tmpfs/);
    expect(await log("may-not")).toMatch(/mount: .*(not permitted|denied)/);
  });

  test("has its processor and memory, in the cgroup of its pod and class", async () => {
    const resources = { requests: { cpu: "100m" }, limits: { cpu: "200m", memory: "64Mi" } };
    await cluster.apply(
      podManifest("bounded", { containers: [shell("main", IDLE, { resources })] }),
    );
    const { metadata, status } = await cluster.ready("bounded");
    expect(status.qosClass).toBe("Burstable");
    const files =
      "cat cpu/cpu.shares cpu/cpu.cfs_quota_us memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes";
    const inside = await cluster.kubectl(
      ...["exec", "bounded", "--", "sh", "-c", `cd /sys/fs/cgroup; ${files}`],
    );
    expect(inside).toBe("102\n20000\n67108864\n67108864\n");
    const own = `/sys/fs/cgroup/memory/kubepods/burstable/pod${metadata.uid}`;
    expect(await cluster.node.sh(`cat ${own}/memory.limit_in_bytes; ls -d ${own}/*/ | wc -l`)).toBe(
      "67108864\n2\n",
    );
  });

  test("that takes more memory than its limit is killed and restarted, and the pod beside it lives on", async () => {
    const resources = { limits: { memory: "16Mi" } };
    const hog = "x=$(yes | head -c 67108864)";
    await cluster.apply(
      podManifest("beside", { containers: [shell("main", IDLE, { resources })] }),
      podManifest("hog", {
        containers: [
          shell("main", `${hog}; ${IDLE}`, { resources }),
          // A child dies in place of PID 1, which ends because of it.
          shell("parent", `sh -c '${hog}' || exit 3`, { resources }),
        ],
      }),
    );
    const before = await cluster.ready("beside");
    const pod = await cluster.until(
      "hog",
      "restarted",
      ({ status: { containerStatuses = [] } }) =>
        containerStatuses.length === 2 &&
        containerStatuses.every(({ restartCount }) => restartCount > 0),
    );
    const ended = pod.status.containerStatuses?.map(
      ({ state, lastState }) => state.terminated ?? lastState.terminated,
    );
    expect(ended).toMatchObject([
      { reason: "OOMKilled", exitCode: 137 },
      { reason: "OOMKilled", exitCode: 3 },
    ]);
    const after = await cluster.pod("beside");
    expect(after.status.containerStatuses).toEqual(before.status.containerStatuses);
  });
});

describe.concurrent("a pod", () => {
  test("has kernel parameters of its own", async () => {
    const names = ["kernel.shm_rmid_forced", "net.ipv4.ip_unprivileged_port_start"];
    const sysctls = names.map((name) => ({ name, value: "1" }));
    const script =
      "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start";
    await cluster.apply(
      podManifest("tuned", {
        ...{ restartPolicy: "Never", securityContext: { sysctls } },
        containers: [shell("main", script)],
      }),
    );
    await cluster.until("tuned", "done", ({ status }) => status.phase === "Succeeded");
    expect(await cluster.kubectl("logs", "tuned")).toBe("1\n1\n");
    expect(await cluster.eventReasons("tuned")).toContain("Started");
  });

  test.each<readonly [string, object, string, string]>([
    [
      "unsafe-sysctl",
      { securityContext: { sysctls: [{ name: "net.core.somaxconn", value: "9" }] } },
      "SysctlForbidden",
      'forbidden sysctl: "net.core.somaxconn" not allowlisted',
    ],
    [
      "host-sysctl",
      {
        hostNetwork: true,
        securityContext: { sysctls: [{ name: "net.ipv4.tcp_syncookies", value: "1" }] },
      },
      "SysctlForbidden",
      'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled',
    ],
    [
      "app-armor",
      { securityContext: { appArmorProfile: { type: "RuntimeDefault" } } },
      "AppArmor",
      "Cannot enforce AppArmor: AppArmor is not enabled on the host",
    ],
    [
      "windows",
      { os: { name: "windows" } },
      "PodOSNotSupported",
      "Failed to admit pod as the OS field doesn't match node OS",
    ],
  ])("is refused: %s", async (name, spec, reason, message) => {
    await cluster.apply(pinned(name, { ...spec, containers: [shell("main", IDLE)] }));
    const pod = await cluster.until(name, "Failed", ({ status }) => status.phase === "Failed");
    expect(refusal(pod)).toEqual({
      ...{ phase: "Failed", reason, message: `Pod was rejected: ${message}` },
    });
    expect(await eventMessage(name, reason)).toBe(message);
  });

  test("is refused what the node has not left, or has given away", async () => {
    const greedy = shell("main", IDLE, { resources: { requests: { cpu: "1k" } } });
    const ports = [{ containerPort: 18_080 }];
    const on = (name: string) =>
      pinned(name, { hostNetwork: true, containers: [shell("main", IDLE, { ports })] });
    await cluster.apply(pinned("greedy", { containers: [greedy] }), on("first"));
    await cluster.ready("first");
    await cluster.apply(on("second"));
    const isFailed = ({ status }: SeenPod): boolean => status.phase === "Failed";
    expect(refusal(await cluster.until("greedy", "Failed", isFailed))).toEqual({
      ...{ phase: "Failed", reason: "OutOfcpu" },
      message: expect.stringMatching(
        /^Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: \d+, capacity: \d+$/,
      ),
    });
    expect(refusal(await cluster.until("second", "Failed", isFailed))).toEqual({
      ...{ phase: "Failed", reason: "NodePorts" },
      message:
        "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    });
  });

  test("is taken by a node whose label was set just before, and then not by one that lost it", async () => {
    const spec = { nodeSelector: { "h-resources": "yes" }, containers: [shell("main", IDLE)] };
    await cluster.node.kubectl("label", "node", "node1", "h-resources=yes");
    await cluster.apply(pinned("labelled", spec));
    await cluster.ready("labelled");
    await cluster.node.kubectl("label", "node", "node1", "h-resources=no", "--overwrite");
    await eventually("the agent knows the label", async () => {
      await cluster.apply(pinned("unlabelled", spec));
      const { status } = await cluster.pod("unlabelled");
      if (status.reason === "NodeAffinity") return true;
      await cluster.kubectl("delete", "pod", "unlabelled", "--now");
      return false;
    });
    await cluster.node.kubectl("label", "node", "node1", "h-resources-");
  });

  const nodeClass = (name: string, handler: string): object => ({
    ...{ apiVersion: "node.k8s.io/v1", kind: "RuntimeClass", metadata: { name }, handler },
  });

  test.each([
    ["unknown-handler", { runtimeClassName: "test-class" }, /test-handler/],
    ["unknown-class", { runtimeClassName: "none" }, /RuntimeClass "none" not found/],
    [
      "long-name",
      { hostname: "h".repeat(50), subdomain: "s", setHostnameAsFQDN: true },
      /is too long \(64 characters is the max, \d+ characters requested\)/,
    ],
  ])("stays Pending without a sandbox: %s", async (name, spec, words) => {
    await cluster.node.apply(nodeClass("test-class", "test-handler"));
    await cluster.apply(podManifest(name, { ...spec, containers: [shell("main", IDLE)] }));
    expect(await eventMessage(name, "FailedCreatePodSandBox")).toMatch(words);
    expect((await cluster.pod(name)).status.phase).toBe("Pending");
  });

  test("runs with the OCI runtime of its class", async () => {
    await cluster.node.apply(nodeClass("plain", "runc"));
    await cluster.apply(
      podManifest("classy", { runtimeClassName: "plain", containers: [shell("main", IDLE)] }),
    );
    const pod = await cluster.ready("classy");
    const id = pod.status.containerStatuses?.[0]?.containerID?.replace("docker://", "");
    expect(await cluster.node.sh(`docker inspect -f '{{.HostConfig.Runtime}}' ${id}`)).toBe(
      "runc\n",
    );
  });
});
