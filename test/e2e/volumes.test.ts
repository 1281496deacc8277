/** Scenarios 16, 17, 19 and 20: emptyDir, hostPath, ConfigMap and Secret as files and as environment. */

import { describe, expect, test } from "vitest";
import { IDLE, podManifest, type SeenPod, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();

const configMap = (name: string, data: object) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name },
  data,
});
const secret = (name: string, stringData: object) => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name },
  stringData,
});

describe.concurrent("volumes", () => {
  test("scenario 16: two containers share an emptyDir that survives a container's restart", async () => {
    const volumeMounts = [{ name: "d", mountPath: "/d" }];
    await cluster.apply(
      podManifest("shared", {
        containers: [
          shell("writer", `[ -f /d/page ] || date >/d/page; ${IDLE}`, { volumeMounts }),
          shell("reader", IDLE, { volumeMounts: [{ name: "d", mountPath: "/www" }] }),
        ],
        volumes: [{ name: "d", emptyDir: {} }],
      }),
    );
    await cluster.ready("shared");
    const read = () => cluster.kubectl("exec", "shared", "-c", "reader", "--", "cat", "/www/page");
    const before = await eventually("the page is written", read);
    await cluster.kubectl("exec", "shared", "-c", "writer", "--", "kill", "1");
    await cluster.until(
      "shared",
      "running with one restart",
      (pod) => pod.status.containerStatuses?.some((c) => c.restartCount === 1 && c.ready) === true,
    );
    expect(await read()).toBe(before);
  });

  test("an emptyDir in memory is a tmpfs of its size", async () => {
    await cluster.apply(
      podManifest("memory", {
        containers: [shell("main", IDLE, { volumeMounts: [{ name: "m", mountPath: "/m" }] })],
        volumes: [{ name: "m", emptyDir: { medium: "Memory", sizeLimit: "2Mi" } }],
      }),
    );
    await cluster.ready("memory");
    const text = await cluster.kubectl(
      "exec",
      "memory",
      "--",
      "sh",
      "-c",
      "mount | grep ' /m '; ls -ld /m; df -k /m | tail -1",
    );
    expect(text).toMatch(/tmpfs on \/m type tmpfs/);
    expect(text).toContain("drwxrwxrwx");
    expect(text).toMatch(/tmpfs\s+2048 /);
    const node = (await cluster.pod("memory")).spec.nodeName ?? "";
    const summary = `/api/v1/nodes/${node}/proxy/stats/summary`;
    const { pods } = JSON.parse(await cluster.kubectl("get", "--raw", summary)) as {
      pods: readonly { podRef: { name: string }; volume?: readonly object[] }[];
    };
    expect(pods.find(({ podRef }) => podRef.name === "memory")?.volume).toContainEqual(
      expect.objectContaining({ name: "m", capacityBytes: 2 * 1024 * 1024, inodesUsed: 1 }),
    );
  });

  test("with fsGroup a user that is not root reads a secret of mode 0440 and writes an emptyDir", async () => {
    await cluster.apply(
      secret("grouped", { key: "text" }),
      podManifest("grouped", {
        securityContext: { runAsUser: 1000, fsGroup: 1001, fsGroupChangePolicy: "OnRootMismatch" },
        containers: [
          shell("main", IDLE, {
            volumeMounts: [
              { name: "s", mountPath: "/s" },
              { name: "d", mountPath: "/d" },
            ],
          }),
        ],
        volumes: [
          { name: "s", secret: { secretName: "grouped", defaultMode: 0o440 } },
          { name: "d", emptyDir: {} },
        ],
      }),
    );
    await cluster.ready("grouped");
    const script = "id -G; ls -lnL /s/key; cat /s/key; echo; echo x >/d/f; ls -ln /d/f";
    const text = await cluster.kubectl("exec", "grouped", "--", "sh", "-c", script);
    expect(text.split("\n")).toEqual([
      expect.stringMatching(/\b1001\b/),
      expect.stringMatching(/^-r--r----- +1 0 +1001 /),
      "text",
      expect.stringMatching(/^-rw-r--r-- +1 1000 +1001 /),
      "",
    ]);
  });

  test("mounts made on the node later reach a container that asked for them, and its own reach the node", async () => {
    await cluster.node.sh("mkdir -p /srv/spread/in /srv/spread/out");
    const mount = (mountPropagation: string) => ({
      volumeMounts: [{ name: "h", mountPath: "/spread", mountPropagation }],
    });
    const privileged = { securityContext: { privileged: true } };
    await cluster.apply(
      podManifest("spread", {
        containers: [
          shell("none", IDLE, mount("None")),
          shell("slave", IDLE, mount("HostToContainer")),
          shell("shared", IDLE, { ...mount("Bidirectional"), ...privileged }),
        ],
        volumes: [{ name: "h", hostPath: { path: "/srv/spread" } }],
      }),
    );
    await cluster.ready("spread");
    const exec = (container: string, line: string) =>
      cluster.kubectl("exec", "spread", "-c", container, "--", "sh", "-c", line);
    await cluster.node.sh("mount -t tmpfs node /srv/spread/in; touch /srv/spread/in/file");
    await exec("shared", "mount -t tmpfs pod /spread/out; touch /spread/out/file");
    const seen = async (container: string) => exec(container, "cd /spread; ls in out");
    expect(await seen("none")).toBe("in:\n\nout:\n");
    expect(await seen("slave")).toBe("in:\nfile\n\nout:\nfile\n");
    expect(await cluster.node.sh("ls /srv/spread/out")).toBe("file\n");
    await cluster.kubectl("delete", "pod", "spread");
    expect(await cluster.node.sh("cat /proc/self/mountinfo | grep -c /srv/spread/in")).toBe("1\n");
    await cluster.node.sh("umount /srv/spread/in; umount /srv/spread/out || true");
  });

  test("what is mounted below a read-only volume can be written, unless the volume is so recursively", async () => {
    const path = "/srv/below";
    await cluster.node.sh(`mkdir -p ${path}/deep && mount -t tmpfs deep ${path}/deep`);
    const at = (mountPath: string, recursiveReadOnly?: string) => ({
      ...{ name: "h", mountPath, readOnly: true },
      ...(recursiveReadOnly === undefined ? {} : { recursiveReadOnly }),
    });
    const volumeMounts = [at("/flat"), at("/if", "IfPossible"), at("/all", "Enabled")];
    await cluster.apply(
      podManifest("recursive", {
        automountServiceAccountToken: false,
        containers: [shell("main", IDLE, { volumeMounts })],
        volumes: [{ name: "h", hostPath: { path } }],
      }),
    );
    const pod = await cluster.ready("recursive");
    const write =
      "for d in flat if all; do for f in x deep/x; do (: >/$d/$f) 2>/dev/null && echo $d/$f; done; done; true";
    expect(await cluster.kubectl("exec", "recursive", "--", "sh", "-c", write)).toBe(
      "flat/deep/x\n",
    );
    const get = (...args: string[]) => cluster.kubectl("get", ...args);
    const mounts = "jsonpath={.status.containerStatuses[0].volumeMounts[*].recursiveReadOnly}";
    expect(await get("pod", "recursive", "-o", mounts)).toBe("Disabled Enabled Enabled");
    const handlers = "jsonpath={.status.runtimeHandlers[0].features.recursiveReadOnlyMounts}";
    expect(await get("node", pod.spec.nodeName ?? "", "-o", handlers)).toBe("true");
    await cluster.kubectl("delete", "pod", "recursive");
    await cluster.node.sh(`umount ${path}/deep`);
  });

  test("scenario 17: a hostPath shows the node's files, takes writes, and checks its type", async () => {
    await cluster.node.sh("mkdir -p /srv/data && echo from-node >/srv/data/a");
    await cluster.apply(
      podManifest("host", {
        containers: [
          shell("main", `echo from-pod >/data/b; ${IDLE}`, {
            volumeMounts: [{ name: "h", mountPath: "/data" }],
          }),
        ],
        volumes: [{ name: "h", hostPath: { path: "/srv/data", type: "Directory" } }],
      }),
      podManifest("wrong-type", {
        containers: [shell("main", IDLE, { volumeMounts: [{ name: "h", mountPath: "/data" }] })],
        volumes: [{ name: "h", hostPath: { path: "/srv/data/a", type: "Directory" } }],
      }),
    );
    await cluster.ready("host");
    expect(await cluster.kubectl("exec", "host", "--", "cat", "/data/a")).toBe("from-node\n");
    expect(await eventually("written", () => cluster.node.sh("cat /srv/data/b"))).toBe(
      "from-pod\n",
    );
    await cluster.kubectl("delete", "pod", "host");
    expect(await cluster.node.sh("cat /srv/data/a /srv/data/b")).toBe("from-node\nfrom-pod\n");
    const events = await eventually("the mismatch is told", async () => {
      const text = await cluster.kubectl("describe", "pod", "wrong-type");
      return text.includes("FailedMount") && text;
    });
    expect(events).toContain("hostPath type check failed");
    expect((await cluster.pod("wrong-type")).status.phase).toBe("Pending");
  });

  test.each([
    ["root", "/", "CreateContainerError", "destination can't be '/'"],
    ["file", "/etc/passwd", "RunContainerError", "not a directory"],
  ])(
    "a directory mounted on what cannot have one waits with the reason: %s",
    async (name, mountPath, reason, words) => {
      await cluster.apply(
        podManifest(name, {
          containers: [shell("main", IDLE, { volumeMounts: [{ name: "d", mountPath }] })],
          volumes: [{ name: "d", emptyDir: {} }],
        }),
      );
      const waitingOf = (pod: SeenPod) => pod.status.containerStatuses?.[0]?.state.waiting;
      const pod = await cluster.until(name, reason, (seen) => waitingOf(seen)?.reason === reason);
      expect(waitingOf(pod)?.message).toContain(words);
      await cluster.kubectl("delete", "pod", name);
    },
  );

  test("scenario 18: an nfs volume waits while the node cannot mount it, and is mounted when it can", async () => {
    await cluster.node.sh("mkdir -p /srv/export && echo from-server >/srv/export/a");
    await cluster.apply(
      podManifest("nfs", {
        containers: [
          shell("main", IDLE, {
            volumeMounts: [
              { name: "n", mountPath: "/whole" },
              { name: "n", mountPath: "/part", subPath: "a" },
            ],
          }),
        ],
        volumes: [{ name: "n", nfs: { server: "nas", path: "/srv/export" } }],
      }),
    );
    const described = await eventually("the wait is told", async () => {
      const text = await cluster.kubectl("describe", "pod", "nfs");
      return text.includes("FailedMount") && text;
    });
    expect(described).toContain("mount.nfs is not installed on this node");
    // Not a client of NFS, which the test's kernel may lack, but what the agent sees of one.
    await cluster.node.sh(
      `printf '#!/bin/sh\nexec mount --bind "\${1#nas:}" "$2"\n' >/usr/local/sbin/mount.nfs; chmod +x /usr/local/sbin/mount.nfs`,
    );
    const { metadata } = await cluster.ready("nfs");
    const read = "cat /whole/a /part; echo from-pod >/whole/b";
    expect(await cluster.kubectl("exec", "nfs", "--", "sh", "-c", read)).toBe(
      "from-server\nfrom-server\n",
    );
    await cluster.kubectl("delete", "pod", "nfs");
    expect(
      await cluster.node.sh("cat /srv/export/a /srv/export/b; rm /usr/local/sbin/mount.nfs"),
    ).toBe("from-server\nfrom-pod\n");
    expect(await cluster.node.sh(`grep -c ${metadata.uid} /proc/self/mountinfo || true`)).toBe(
      "0\n",
    );
  });

  test("scenario 19: a ConfigMap as files, environment and arguments; an edit reaches the files", async () => {
    await cluster.apply(
      configMap("conf", { color: "blue", "file.txt": "first\n" }),
      podManifest("config", {
        containers: [
          shell("main", `echo "$COLOR $ALL_color $1"; ${IDLE}`, {
            command: ["sh", "-c", `echo "$COLOR $ALL_color $0"; ${IDLE}`, "$(COLOR)-arg"],
            env: [
              { name: "COLOR", valueFrom: { configMapKeyRef: { name: "conf", key: "color" } } },
            ],
            envFrom: [{ prefix: "ALL_", configMapRef: { name: "conf" } }],
            volumeMounts: [{ name: "c", mountPath: "/conf" }],
          }),
        ],
        volumes: [{ name: "c", configMap: { name: "conf" } }],
      }),
    );
    const before = await cluster.ready("config");
    expect(
      await eventually(
        "it logs",
        async () => (await cluster.kubectl("logs", "config")) || undefined,
      ),
    ).toBe("blue blue blue-arg\n");
    const files = await cluster.kubectl("exec", "config", "--", "ls", "-a", "/conf");
    expect(files).toContain("..data");
    await cluster.apply(configMap("conf", { color: "red", "file.txt": "second\n" }));
    await eventually(
      "the file follows",
      async () =>
        (await cluster.kubectl("exec", "config", "--", "cat", "/conf/file.txt")) === "second\n",
      100_000,
    );
    const after = await cluster.pod("config");
    expect(after.status.containerStatuses?.[0]?.containerID).toBe(
      before.status.containerStatuses?.[0]?.containerID,
    );
  });

  test("scenario 19: a missing ConfigMap waits as CreateContainerConfigError until it is there", async () => {
    await cluster.apply(
      podManifest("missing", {
        containers: [
          shell("main", IDLE, {
            env: [{ name: "X", valueFrom: { configMapKeyRef: { name: "late", key: "x" } } }],
          }),
        ],
      }),
    );
    const pod = await cluster.until(
      "missing",
      "waiting",
      (seen) =>
        seen.status.containerStatuses?.[0]?.state.waiting?.reason === "CreateContainerConfigError",
    );
    expect(pod.status.containerStatuses?.[0]?.state.waiting?.message).toBe(
      'configmap "late" not found',
    );
    await cluster.apply(configMap("late", { x: "1" }));
    await cluster.ready("missing", 90_000);
  });

  test("scenario 20: a Secret as a tmpfs of files and as environment, and nothing of it on disk", async () => {
    const marker = "longshore-secret-marker-4711";
    await cluster.apply(
      secret("keys", { key: marker }),
      podManifest("secret", {
        containers: [
          shell("main", IDLE, {
            env: [{ name: "KEY", valueFrom: { secretKeyRef: { name: "keys", key: "key" } } }],
            volumeMounts: [{ name: "s", mountPath: "/keys", readOnly: true }],
          }),
        ],
        volumes: [{ name: "s", secret: { secretName: "keys", defaultMode: 0o400 } }],
      }),
    );
    const pod = await cluster.ready("secret");
    const exec = (script: string) => cluster.tryKubectl("exec", "secret", "--", "sh", "-c", script);
    expect((await exec("cat /keys/key; echo; echo $KEY")).stdout).toBe(`${marker}\n${marker}\n`);
    expect((await exec("mount | grep ' /keys '")).stdout).toMatch(/tmpfs .*ro/);
    expect((await exec("ls -lL /keys/key")).stdout).toMatch(/^-r--------/);
    expect((await exec("touch /keys/x")).code).not.toBe(0);
    const onDisk = await cluster.node.sh(
      `umask 077; for d in /var/lib/longshore /var/log; do find $d -xdev -type f -not -path '*/controlplane/*' -exec grep -l ${marker} {} +; done; true`,
    );
    expect(onDisk).toBe("");
    await cluster.kubectl("delete", "pod", "secret");
    expect(await cluster.node.sh(`grep -c ${pod.metadata.uid} /proc/self/mountinfo || true`)).toBe(
      "0\n",
    );
  });
});
