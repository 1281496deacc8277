/** What one container leaves behind: output, exit status, termination message, and what of its image it keeps. */

import { beforeAll, describe, expect, test } from "vitest";
import { IDLE, podManifest, type SeenContainer, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();

const once = (name: string, container: object, spec: object = {}) =>
  podManifest(name, { restartPolicy: "Never", containers: [container], ...spec });
const fallback = { terminationMessagePolicy: "FallbackToLogsOnError" };
const WITH_ENTRYPOINT = `
id=$(docker create busybox); docker export $id | docker import -c 'ENV PATH=/bin' -c 'ENTRYPOINT ["/bin/echo","entry"]' -c 'CMD ["cmd"]' - entry:test; docker rm $id`;
const image = (more: object = {}) => ({
  name: "main",
  image: "entry:test",
  imagePullPolicy: "Never",
  ...more,
});
/** Counts its runs in a file: fails once, succeeds once, then stays. */
const COUNTER = `
echo hello >>/mem/count; count=$(wc -l </mem/count)
[ $count -eq 1 ] && exit 1; [ $count -eq 2 ] && exit 0; ${IDLE}`;
const counter = (name: string, restartPolicy: string) =>
  podManifest(name, {
    restartPolicy,
    containers: [shell("main", COUNTER, { volumeMounts: [{ name: "mem", mountPath: "/mem" }] })],
    volumes: [{ name: "mem", emptyDir: { medium: "Memory" } }],
  });

const MESSAGES = {
  "silent-success": [shell("main", "echo DONE", fallback), ""],
  "from-file": [shell("main", "echo DONE; printf OK >/dev/termination-log", fallback), "OK"],
  "from-logs": [shell("main", "echo first; echo DONE; exit 1", fallback), "first\nDONE\n"],
  "file-first": [
    shell("main", "echo DONE; printf OK >/dev/termination-log; exit 1", fallback),
    "OK",
  ],
  "no-fallback": [shell("main", "echo DONE; exit 1"), ""],
  "own-path": [
    shell("main", "printf DONE >/dev/termination-custom-log", {
      terminationMessagePath: "/dev/termination-custom-log",
      securityContext: { runAsUser: 10_000 },
    }),
    "DONE",
  ],
} as const;

const OUTPUTS = {
  "image-defaults": [image(), "entry cmd\n"],
  "own-args": [image({ args: ["arg"] }), "entry arg\n"],
  "own-command": [image({ command: ["echo", "own"] }), "own\n"],
  "own-both": [image({ command: ["echo", "own"], args: ["arg"] }), "own arg\n"],
  hello: [shell("main", "echo 'Hello World'"), "Hello World\n"],
  "read-only": [
    {
      ...shell("main", "echo test >/file"),
      command: ["/bin/sh", "-c", "echo test >/file"],
      securityContext: { readOnlyRootFilesystem: true },
    },
    "/bin/sh: can't create /file: Read-only file system\n",
  ],
  writable: [
    shell("main", "echo test >/file && cat /file", {
      securityContext: { readOnlyRootFilesystem: false },
    }),
    "test\n",
  ],
  user: [shell("main", "id -u", { securityContext: { runAsUser: 65_534 } }), "65534\n"],
  group: [
    shell("main", "echo $(id -u) $(id -g)", {
      securityContext: { runAsUser: 1001, runAsGroup: 2002 },
    }),
    "1001 2002\n",
  ],
  privileges: [
    shell("main", "grep NoNewPrivs /proc/self/status", {
      securityContext: { allowPrivilegeEscalation: false, runAsUser: 1000 },
    }),
    "NoNewPrivs:\t1\n",
  ],
  unprivileged: [
    shell("main", "ip link add dummy0 type dummy 2>&1 || true", {
      securityContext: { privileged: false },
    }),
    "ip: RTNETLINK answers: Operation not permitted\n",
  ],
} as const;

beforeAll(async () => {
  await cluster.node.sh(WITH_ENTRYPOINT);
  await cluster.apply(
    ...Object.entries({ ...MESSAGES, ...OUTPUTS }).map(([name, [main]]) => once(name, main)),
    once("of-the-pod", shell("main", "echo $(id -u) $(id -g)"), {
      securityContext: { runAsUser: 1001, runAsGroup: 2002 },
    }),
    counter("count-always", "Always"),
    counter("count-on-failure", "OnFailure"),
    counter("count-never", "Never"),
    podManifest("fails", { containers: [shell("main", "", { command: ["/bin/false"] })] }),
  );
});

async function mainOf(name: string): Promise<SeenContainer> {
  const [main] = (await cluster.pod(name)).status.containerStatuses ?? [];
  if (main === undefined) throw new Error(`${name} has no status of its container`);
  return main;
}

describe("the termination message", () => {
  test.each(Object.entries(MESSAGES))("of %s", async (name, [, message]) => {
    await cluster.outputs(name);
    expect((await mainOf(name)).state.terminated?.message ?? "").toBe(message);
  });
});

describe("the output", () => {
  test.each(Object.entries(OUTPUTS))("of %s", async (name, [, text]) => {
    expect((await cluster.outputs(name))[name]).toBe(text);
  });

  test("follows the user and group of the pod", async () => {
    expect((await cluster.outputs("of-the-pod"))["of-the-pod"]).toBe("1001 2002\n");
  });
});

describe("a container that fails once, succeeds once and then runs", () => {
  test("runs with restartPolicy Always", async () => {
    const pod = await cluster.ready("count-always");
    expect(pod.status.phase).toBe("Running");
    expect(await mainOf("count-always")).toMatchObject({
      restartCount: 2,
      ready: true,
      lastState: { terminated: { exitCode: 0, reason: "Completed" } },
    });
  });

  test.each([
    ["count-on-failure", "Succeeded", 1],
    ["count-never", "Failed", 0],
  ] as const)("ends otherwise: %s", async (name, phase, restartCount) => {
    await cluster.outputs(name);
    expect((await cluster.pod(name)).status.phase).toBe(phase);
    const main = await mainOf(name);
    expect(main).toMatchObject({ restartCount, ready: false });
    expect(main.state.terminated).toBeDefined();
  });
});

test("a container that always fails says so, and its pod can be deleted", async () => {
  const pod = await cluster.until(
    "fails",
    "failing",
    ({ status }) => status.containerStatuses?.[0]?.lastState.terminated !== undefined,
  );
  const main = pod.status.containerStatuses?.[0];
  expect(main?.lastState.terminated).toMatchObject({ exitCode: 1, reason: "Error" });
  await cluster.kubectl("delete", "pod", "fails", "--wait=false");
  await cluster.gone("fails");
});
