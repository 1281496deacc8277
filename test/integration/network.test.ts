/** The pod network on real links and real iptables, in a namespace that plays the node. Needs root. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createIptables } from "../../src/core/iptables.ts";
import { createNetlink, type Netlink } from "../../src/core/netlink.ts";
import { linkName } from "../../src/network/bridge-commands.ts";
import { removeNetwork } from "../../src/network/cleanup.ts";
import { BridgePodNetwork } from "../../src/network/pod-network.ts";
import { ask, hostRules, NodeNamespace, recordingLog, type TestPod } from "../support/netns.ts";

const signal = new AbortController().signal;
const none = async () => [];
const refuse = () => Promise.reject(new Error("no program is to run"));

function netlinkOf(node: NodeNamespace): Netlink {
  const netlink = createNetlink(node.namespaceFile);
  if (netlink === undefined) throw new Error("this Node has no node:ffi");
  return netlink;
}

const { log, messages } = recordingLog();
describe.each([
  ["netlink", true],
  ["ip(8)", false],
])("the pod network by %s", (_name, isByNetlink) => {
  const options = () => ({
    podCidr: "10.110.1.0/24",
    clusterCidr: "10.110.0.0/16",
    exec: node.exec,
    iptables: createIptables({ exec: node.exec, family: "IPv4" }),
    log,
  });
  const describeLink = (pod: TestPod, id: string) => {
    const show = (from: { run(file: string, ...args: string[]): string }, ...args: string[]) =>
      from
        .run("ip", "-d", ...args)
        .replaceAll(/lsh[0-9a-f]+|10\.110\.1\.(2|77)\b|([0-9a-f]{2}:){5}[0-9a-f]{2}/g, "X")
        .replaceAll(
          /^\d+|(?<=@if)\d+|link-netns(id)? \S+|0x[0-9a-f]+|\b8[0-9a-f]{3}\.\S+|port_\S+ \S+|_timer\s+\S+|port \d+/gm,
          "",
        );
    return [
      show(pod, "link", "show"),
      show(pod, "-4", "address", "show"),
      show(pod, "-4", "route", "show", "table", "all"),
      show(node, "link", "show", "dev", linkName(id)),
    ];
  };
  let hostBefore: string;
  let node: NodeNamespace;
  let network: BridgePodNetwork;
  let a: TestPod;
  let b: TestPod;

  beforeAll(async () => {
    hostBefore = hostRules();
    node = new NodeNamespace("network-n", "10.111.0.0/16");
    node.run("iptables", "-P", "FORWARD", "DROP");
    network = new BridgePodNetwork({
      ...options(),
      ...(isByNetlink ? { netlink: netlinkOf(node) } : {}),
    });
    await network.start(signal);
    a = await node.makePod("sandbox-a", (await network.allocate("a", none))[0] ?? "");
    b = await node.makePod("sandbox-b", (await network.allocate("b", none))[0] ?? "");
    await network.attach(a.sandbox, signal);
    await network.attach(b.sandbox, signal);
  });

  afterAll(async () => {
    await node.remove();
    expect(hostRules()).toBe(hostBefore);
  });

  const ping = (from: { run(file: string, ...args: string[]): string }, ip: string) =>
    from.run("busybox", "ping", "-c", "1", "-W", "2", ip);

  test("two sandboxes reach each other over the bridge although FORWARD drops", () => {
    expect(a.sandbox.ips).toEqual(["10.110.1.2"]);
    expect(b.sandbox.ips).toEqual(["10.110.1.3"]);
    ping(a, "10.110.1.3");
    ping(b, "10.110.1.2");
    expect(messages).toEqual([]);
  });

  test("a link is the same whichever way it was made", async () => {
    const other = await node.makePod("sandbox-other", "10.110.1.77");
    const byOther = isByNetlink
      ? new BridgePodNetwork({ ...options(), exec: node.exec })
      : new BridgePodNetwork({ ...options(), exec: refuse, netlink: netlinkOf(node) });
    await byOther.attach(other.sandbox, signal);
    expect(describeLink(other, "sandbox-other")).toEqual(describeLink(a, "sandbox-a"));
  });

  test("the node reaches a pod and a pod the node", () => {
    ping(node, "10.110.1.2");
    ping(a, "10.110.1.1");
  });

  test("what leaves the cluster carries the node's address, what stays inside the pod's", async () => {
    const outside = await node.makePod("outside", "192.0.2.2");
    node.run("ip", "link", "set", "sink-end", "netns", String(outside.pid));
    outside.run("ip", "address", "add", "192.0.2.2/24", "dev", "sink-end");
    outside.run("ip", "link", "set", "sink-end", "up");
    await outside.serve(8080, "outside");
    await b.serve(8080, "b");
    expect(ask(a, "192.0.2.2", 8080)).toBe("outside 192.0.2.1");
    expect(ask(a, "10.110.1.3", 8080)).toBe("b 10.110.1.2");
  });

  test("attaching again changes nothing, and a half-made link is made anew", async () => {
    const before = a.run("ip", "-4", "address");
    await network.attach(a.sandbox, signal);
    expect(a.run("ip", "-4", "address")).toBe(before);
    a.run("ip", "route", "del", "default");
    await network.attach(a.sandbox, signal);
    expect(a.run("ip", "route")).toContain("default via 10.110.1.1 dev eth0");
    ping(a, "10.110.1.3");
  });

  test("a bridge that was removed comes back with its links", async () => {
    node.run("ip", "link", "del", "longshore0");
    node.run("iptables", "-F", "FORWARD");
    await network.repair(signal);
    ping(a, "10.110.1.3");
    ping(node, "10.110.1.2");
  });

  test("starting twice makes no second rule", async () => {
    const before = node.run("iptables-save").replace(/^#.*|\[\d+:\d+\]/gm, "");
    await network.repair(signal);
    expect(node.run("iptables-save").replace(/^#.*|\[\d+:\d+\]/gm, "")).toBe(before);
  });

  test("our acceptance stays behind the service proxy's jumps", async () => {
    node.run("iptables", "-N", "KUBE-SERVICES");
    node.run("iptables", "-A", "FORWARD", "-j", "DROP");
    node.run("iptables", "-I", "FORWARD", "-j", "KUBE-SERVICES");
    node.run(
      "iptables",
      "-D",
      "FORWARD",
      "-m",
      "comment",
      "--comment",
      "longshore: pod traffic",
      "-j",
      "LONGSHORE-FORWARD",
    );
    await network.repair(signal);
    const targets = [...node.run("iptables", "-S", "FORWARD").matchAll(/-j (\S+)/g)].map(
      (m) => m[1],
    );
    expect(targets).toEqual(["KUBE-SERVICES", "LONGSHORE-FORWARD", "DROP"]);
  });

  test("links of sandboxes that are gone are collected, the others stay", async () => {
    await network.collect([a.sandbox], signal);
    expect(node.run("ip", "-o", "link")).toContain(linkName("sandbox-b"));
    await network.collect([a.sandbox], signal);
    const links = node.run("ip", "-o", "link");
    expect(links).toContain(linkName("sandbox-a"));
    expect(links).not.toContain(linkName("sandbox-b"));
  });

  test("cleanup leaves nothing, also the second time", async () => {
    await removeNetwork(node.exec, signal);
    await removeNetwork(node.exec, signal);
    expect(node.run("iptables-save")).not.toContain("LONGSHORE");
    expect(node.run("ip", "-o", "link")).not.toMatch(/longshore0|lsh[0-9a-f]/);
  });
});
