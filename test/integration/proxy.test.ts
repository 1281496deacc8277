/** The service proxy with real packets: node, pods and rules in namespaces. Needs root, iptables and busybox. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { MutableStore } from "../../src/api/store.ts";
import type { EndpointSlice, Service } from "../../src/api/types.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createIptables } from "../../src/core/iptables.ts";
import { BridgePodNetwork } from "../../src/network/pod-network.ts";
import { removeProxyRules } from "../../src/proxy/cleanup.ts";
import { createConntrack } from "../../src/proxy/conntrack.ts";
import { Proxier } from "../../src/proxy/proxier.ts";
import { makeService, makeSlice, PROXIER_RULES } from "../builders/services.ts";
import {
  ask,
  hostRules,
  NodeNamespace,
  pause,
  recordingLog,
  type TestPod,
} from "../support/netns.ts";

const signal = new AbortController().signal;
const { log, messages } = recordingLog();
const services = new MutableStore<Service>();
const endpointSlices = new MutableStore<EndpointSlice>();
const WEB = "10.121.0.10";
let hostBefore: string;
let node: NodeNamespace;
let network: BridgePodNetwork;
let proxier: Proxier;
let client: TestPod;
let web: readonly TestPod[];

async function makePod(id: string): Promise<TestPod> {
  const pod = await node.makePod(id, (await network.allocate(id, async () => []))[0] ?? "");
  await network.attach(pod.sandbox, signal);
  return pod;
}

/** The addresses of `pods`. */
const ipsOf = (pods: readonly TestPod[]) => pods.flatMap((pod) => pod.sandbox.ips);

/** Waits until the kernel has every change told so far. */
async function synced(): Promise<void> {
  for (let i = 0; i < 500; i++) {
    const { lastSyncAt, pendingSince } = proxier.state;
    if (lastSyncAt !== undefined && pendingSince === undefined) return;
    await pause(10);
  }
  throw new Error(`no sync: ${JSON.stringify(proxier.state)} ${messages.join("; ")}`);
}

function makeProxier(): Proxier {
  return new Proxier({
    services,
    endpointSlices,
    rules: () => ({
      ...PROXIER_RULES,
      detectLocal: { kind: "Cidr", cidr: "10.120.0.0/16" },
    }),
    iptables: createIptables({ exec: node.exec, family: "IPv4" }),
    conntrack: createConntrack({ exec: node.exec, family: "IPv4", log }),
    clock: systemClock,
    log,
    syncPeriodMs: 300,
    minSyncPeriodMs: 10,
  });
}

beforeAll(async () => {
  hostBefore = hostRules();
  node = new NodeNamespace("network-p", "10.121.0.0/16");
  node.run("iptables", "-P", "FORWARD", "DROP");
  network = new BridgePodNetwork({
    podCidr: "10.120.1.0/24",
    clusterCidr: "10.120.0.0/16",
    exec: node.exec,
    iptables: createIptables({ exec: node.exec, family: "IPv4" }),
    log,
  });
  await network.start(signal);
  client = await makePod("client");
  web = [await makePod("web-0"), await makePod("web-1")];
  await web[0]?.serve(8080, "web-0");
  await web[1]?.serve(8080, "web-1");
  proxier = makeProxier();
  proxier.start();
  services.replace([makeService({ name: "web", clusterIp: WEB })]);
  endpointSlices.replace([makeSlice({ service: "web", ips: ipsOf(web), port: 8080 })]);
  await synced();
});

afterAll(async () => {
  await proxier.stop();
  await node.remove();
  expect(hostRules()).toBe(hostBefore);
});

test("a pod reaches both endpoints by the cluster address, and is seen with its own address", () => {
  const answers = new Set(Array.from({ length: 24 }, () => ask(client, WEB, 80)));
  const seen = client.sandbox.ips[0];
  expect([...answers].sort()).toEqual([`web-0 ${seen}`, `web-1 ${seen}`]);
});

test("the node reaches it and is masqueraded: its reply must come back by the bridge", () => {
  expect(ask(node, WEB, 80)).toMatch(/^web-[01] 10\.120\.1\.1$/);
});

test("a pod reaches itself through its Service", async () => {
  const own = web[0];
  if (own === undefined) throw new Error("no pod");
  endpointSlices.apply(makeSlice({ service: "web", ips: ipsOf([own]), port: 8080 }));
  await synced();
  expect(ask(own, WEB, 80)).toBe("web-0 10.120.1.1");
});

test("a changed endpoint is used from the next connection on", async () => {
  endpointSlices.apply(makeSlice({ service: "web", ips: ipsOf(web.slice(1)), port: 8080 }));
  await synced();
  const answers = new Set(Array.from({ length: 8 }, () => ask(client, WEB, 80)));
  expect([...answers]).toEqual([`web-1 ${client.sandbox.ips[0]}`]);
});

test("a Service without endpoints refuses pods and the node", async () => {
  services.apply(makeService({ name: "empty", clusterIp: "10.121.0.11" }));
  await synced();
  expect(ask(client, "10.121.0.11", 80)).toBe("refused");
  expect(ask(node, "10.121.0.11", 80)).toBe("refused");
});

test("a NodePort answers on the node's address", async () => {
  const spec = {
    type: "NodePort",
    ports: [{ protocol: "TCP", port: 80, nodePort: 30080 }],
  } as const;
  services.apply(
    makeService({ name: "web", clusterIp: WEB, spec: { ...spec, ports: [...spec.ports] } }),
  );
  await synced();
  expect(ask(client, "192.0.2.1", 30080)).toBe("web-1 10.120.1.1");
});

test("a client with session affinity stays with its endpoint", async () => {
  services.apply(
    makeService({ name: "web", clusterIp: WEB, spec: { sessionAffinity: "ClientIP" } }),
  );
  endpointSlices.apply(makeSlice({ service: "web", ips: ipsOf(web), port: 8080 }));
  await synced();
  expect(new Set(Array.from({ length: 12 }, () => ask(client, WEB, 80))).size).toBe(1);
});

test("a UDP flow to an endpoint that is gone is forgotten, others are not", async () => {
  const insert = (destination: string, answeredBy: string) => {
    const flow = ["-p", "udp", "-s", "10.120.1.2", "-d", destination, "--sport", "4000", "--dport"];
    const reply = ["--reply-src", answeredBy, "--reply-dst", "10.120.1.2", "--reply-port-src"];
    const ends = ["53", ...reply, "53", "--reply-port-dst", "4000", "-t", "100"];
    node.run("conntrack", "-I", ...flow, ...ends);
  };
  insert("10.121.0.53", "10.120.1.98");
  insert("10.121.0.54", "10.120.1.99");
  const port = { protocol: "UDP", port: 53 } as const;
  services.apply(makeService({ name: "dns", clusterIp: "10.121.0.53", ...port }));
  endpointSlices.apply(makeSlice({ service: "dns", ips: ipsOf(web), ...port }));
  await synced();
  const flows = node.run("conntrack", "-L", "-p", "udp");
  expect(flows).not.toContain("dst=10.121.0.53");
  expect(flows).toContain("dst=10.121.0.54");
});

test("rules that somebody flushed come back", async () => {
  node.run("iptables", "-t", "mangle", "-X", "KUBE-PROXY-CANARY");
  node.run("iptables", "-t", "nat", "-F");
  // `ask` blocks the loop that the proxier needs, so the wait looks at the rules.
  const isBack = () => node.run("iptables", "-t", "mangle", "-S").includes("KUBE-PROXY-CANARY");
  for (let i = 0; i < 100 && !isBack(); i++) await pause(50);
  expect(ask(client, WEB, 80)).toMatch(/^web-/);
  expect(messages.join()).toContain("flushed by somebody");
});

test("a restart changes no rule and drops chains of Services that went away meanwhile", async () => {
  const rules = () => node.run("iptables-save").replace(/^#.*|\[\d+:\d+\]/gm, "");
  await synced();
  const before = rules();
  await proxier.stop();
  expect(rules()).toBe(before);
  node.run("iptables", "-t", "nat", "-N", "KUBE-SVC-AAAAAAAAAAAAAAAA");
  proxier = makeProxier();
  proxier.start();
  await synced();
  const sorted = (text: string) => text.split("\n").sort().join("\n");
  expect(sorted(rules())).toBe(sorted(before));
});

test("cleanup takes every rule away, also the second time", async () => {
  await proxier.stop();
  const iptables = createIptables({ exec: node.exec, family: "IPv4" });
  await removeProxyRules(iptables, signal);
  await removeProxyRules(iptables, signal);
  expect(node.run("iptables-save")).not.toContain("KUBE-");
});
