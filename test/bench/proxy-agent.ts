/**
 * Memory of the whole agent beside many Services: a node container with control plane and agent as two processes, and
 * objects made through the API (fill-services.ts). Called by proxy.ts for `--agent`. Wants dist/longshore (`npm run
 * build`) and the node image (scripts/node-image).
 */

import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually, NodeContainer, run } from "../support/node-container.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const NODE = "/repo/node_modules/.bin/node";
const STATE = "/var/lib/longshore/controlplane";
/** Longer than the agent waits before it lets go of what only its start, or a burst of changes, needed. */
const SETTLED_MS = 130_000;

export interface AgentResult {
  readonly size: string;
  /** Resident, with all rules written and nothing to do. */
  readonly agentMb: number;
  /** Of that, all but the pages of files: the program's are clean, shared, and as many as the page cache has at hand. */
  readonly ownMb: number;
  /** The same after the endpoints of 100 Services became others. */
  readonly churnedMb: number;
  /** The most it ever was. */
  readonly peakMb: number;
}

export async function measureAgent(size: string): Promise<AgentResult> {
  const [count = 0] = size.split("x").map(Number);
  const node = await NodeContainer.start({ extra: ["-v", `${ROOT}:/repo:ro`] });
  try {
    const up = "longshore up --node-name node1 --control-plane-only --log-level warn";
    await node.background("up", up);
    await eventually("the API server answers", async () => {
      const { code } = await node.exec(["kubectl", "get", "nodes"]);
      return code === 0;
    });
    await fill(node, size, { from: 0, to: count, shift: 0 });
    const credentials = `--kubeconfig ${STATE}/node.kubeconfig --proxy-kubeconfig ${STATE}/proxy.kubeconfig`;
    const agent = `longshore agent ${credentials} --hostname-override node1 --cluster-cidr 10.244.0.0/16`;
    await node.background("agent", agent);
    await eventually("every Service has its rules", () => hasRules(node, count), 300_000);
    await sleep(SETTLED_MS);
    const agentMb = await memoryOf(node, "VmRSS");
    const ownMb = await memoryOf(node, "RssAnon");
    await fill(node, size, { from: 0, to: Math.min(100, count), shift: 8 });
    await sleep(SETTLED_MS);
    const churnedMb = await memoryOf(node, "VmRSS");
    return { size, agentMb, ownMb, churnedMb, peakMb: await memoryOf(node, "VmHWM") };
  } finally {
    await node.stop();
    await run(["docker", "network", "rm", "longshore-e2e"]);
  }
}

async function fill(
  node: NodeContainer,
  size: string,
  which: { readonly from: number; readonly to: number; readonly shift: number },
): Promise<void> {
  const { from, to, shift } = which;
  const what = `${STATE}/admin.kubeconfig ${size} ${from} ${to} ${shift}`;
  await node.sh(`${NODE} /repo/test/bench/fill-services.ts ${what}`, { timeoutMs: 600_000 });
}

/** Dispatch comes last, so that it is there when everything is. */
async function hasRules(node: NodeContainer, count: number): Promise<boolean> {
  const jumps = "iptables-save -t nat | grep -c -- '--dport 80 -j KUBE-SVC-'";
  return Number(await node.sh(`${jumps} || true`)) >= count;
}

async function memoryOf(
  node: NodeContainer,
  field: "VmRSS" | "VmHWM" | "RssAnon",
): Promise<number> {
  const status = await node.sh("cat /proc/$(cat /run/agent.pid)/status");
  const kib = Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1]);
  return Math.round((kib * 1024) / 1e6);
}
