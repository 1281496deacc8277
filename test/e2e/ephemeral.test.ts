/** Ephemeral containers: `kubectl debug` of every version that is on the node, and the subresource itself. */

import { expect, test } from "vitest";
import { IDLE, podManifest, type SeenPod, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();

const isRunning =
  (container: string) =>
  ({ status }: SeenPod): boolean =>
    (status.ephemeralContainerStatuses ?? []).some(
      ({ name, state }) => name === container && state.running !== undefined,
    );

test("every kubectl of the node debugs a running container", async () => {
  const found = await cluster.node.sh(
    "ls $(dirname $(readlink -f $(command -v kubectl)))/kubectl* | xargs readlink -f | sort -u",
  );
  const clients = found.split("\n").filter((path) => /\/kubectl(\.\d+\.\d+)?$/.test(path));
  expect(clients.length).toBeGreaterThan(0);
  for (const [index, path] of clients.entries()) {
    const name = `debug-${index}`;
    await cluster.apply(podManifest(name, { containers: [shell("main", IDLE)] }));
    const before = await cluster.ready(name);
    await cluster.node.sh(
      `${path} -n ${cluster.namespace} debug ${name} --image=busybox --image-pull-policy=IfNotPresent --target=main -c debugger -- sleep 100`,
    );
    const after = await cluster.until(name, `debugged by ${path}`, isRunning("debugger"));
    expect(after.metadata.generation).toBe(2);
    expect(after.status.containerStatuses).toEqual(before.status.containerStatuses);
    const processes = await cluster.kubectl("exec", name, "-c", "debugger", "--", "ps");
    expect(processes).toContain("trap 'exit 0' TERM");
    expect(processes).toContain("sleep 100");
  }
});

test("a patch of the subresource adds one with a terminal, which is not started again when it ends", async () => {
  await cluster.apply(podManifest("patched", { containers: [shell("main", IDLE)] }));
  await cluster.ready("patched");
  const debug = { name: "debug", image: "busybox", imagePullPolicy: "IfNotPresent" };
  const shellLike = {
    ...debug,
    command: ["sh", "-c", "echo hello; exec sh"],
    stdin: true,
    tty: true,
  };
  const patch = (ephemeralContainers: readonly object[]) =>
    cluster.tryKubectl(
      ...["patch", "pod", "patched", "--subresource=ephemeralcontainers"],
      ...["-p", JSON.stringify({ spec: { ephemeralContainers } })],
    );
  expect((await patch([{ ...shellLike, ports: [{ containerPort: 1 }] }])).stderr).toContain(
    "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
  );
  expect((await patch([shellLike])).stderr).toBe("");
  await cluster.until("patched", "debugged", isRunning("debug"));
  expect(await cluster.kubectl("logs", "patched", "-c", "debug")).toContain("hello");
  expect(await cluster.kubectl("exec", "patched", "-c", "debug", "--", "echo", "in")).toBe("in\n");
  await cluster.node.sh(
    `docker kill $(docker ps -q --filter label=io.kubernetes.container.name=debug)`,
  );
  const ended = await cluster.until("patched", "past its debug container", ({ status }) =>
    (status.ephemeralContainerStatuses ?? []).some(({ state }) => state.terminated !== undefined),
  );
  expect(ended.status.ephemeralContainerStatuses?.[0]?.restartCount).toBe(0);
  expect(ended.status.phase).toBe("Running");
  expect((await patch([{ ...shellLike, image: "other" }])).stderr).toContain(
    'existing ephemeral containers "debug" may not be changed',
  );
  expect(await cluster.kubectl("describe", "pod", "patched")).toContain("Ephemeral Containers:");
});
