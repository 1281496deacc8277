/**
 * A node of its own whose agent is a process apart from the API server's, so that a test can kill it and start it again,
 * and chance that is the same for the same seed.
 */

import { Cluster } from "./cluster.ts";
import { eventually, NodeContainer } from "./node-container.ts";

const STATE = "/var/lib/longshore/controlplane";

export async function startAgent(node: NodeContainer): Promise<void> {
  await node.background(
    "agent",
    `longshore agent --kubeconfig ${STATE}/node.kubeconfig --proxy-kubeconfig ${STATE}/proxy.kubeconfig --hostname-override node1 --client-ca-file ${STATE}/pki/ca.crt --cluster-cidr 10.244.0.0/16`,
  );
}

/** With an API server, an agent and a Node that is Ready; the caller stops the node. */
export async function startLoneAgent(): Promise<Cluster> {
  const node = await NodeContainer.start();
  await node.background("up", "longshore up --control-plane-only --node-name node1");
  await eventually(
    "the API server answers",
    async () => (await node.exec(["kubectl", "get", "namespaces"])).code === 0,
  );
  await startAgent(node);
  await eventually("the node is Ready", async () =>
    / Ready /.test((await node.exec(["kubectl", "get", "nodes"])).stdout),
  );
  return new Cluster(node, "default");
}

/** mulberry32: the same whole numbers from 0 and below what is asked for the same seed. */
export function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** What may still be on the node of pods that have gone: nothing, of each. */
const TRACES: Readonly<Record<string, string>> = {
  containers: "docker ps -aq --filter label=io.kubernetes.pod.uid",
  directories: "ls /var/lib/longshore/pods",
  mounts: "grep /var/lib/longshore/pods /proc/self/mountinfo",
  links: "ip -o link | grep lsh",
};

export async function untilNothingIsLeft(node: NodeContainer): Promise<void> {
  await eventually("nothing is left", async () => {
    for (const [what, script] of Object.entries(TRACES)) {
      const text = await node.sh(`${script} || true`);
      if (text.trim() !== "") throw new Error(`${what}: ${text}`);
    }
    return true;
  });
}
