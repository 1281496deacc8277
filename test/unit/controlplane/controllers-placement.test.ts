import { describe, expect, it } from "vitest";
import type { Node, Pod } from "../../../src/api/types.ts";
import { computePlacement, isWaiting } from "../../../src/controlplane/controllers/placement.ts";

const meta = (name: string) => ({ name, uid: `uid-${name}`, resourceVersion: "1" });

function node(name: string, change: Partial<Node> = {}): Node {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { ...meta(name), labels: { disk: "ssd" } },
    status: {
      conditions: [{ type: "Ready", status: "True" }],
      allocatable: { pods: "2" },
    },
    ...change,
  } as Node;
}

function pod(spec: object = {}, name = "web"): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...meta(name), namespace: "default" },
    spec: { containers: [], ...spec },
  } as Pod;
}

const unready = { status: { conditions: [{ type: "Ready", status: "Unknown" }] } } as Partial<Node>;
const tainted = {
  spec: { taints: [{ key: "gpu", value: "yes", effect: "NoSchedule" }] },
} as Partial<Node>;
const affinity = (operator: string, values: string[]) => ({
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: "disk", operator, values }] }],
      },
    },
  },
});

describe("placing a pod", () => {
  it.each<[string, object, Node[], string]>([
    ["binds to a ready node", {}, [node("n")], "n"],
    ["needs a node at all", {}, [], "no nodes available to schedule pods"],
    [
      "skips a cordoned node",
      {},
      [node("n", { spec: { unschedulable: true } })],
      "0/1 nodes are available: 1 node(s) were unschedulable.",
    ],
    [
      "skips a node that is not ready",
      {},
      [node("n", unready)],
      "0/1 nodes are available: 1 node(s) had untolerated taint(s).",
    ],
    [
      "skips a tainted node",
      {},
      [node("n", tainted), node("m", tainted)],
      "0/2 nodes are available: 2 node(s) had untolerated taint(s).",
    ],
    [
      "uses a tainted node that is tolerated",
      { tolerations: [{ key: "gpu", value: "yes" }] },
      [node("n", tainted)],
      "n",
    ],
    [
      "tolerates everything with a bare Exists",
      { tolerations: [{ operator: "Exists" }] },
      [node("n", { ...tainted, ...unready })],
      "n",
    ],
    ["follows the node selector", { nodeSelector: { disk: "ssd" } }, [node("n")], "n"],
    [
      "finds no node for another selector",
      { nodeSelector: { disk: "hdd" } },
      [node("n")],
      "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    ],
    ["follows required affinity", affinity("In", ["ssd"]), [node("n")], "n"],
    [
      "refuses by required affinity",
      affinity("NotIn", ["ssd"]),
      [node("n")],
      "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    ],
  ])("%s", (_sentence, spec, nodes, expected) => {
    const placement = computePlacement(pod(spec), nodes, []);
    expect(placement.kind === "bound" ? placement.nodeName : placement.message).toBe(expected);
  });

  it("prefers the node with fewest pods that have not ended", () => {
    const ended = { ...pod({ nodeName: "b" }, "ended"), status: { phase: "Succeeded" } } as Pod;
    const pods = [pod({ nodeName: "a" }, "p1"), ended];
    expect(computePlacement(pod(), [node("a"), node("b")], pods)).toEqual({
      kind: "bound",
      nodeName: "b",
    });
  });

  it("says when a node is full", () => {
    const pods = ["p1", "p2"].map((name) => pod({ nodeName: "a" }, name));
    expect(computePlacement(pod(), [node("a")], pods)).toEqual({
      kind: "unschedulable",
      message: "0/1 nodes are available: 1 Too many pods.",
    });
  });

  it("waits only for pods that are its own to bind", () => {
    expect(isWaiting(pod())).toBe(true);
    expect(isWaiting(pod({ nodeName: "n" }))).toBe(false);
    expect(isWaiting(pod({ schedulerName: "other" }))).toBe(false);
    expect(isWaiting(pod({ schedulingGates: [{ name: "hold" }] }))).toBe(false);
  });
});

describe("a host port", () => {
  const listening = (hostPort: number, port: object = {}, more: object = {}): object => ({
    containers: [{ name: "c", ports: [{ containerPort: 80, hostPort, ...port }] }],
    ...more,
  });
  const refused =
    "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";

  it.each<[string, object, object, string]>([
    ["that is free", listening(80), listening(81), "n"],
    ["that another pod has", listening(80), listening(80), refused],
    ["of another protocol", listening(80), listening(80, { protocol: "UDP" }), "n"],
    [
      "of another address",
      listening(80, { hostIP: "1.1.1.1" }),
      listening(80, { hostIP: "::1" }),
      "n",
    ],
    [
      "of every address",
      listening(80, { hostIP: "1.1.1.1" }),
      listening(80, { hostIP: "0.0.0.0" }),
      refused,
    ],
  ])("%s", (_what, spec, taken, expected) => {
    const other = pod({ ...taken, nodeName: "n" }, "other");
    const placement = computePlacement(pod(spec), [node("n")], [other]);
    expect(placement.kind === "bound" ? placement.nodeName : placement.message).toBe(expected);
    const ended = { ...other, status: { phase: "Failed" as const } };
    expect(computePlacement(pod(spec), [node("n")], [ended])).toMatchObject({ nodeName: "n" });
  });
});
