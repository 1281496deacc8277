/** Ports of the node that lead to pods: real packets in a namespace that plays the node. Needs root. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { createIptables } from "../../src/core/iptables.ts";
import { removeNetwork } from "../../src/network/cleanup.ts";
import { BridgePodNetwork } from "../../src/network/pod-network.ts";
import type { HostPort, Sandbox } from "../../src/runtime/runtime.ts";
import { ask, hostRules, NodeNamespace, recordingLog, type TestPod } from "../support/netns.ts";

const signal = new AbortController().signal;
const NODE = "192.0.2.1";
const { log, messages } = recordingLog();

let hostBefore: string;
let node: NodeNamespace;
let network: BridgePodNetwork;
let outside: TestPod;
const pods = new Map<string, TestPod>();

function createNetwork(): BridgePodNetwork {
  return new BridgePodNetwork({
    ...{ podCidr: "10.112.1.0/24", clusterCidr: "10.112.0.0/16", exec: node.exec, log },
    iptables: createIptables({ exec: node.exec, family: "IPv4" }),
  });
}

/** A pod that answers with its name on 8080. */
async function start(name: string, ...hostPorts: readonly HostPort[]): Promise<Sandbox> {
  const [ip = ""] = await network.allocate(name, async () => []);
  const pod = await node.makePod(name, ip);
  const sandbox = { ...pod.sandbox, hostPorts };
  await network.attach(sandbox, signal);
  await pod.serve(8080, name);
  pods.set(name, pod);
  return sandbox;
}

const port = (hostPort: number, hostIp = "", protocol: HostPort["protocol"] = "TCP"): HostPort => ({
  ...{ protocol, hostIp, hostPort, containerPort: 8080 },
});
const podOf = (name: string): TestPod => pods.get(name) ?? expect.fail(name);

const sandboxes: Sandbox[] = [];

beforeAll(async () => {
  hostBefore = hostRules();
  node = new NodeNamespace("host-ports-n", "10.113.0.0/16");
  node.run("iptables", "-P", "FORWARD", "DROP");
  outside = await node.makePod("outside", "192.0.2.2");
  node.run("ip", "link", "set", "sink-end", "netns", String(outside.pid));
  outside.run("ip", "address", "add", "192.0.2.2/24", "dev", "sink-end");
  outside.run("ip", "link", "set", "sink-end", "up");
  network = createNetwork();
  await network.start(signal);
  // As upstream's test has them: one port number, three addresses and protocols.
  sandboxes.push(await start("loopback", port(54_323, "127.0.0.1")));
  sandboxes.push(await start("tcp", port(54_323, NODE)));
  sandboxes.push(await start("udp", port(54_323, NODE, "UDP")));
  sandboxes.push(await start("every", port(8000)));
  sandboxes.push(await start("none"));
});

afterAll(async () => {
  await node.remove();
  expect(hostRules()).toBe(hostBefore);
});

test("a port of the node leads to the pod, by address and protocol", () => {
  expect(ask(node, "127.0.0.1", 54_323)).toMatch(/^loopback /);
  expect(ask(node, NODE, 54_323)).toMatch(/^tcp /);
  expect(ask(outside, NODE, 54_323)).toBe("tcp 192.0.2.2");
  expect(ask(podOf("none"), NODE, 54_323)).toMatch(/^tcp /);
  expect(messages).toEqual([]);
});

test("from an address of the node to its loopback address, as upstream's test asks", () => {
  const program = `const s = require("net").connect({ port: 54323, host: "127.0.0.1", localAddress: "${NODE}" }); s.on("data", (d) => console.log(String(d))); s.setTimeout(3000, () => s.destroy())`;
  expect(node.run(process.execPath, "-e", program)).toMatch(/^loopback 192\.0\.2\.1/);
});

test("UDP goes to its own pod, also a flow that began before the pod", async () => {
  const echo = (pod: TestPod, name: string): void =>
    void pod.spawn(
      process.execPath,
      "-e",
      `const s = require("dgram").createSocket("udp4"); s.on("message", (_, r) => s.send("${name}", r.port, r.address)); s.bind(8080)`,
    );
  echo(podOf("udp"), "udp");
  const said = (to: number): string =>
    outside.run(
      process.execPath,
      "-e",
      `const s = require("dgram").createSocket("udp4"); let n = 0; s.bind(40000);
       s.on("message", (d) => { console.log(String(d)); s.close(); clearInterval(t); });
       s.on("error", () => undefined);
       const t = setInterval(() => { if (n++ === 30) { s.close(); clearInterval(t); } else s.send("x", ${to}, "${NODE}"); }, 100)`,
    );
  expect(said(54_323)).toBe("udp\n");
  // The same client asks before there is anybody, and is answered as soon as there is.
  expect(said(5300)).toBe("");
  sandboxes.push(await start("late", port(5300, "", "UDP")));
  echo(podOf("late"), "late");
  expect(said(5300)).toBe("late\n");
});

test("a pod reaches itself, and so does the node by its loopback address", () => {
  expect(ask(podOf("every"), NODE, 8000)).toBe("every 10.112.1.1");
  expect(ask(node, "127.0.0.1", 8000)).toBe("every 10.112.1.1");
});

test("no pod reaches what listens on the node's loopback address", async () => {
  const program = `require("net").createServer((s) => s.end("secret")).listen(9099, "127.0.0.1")`;
  node.spawn(process.execPath, "-e", program);
  await expect.poll(() => ask(node, "127.0.0.1", 9099)).toBe("secret");
  const attacker = podOf("none");
  attacker.run("ip", "address", "flush", "dev", "lo");
  attacker.run("sysctl", "-q", "-w", "net.ipv4.conf.all.route_localnet=1");
  attacker.run("ip", "route", "add", "127.0.0.1/32", "via", "10.112.1.1", "dev", "eth0");
  expect(ask(attacker, "127.0.0.1", 9099)).toBe("timeout");
  // The door that the rule keeps shut.
  node.run("iptables", "-F", "LONGSHORE-INPUT");
  expect(ask(attacker, "127.0.0.1", 9099)).toBe("secret");
  await network.repair(signal);
  expect(ask(attacker, "127.0.0.1", 9099)).toBe("timeout");
});

test("an agent that was killed finds its rules; what went meanwhile goes", async () => {
  const rest = sandboxes.filter(({ id }) => id !== "tcp");
  const before = node.run("iptables", "-t", "nat", "-S", "LONGSHORE-HOSTPORTS");
  network = createNetwork();
  await network.start(signal);
  expect(node.run("iptables", "-t", "nat", "-S", "LONGSHORE-HOSTPORTS")).toBe(before);
  await network.collect(rest, signal);
  expect(ask(outside, NODE, 54_323)).toBe("refused");
  expect(ask(outside, NODE, 8000)).toMatch(/^every /);
});

test("a sandbox that ends takes its ports with it", async () => {
  const every = sandboxes.find(({ id }) => id === "every") ?? expect.fail();
  await network.detach(every, signal);
  expect(ask(outside, NODE, 8000)).toBe("refused");
});

test("cleanup leaves nothing, also the second time", async () => {
  await removeNetwork(node.exec, signal);
  await removeNetwork(node.exec, signal);
  expect(node.run("iptables-save")).not.toContain("LONGSHORE");
});
