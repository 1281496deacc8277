/** examples/web.yaml, as the README tells a newcomer to apply it: served, and leaving nothing behind. */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();
const example = readFileSync(resolve(import.meta.dirname, "../../examples/web.yaml"), "utf8");

/** Everything on the node that a pod may leave: containers, mounts, directories, links, service rules. */
function traces(): Promise<string> {
  return cluster.node.sh(
    "docker ps -aq --no-trunc | sort; grep /var/lib/longshore/pods /proc/self/mountinfo | sort; ls /var/lib/longshore/pods; ip -o link | grep -o 'lsh[0-9a-f]*' | sort; iptables-save | grep -E '^-A KUBE-(SVC|SEP)' | sort",
  );
}

test("examples/web.yaml is served from the node and from a pod, and its deletion leaves nothing", async () => {
  // Other suites' pods may still be on their way out.
  await eventually(
    "no other pod is left",
    async () => (await cluster.node.kubectl("get", "pods", "-A", "-o", "name")) === "",
  );
  const before = await traces();
  const applied = await cluster.node.exec(
    ["kubectl", "-n", cluster.namespace, "apply", "-f", "-"],
    { input: example },
  );
  expect(applied.stderr).toBe("");
  expect(applied.code).toBe(0);
  await cluster.ready("web");
  const ip = await cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
  const page = /^Hello from Longshore, web, key of 13 bytes\n$/;
  const served = await eventually("the node is served", async () => {
    const { stdout } = await cluster.node.exec(["curl", "-s", "-m", "2", `http://${ip}`]);
    return stdout !== "" && stdout;
  });
  expect(served).toMatch(page);
  await cluster.apply(
    podManifest("once", {
      restartPolicy: "Never",
      containers: [shell("main", "wget -q -O - http://$WEB_SERVICE_HOST")],
    }),
  );
  await cluster.until("once", "Succeeded", (pod) => pod.status.phase === "Succeeded");
  expect(await cluster.kubectl("logs", "once")).toMatch(page);
  await cluster.node.exec(["kubectl", "-n", cluster.namespace, "apply", "-f", "-"], {
    input: example,
  });
  await cluster.kubectl("delete", "pod", "once");
  await cluster.node.exec(["kubectl", "-n", cluster.namespace, "delete", "-f", "-"], {
    input: example,
  });
  await cluster.gone("web");
  await eventually(
    "nothing is left",
    async () => {
      const after = await traces();
      if (after === before) return true;
      throw new Error(`before:\n${before}\nafter:\n${after}`);
    },
    20_000,
  );
});
