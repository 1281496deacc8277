/**
 * Kubernetes' promises about packets, with real ones: a node between a host outside, two local endpoints and one on another
 * node, all namespaces with links of their own, IPv4 and IPv6. Needs root, iptables, ip6tables and conntrack.
 */

import { execFileSync, spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MutableStore } from "../../src/api/store.ts";
import type { EndpointSlice, Service } from "../../src/api/types.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { Family } from "../../src/core/ip.ts";
import { createIptables } from "../../src/core/iptables.ts";
import { createConntrack } from "../../src/proxy/conntrack.ts";
import { Proxier } from "../../src/proxy/proxier.ts";
import { makeService, makeSlice, PROXIER_RULES } from "../builders/services.ts";
import { hostRules, NodeNamespace, pause, recordingLog } from "../support/netns.ts";

const { log, messages } = recordingLog();
let hostBefore: string;
let node: NodeNamespace;
const started: { kill(signal: "SIGKILL"): void }[] = [];
const namespaces: string[] = [];

/** A host with its own link to the node: `n` numbers its addresses. */
class TestHost {
  readonly ips: Readonly<Record<Family, string>>;
  readonly #namespace: string;

  /** @param nets leading parts of its addresses, to which `n` is put */
  constructor(name: string, n: number, nets: Readonly<Record<Family, string>>) {
    this.#namespace = `proxy-core-p-${name}`;
    this.ips = { IPv4: `${nets.IPv4}.${n}.2`, IPv6: `${nets.IPv6}:${n}::2` };
    execFileSync("ip", ["netns", "add", this.#namespace]);
    namespaces.push(this.#namespace);
    const peer = ["peer", "name", "eth0", "netns", this.#namespace];
    node.run("ip", "link", "add", `to-${name}`, "type", "veth", ...peer);
    node.run("ip", "address", "add", `${nets.IPv4}.${n}.1/24`, "dev", `to-${name}`);
    node.run("ip", "address", "add", `${nets.IPv6}:${n}::1/64`, "dev", `to-${name}`, "nodad");
    node.run("ip", "link", "set", `to-${name}`, "up");
    for (const link of ["lo", "eth0"]) this.run("ip", "link", "set", link, "up");
    this.run("ip", "address", "add", `${this.ips.IPv4}/24`, "dev", "eth0");
    this.run("ip", "address", "add", `${this.ips.IPv6}/64`, "dev", "eth0", "nodad");
    this.run("ip", "route", "add", "default", "via", `${nets.IPv4}.${n}.1`);
    this.run("ip", "-6", "route", "add", "default", "via", `${nets.IPv6}:${n}::1`);
  }

  run(file: string, ...args: string[]): string {
    return execFileSync("ip", ["netns", "exec", this.#namespace, file, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Answers TCP and UDP on 8080 with `<name> <source as it sees it>`. */
  async serve(name: string): Promise<void> {
    const program = `
      const plain = (ip) => ip.replace("::ffff:", "");
      require("net").createServer((s) => s.end("${name} " + plain(s.remoteAddress))).listen(8080, "::");
      const udp = require("dgram").createSocket("udp6");
      udp.on("message", (_, from) => udp.send("${name} " + plain(from.address), from.port, from.address));
      udp.bind(8080, () => process.stdout.write("ready"));`;
    const args = ["netns", "exec", this.#namespace, process.execPath, "-e", program];
    const child = spawn("ip", args, { stdio: ["ignore", "pipe", "inherit"] });
    started.push(child);
    await new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
  }
}

/** What a server says to `from`; `refused`, or `timeout` after two seconds. */
function ask(
  from: { run(file: string, ...args: string[]): string },
  ip: string,
  port = 80,
): string {
  const program = `
    const s = require("net").connect(${port}, "${ip}");
    s.on("data", (d) => process.stdout.write(d)).on("error", (e) => process.stdout.write(e.code));
    setTimeout(() => { process.stdout.write("timeout"); process.exit(); }, 2000).unref();`;
  const said = from.run(process.execPath, "-e", program);
  return said === "ECONNREFUSED" ? "refused" : said;
}

/** Distinct answers of many connections. */
function answers(from: { run(file: string, ...args: string[]): string }, ip: string, port = 80) {
  const program = `
    let left = 24; const seen = new Set();
    const next = () => { if (left-- === 0) return process.stdout.write([...seen].sort().join());
      require("net").connect(${port}, "${ip}").on("data", (d) => seen.add(String(d)))
        .on("error", (e) => seen.add(e.code)).on("close", next); };
    next();`;
  return from.run(process.execPath, "-e", program).split(",");
}

const POD_NETS = { IPv4: "10.120", IPv6: "fd00:10:120" };
const OUTSIDE_NETS = { IPv4: "198.51", IPv6: "2001:db8:51" };
const WORLDS = {
  IPv4: { service: "10.121.0.1", vip: "203.0.113.9", node: "192.0.2.1", pods: "10.120.0.0/16" },
  IPv6: {
    service: "fd00:121::1",
    vip: "2001:db8:9::9",
    node: "2001:db8:2::1",
    pods: "fd00:10:120::/48",
  },
};
let client: TestHost;
let local: TestHost;
let second: TestHost;
let remote: TestHost;

beforeAll(async () => {
  hostBefore = hostRules();
  node = new NodeNamespace("proxy-core-p", "10.121.0.0/16");
  node.run("ip", "address", "add", `${WORLDS.IPv6.node}/64`, "dev", "sink", "nodad");
  // What no rule catches goes nowhere.
  node.run("ip", "-6", "route", "add", "fd00:121::/64", "dev", "sink");
  node.run("ip", "route", "add", WORLDS.IPv4.vip, "dev", "sink");
  node.run("ip", "-6", "route", "add", WORLDS.IPv6.vip, "dev", "sink");
  node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  client = new TestHost("client", 7, OUTSIDE_NETS);
  local = new TestHost("local", 1, POD_NETS);
  second = new TestHost("second", 2, POD_NETS);
  remote = new TestHost("remote", 3, POD_NETS);
  await local.serve("local");
  await second.serve("second");
  await remote.serve("remote");
});

afterAll(async () => {
  for (const child of started) child.kill("SIGKILL");
  for (const name of namespaces) execFileSync("ip", ["netns", "del", name]);
  await node.remove();
  expect(hostRules()).toBe(hostBefore);
});

describe.each(["IPv4", "IPv6"] as const)("%s", (family) => {
  const world = WORLDS[family];
  const services = new MutableStore<Service>();
  const endpointSlices = new MutableStore<EndpointSlice>();
  let proxier: Proxier;

  const synced = async (): Promise<void> => {
    for (let i = 0; i < 500; i++) {
      const { lastSyncAt, pendingSince } = proxier.state;
      if (lastSyncAt !== undefined && pendingSince === undefined) return;
      await pause(10);
    }
    throw new Error(`no sync: ${JSON.stringify(proxier.state)} ${messages.join("; ")}`);
  };

  /** A Service on the usual address, and its endpoints; `remote` is on another node. */
  const give = async (
    spec: Partial<NonNullable<Service["spec"]>>,
    hosts: readonly TestHost[],
    protocol: "TCP" | "UDP" = "TCP",
  ): Promise<void> => {
    const ports = [{ protocol, port: 80, nodePort: 30_080 }];
    const service = makeService({
      name: "web",
      clusterIp: world.service,
      spec: { type: "NodePort", ipFamilies: [family], ports, ...spec },
    });
    const slice = makeSlice({ service: "web", ips: [], port: 8080, protocol });
    const endpoints = hosts.map((host) => ({
      addresses: [host.ips[family]],
      nodeName: host === remote ? "other-node" : "this-node",
    }));
    const status = { loadBalancer: { ingress: [{ ip: world.vip }] } };
    services.apply({ ...service, status });
    endpointSlices.apply({ ...slice, addressType: family, endpoints });
    await synced();
  };

  beforeAll(() => {
    services.replace([]);
    endpointSlices.replace([]);
    proxier = new Proxier({
      services,
      endpointSlices,
      rules: () => ({
        ...PROXIER_RULES,
        interfaceIps: [world.node],
        detectLocal: { kind: "Cidr", cidr: world.pods },
      }),
      iptables: createIptables({ exec: node.exec, family }),
      conntrack: createConntrack({ exec: node.exec, family, log }),
      clock: systemClock,
      log,
      syncPeriodMs: 30_000,
      minSyncPeriodMs: 10,
    });
    proxier.start();
  });

  afterAll(() => proxier.stop());

  test("a pod reaches every endpoint by the cluster address with its own address", async () => {
    await give({}, [local, second]);
    const from = remote.ips[family];
    expect(answers(remote, world.service)).toEqual([`local ${from}`, `second ${from}`]);
  });

  test("an endpoint reaches itself, and then is not seen as itself", async () => {
    await give({}, [local]);
    expect(ask(local, world.service)).toMatch(/^local /);
    expect(ask(local, world.service)).not.toContain(local.ips[family]);
  });

  test("from outside, a NodePort leads to all endpoints with the node's address", async () => {
    await give({}, [local, remote]);
    const seen = answers(client, world.node, 30_080).map((answer) => answer.split(" "));
    expect(seen.map(([name]) => name)).toEqual(["local", "remote"]);
    expect(seen.flat()).not.toContain(client.ips[family]);
  });

  test("with externalTrafficPolicy Local it leads to those here, and the source is kept", async () => {
    await give({ externalTrafficPolicy: "Local" }, [local, remote]);
    expect(answers(client, world.node, 30_080)).toEqual([`local ${client.ips[family]}`]);
    expect(answers(client, world.vip)).toEqual([`local ${client.ips[family]}`]);
  });

  test("with none here it is dropped for those outside, and pods go everywhere", async () => {
    await give({ externalTrafficPolicy: "Local" }, [remote]);
    expect(ask(client, world.node, 30_080)).toBe("timeout");
    expect(ask(second, world.vip)).toBe(`remote ${second.ips[family]}`);
  });

  test("without any endpoint pod, node and outside are refused", async () => {
    await give({}, []);
    expect(ask(second, world.service)).toBe("refused");
    expect(ask(node, world.service)).toBe("refused");
    expect(ask(client, world.node, 30_080)).toBe("refused");
  });

  test("source ranges let in who is inside, and nobody else", async () => {
    const range = family === "IPv4" ? `${client.ips.IPv4}/32` : `${client.ips.IPv6}/128`;
    await give({ loadBalancerSourceRanges: [range] }, [local]);
    expect(ask(client, world.vip)).toMatch(/^local /);
    expect(ask(second, world.vip)).toBe("timeout");
  });

  test("affinity holds a client, and lets it go after its time", async () => {
    const hold = (timeoutSeconds: number) => {
      const sessionAffinityConfig = { clientIP: { timeoutSeconds } };
      return give({ sessionAffinity: "ClientIP", sessionAffinityConfig }, [local, second]);
    };
    await hold(60);
    expect(answers(remote, world.service).length).toBe(1);
    await hold(1);
    // Each new connection renews it; with a pause longer than its time chance decides again.
    const seen = new Set<string>();
    for (let i = 0; i < 12 && seen.size < 2; i++) {
      seen.add(ask(remote, world.service));
      await pause(2100);
    }
    expect(seen.size).toBe(2);
  });

  test("a UDP client that goes on sending from one port gets to the new endpoint", async () => {
    await give({}, [local], "UDP");
    const program = `
      const s = require("dgram").createSocket("${family === "IPv4" ? "udp4" : "udp6"}");
      let last = "";
      s.on("message", (d) => { const name = String(d).split(" ")[0];
        if (name !== last) process.stdout.write(name + " " + Date.now() + "\\n"); last = name; });
      s.bind(4000, () => setInterval(() => s.send("x", 80, "${world.service}"), 20));`;
    const args = ["netns", "exec", "proxy-core-p-second", process.execPath, "-e", program];
    const child = spawn("ip", args, { stdio: ["ignore", "pipe", "inherit"] });
    started.push(child);
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    const until = async (name: string): Promise<void> => {
      for (let i = 0; i < 500 && !said.includes(name); i++) await pause(10);
      expect(said, messages.join()).toContain(name);
    };
    await until("local");
    await give({}, [remote], "UDP");
    await until("remote");
    child.kill("SIGKILL");
  });
});
