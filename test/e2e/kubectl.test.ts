/** Scenarios 23 and 39: labels and selectors, and the node as kubectl describes it. */

import { expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();

test("scenario 23: labels are added, overwritten, removed and selected by every operator", async () => {
  const containers = [shell("main", IDLE)];
  await cluster.apply(
    podManifest("a", { containers }, { app: "x", env: "prod" }),
    podManifest("b", { containers }, { app: "x", env: "test" }),
    podManifest("c", { containers }, { app: "y" }),
  );
  const select = async (selector: string) =>
    (await cluster.kubectl("get", "pods", "-l", selector, "-o", "name"))
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.replace("pod/", ""))
      .join("");
  expect(await select("app=x")).toBe("ab");
  expect(await select("app!=x")).toBe("c");
  expect(await select("env in (prod, test)")).toBe("ab");
  expect(await select("env notin (prod)")).toBe("bc");
  expect(await select("env")).toBe("ab");
  expect(await select("!env")).toBe("c");
  await cluster.kubectl("label", "pod", "c", "env=dev");
  expect((await cluster.tryKubectl("label", "pod", "c", "env=prod")).code).not.toBe(0);
  await cluster.kubectl("label", "--overwrite", "pod", "c", "env=prod");
  expect(await select("env=prod")).toBe("ac");
  await cluster.kubectl("label", "pod", "c", "env-");
  expect(await select("!env")).toBe("c");
  expect(await cluster.kubectl("get", "pods", "--show-labels")).toContain("app=x,env=prod");
  expect(await cluster.kubectl("get", "pods", "-L", "env")).toMatch(/AGE\s+ENV/);
});

test("scenario 39: the node shows capacity, allocatable, conditions, addresses, runtime and images", async () => {
  const text = await cluster.node.kubectl("describe", "node", "node1");
  for (const part of [
    /InternalIP:\s+\d+\./,
    /Hostname:\s+node1/,
    /cpu:\s+\d+/,
    /memory:\s+\d+Ki/,
    /pods:\s+110/,
    /Container Runtime Version:\s+docker:\/\/\d+/,
    /Kubelet Version:\s+v1\./,
    /Kernel Version:\s+\d+/,
    /OS Image:\s+Debian/,
    /MemoryPressure\s+False/,
    /Ready\s+True.*KubeletReady/,
  ])
    expect(text).toMatch(part);
  const node = await cluster.node.json<{ status: { images: { names: string[] }[] } }>(
    "get",
    "node",
    "node1",
  );
  expect(JSON.stringify(node.status.images)).toContain("busybox");
  expect(await cluster.node.kubectl("get", "nodes")).toMatch(/node1\s+Ready/);
});

test("the Lease of the node is renewed", async () => {
  const read = () =>
    cluster.node.kubectl(
      "-n",
      "kube-node-lease",
      "get",
      "lease",
      "node1",
      "-o",
      "jsonpath={.spec.renewTime}",
    );
  const before = await read();
  await new Promise((wake) => setTimeout(wake, 12_000));
  expect(await read()).not.toBe(before);
});
