import { describe, expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Command, CommandResult } from "../../../src/core/exec.ts";
import { parseCidr } from "../../../src/core/ip.ts";
import type { Table } from "../../../src/core/iptables.ts";
import type { Netlink } from "../../../src/core/netlink.ts";
import { computeForwardPosition, linkName, macOf } from "../../../src/network/bridge-commands.ts";
import { nextAddress } from "../../../src/network/ipam.ts";
import { BridgePodNetwork } from "../../../src/network/pod-network.ts";
import type { Sandbox } from "../../../src/runtime/runtime.ts";
import { FakeIptables } from "../../fakes/iptables.ts";

const signal = new AbortController().signal;

function sandbox(changes: Partial<Sandbox> = {}): Sandbox {
  return {
    id: "abc",
    pod: { namespace: "ns", name: "p", uid: "u" },
    attempt: 0,
    state: "ready",
    hostNetwork: false,
    ips: ["10.0.1.2"],
    hostPorts: [],
    pid: 42,
    createdAt: 0,
    annotations: {},
    ...changes,
  };
}

/** A network over a script of answers, by the beginning of the command line; everything else succeeds silently. */
function makeNetwork(
  answers: Readonly<Record<string, Partial<CommandResult>>> = {},
  netlink: Netlink | undefined = undefined,
  iptables = new FakeIptables(),
) {
  const commands: string[] = [];
  const warnings: string[] = [];
  const log = {
    debug: () => undefined,
    info: () => undefined,
    warn: (_: object, message: string) => void warnings.push(message),
    error: () => undefined,
    child: () => log,
  };
  const network = new BridgePodNetwork({
    podCidr: "10.0.1.0/29",
    clusterCidr: "10.0.0.0/16",
    exec: async ({ file, args, input = "" }: Command) => {
      const line = `${[file, ...args].join(" ")} ${input}`.trim();
      commands.push(line);
      const answer = Object.entries(answers).find(([start]) => line.startsWith(start))?.[1];
      return { code: 0, stdout: "", stderr: "", ...answer };
    },
    iptables,
    ...(netlink === undefined ? {} : { netlink }),
    log,
  });
  return { network, commands, warnings };
}

describe("addresses", () => {
  const range = (text: string) => parseCidr(text) ?? expect.fail("no range");
  test.each([
    ["the first after the gateway", "10.0.1.0/24", [], undefined, "10.0.1.2"],
    ["the first free one", "10.0.1.0/24", ["10.0.1.2", "10.0.1.3"], undefined, "10.0.1.4"],
    ["not the one just given back", "10.0.1.0/24", [], "10.0.1.7", "10.0.1.8"],
    ["from the start after the end", "10.0.1.0/24", ["10.0.1.2"], "10.0.1.254", "10.0.1.3"],
    ["never the broadcast address", "10.0.1.0/30", ["10.0.1.2"], undefined, undefined],
    ["of IPv6, too", "fd00::/120", ["fd00::2"], undefined, "fd00::3"],
  ])("%s", (_, cidr, used, last, expected) => {
    expect(nextAddress(range(cidr), new Set(used), last)).toBe(expected);
  });

  const none = async () => [];
  const taken = (uid: string, ip: string, changes: Partial<Sandbox> = {}) =>
    sandbox({ id: uid, pod: { namespace: "ns", name: uid, uid }, ips: [ip], ...changes });
  /** A network of six addresses of which each of these pods has one. */
  async function full(...uids: readonly string[]) {
    const { network } = makeNetwork();
    const ips = await Promise.all(uids.map((uid) => network.allocate(uid, none)));
    return { network, ips: ips.flat() };
  }

  test("are given once, until none is left", async () => {
    const { network, ips } = await full("a", "b", "c", "d", "e");
    expect(ips).toEqual(["10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5", "10.0.1.6"]);
    await expect(network.allocate("f", none)).rejects.toMatchObject({
      code: "NetworkExhausted",
      message: "no free address in podCIDR 10.0.1.0/29: 5 in use",
    });
    network.release("c");
    expect(await network.allocate("f", none)).toEqual(["10.0.1.4"]);
  });

  test("in use are listed once, and again only when that failed", async () => {
    const { network } = makeNetwork();
    let listings = 0;
    const failing = () => Promise.reject(new Error("the Engine is away"));
    await expect(network.allocate("a", failing)).rejects.toThrow("away");
    const list = async () => {
      listings += 1;
      return [taken("x", "10.0.1.2"), taken("y", "10.0.1.3", { state: "exited" })];
    };
    const given = await Promise.all(["a", "b"].map((uid) => network.allocate(uid, list)));
    expect(given).toEqual([["10.0.1.3"], ["10.0.1.4"]]);
    expect(listings).toBe(1);
  });

  test("of a pod's older sandbox are free when it asks for another", async () => {
    const { network } = await full("a", "b", "c", "d", "e");
    expect(await network.allocate("b", none)).toEqual(["10.0.1.3"]);
  });

  test("are free after the sandbox was detached, unless another pod has them by now", async () => {
    const { network } = await full("a", "b", "c", "d", "e");
    await network.detach(taken("b", "10.0.1.3"), signal);
    expect(await network.allocate("f", none)).toEqual(["10.0.1.3"]);
    await network.detach(taken("b", "10.0.1.3"), signal);
    await expect(network.allocate("g", none)).rejects.toMatchObject({ code: "NetworkExhausted" });
  });

  test("of sandboxes that went by themselves are free after two listings without them", async () => {
    const { network } = await full("making", "b", "c", "d", "e");
    const made = ["b", "c", "d", "e"].map((uid, i) => taken(uid, `10.0.1.${i + 3}`));
    for (const one of made) await network.attach(one, signal);
    const live = made.filter(({ id }) => id !== "d");
    const ended = [...live, taken("d", "10.0.1.5", { state: "exited" })];
    await network.collect(ended, signal);
    await expect(network.allocate("f", none)).rejects.toMatchObject({ code: "NetworkExhausted" });
    await network.collect(live, signal);
    expect(await network.allocate("f", none)).toEqual(["10.0.1.5"]);
    await expect(network.allocate("g", none)).rejects.toMatchObject({ code: "NetworkExhausted" });
  });

  test("of a sandbox that only a later listing shows are in use from then on", async () => {
    const { network } = await full("a", "b", "c", "d");
    await network.collect([taken("stranger", "10.0.1.6")], signal);
    await expect(network.allocate("f", none)).rejects.toMatchObject({ code: "NetworkExhausted" });
  });
});

describe("attaching", () => {
  test("takes two runs", async () => {
    const { network, commands } = makeNetwork();
    await network.attach(sandbox(), signal);
    expect(commands.map((line) => line.split("\n")[0])).toEqual([
      `ip -batch - link add ${linkName("abc")} mtu 1500 type veth peer name eth0 address 0a:58:0a:00:01:02 mtu 1500 netns 42`,
      "nsenter -t 42 -n ip -batch - link set lo up",
    ]);
  });

  test("takes none by netlink", async () => {
    const asked: string[] = [];
    const { network, commands } = makeNetwork(
      {},
      {
        within: (pid, work) =>
          work({
            ask: ({ doing }) => {
              asked.push(`${pid ?? "node"}: ${doing}`);
              return Buffer.alloc(16);
            },
          }),
      },
    );
    await network.attach(sandbox(), signal);
    expect(commands).toEqual([]);
    expect(asked).toEqual([
      "node: looking for longshore0",
      `node: making link ${linkName("abc")}`,
      `node: setting hairpin on ${linkName("abc")}`,
      "42: looking for eth0",
      "42: bringing up lo",
      "42: giving eth0 the address 10.0.1.2",
      "42: bringing up eth0",
      "42: setting the default route by 10.0.1.1",
    ]);
  });

  test("goes on with ip(8) where netlink fails, but not from a bug", async () => {
    const failing = (code: "NetworkFailed" | "Bug"): Netlink => ({
      within: () => {
        throw new LongshoreError(code, "no");
      },
    });
    const { network, commands } = makeNetwork({}, failing("NetworkFailed"));
    await network.attach(sandbox(), signal);
    expect(commands).toHaveLength(2);
    const broken = makeNetwork({}, failing("Bug"));
    await expect(broken.network.attach(sandbox(), signal)).rejects.toMatchObject({ code: "Bug" });
  });

  test("a hostNetwork pod takes none", async () => {
    const { network, commands } = makeNetwork();
    await network.attach(sandbox({ hostNetwork: true, ips: [] }), signal);
    expect(commands).toEqual([]);
  });

  test("fails with the program's own words", async () => {
    const { network } = makeNetwork({ nsenter: { code: 1, stderr: "no such process" } });
    await expect(network.attach(sandbox(), signal)).rejects.toMatchObject({
      code: "NetworkFailed",
      message: expect.stringContaining("no such process"),
    });
  });
});

describe("links", () => {
  const abc = linkName("abc");
  const show = { "ip -o link show type veth": { stdout: `7: ${abc}@if2: <UP> mtu 1500\n` } };
  const removed = (commands: readonly string[]) => commands.filter((line) => /link del/.test(line));

  test("a sandbox made while the runtime was listed keeps its link", async () => {
    const { network, commands } = makeNetwork(show);
    await network.collect([], signal);
    await network.collect([sandbox()], signal);
    await network.collect([], signal);
    expect(removed(commands)).toEqual([]);
  });

  test("a link that belonged to nobody twice in a row is removed", async () => {
    const { network, commands } = makeNetwork(show);
    await network.collect([], signal);
    await network.collect([], signal);
    expect(removed(commands)).toEqual([`ip -force -batch - link del ${abc}`]);
  });

  test("a link that goes during a repair does not make it fail", async () => {
    const { network } = makeNetwork({
      ...show,
      [`ip -batch - link set ${abc}`]: { code: 1, stderr: `Cannot find device "${abc}"` },
      [`ip -force -batch - link set ${abc}`]: {
        code: 1,
        stderr: `Cannot find device "${abc}"\nCommand failed -:1`,
      },
    });
    await network.repair(signal);
  });
});

test("a setting that is missing on this host is warned of once, with its consequence", async () => {
  const { network, warnings, commands } = makeNetwork({ sysctl: { code: 255 } });
  await network.start(signal);
  await network.repair(signal);
  expect(warnings).toEqual([
    "net.ipv4.ip_forward is not 1 and cannot be set: pods cannot reach anything outside this node",
    "net.bridge.bridge-nf-call-iptables is not 1 and cannot be set: pods cannot reach Services backed by pods of this same node",
  ]);
  expect(commands).toContain("modprobe br_netfilter");
});

test.each(["", "10.0.1.0", "fd00::/64", "10.0.1.0/31"])("podCIDR %j is refused", (podCidr) => {
  const log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
  const exec = () => expect.fail("constructors do nothing");
  const options = { podCidr, exec, iptables: new FakeIptables(), log };
  expect(() => new BridgePodNetwork(options)).toThrow(
    expect.objectContaining({ code: "ConfigInvalid" }),
  );
});

test("the proxy's jumps that come between our look and our insertion end up before ours", async () => {
  const proxyJump = { table: "filter", from: "FORWARD", to: "KUBE-SERVICES" } as const;
  class BusyIptables extends FakeIptables {
    override async list(table: Table, chain: string): Promise<string | undefined> {
      const listing = await super.list(table, chain);
      await this.ensureChain("filter", "KUBE-SERVICES");
      await this.ensureJump(proxyJump);
      return listing;
    }
  }
  const iptables = new BusyIptables();
  await makeNetwork({}, undefined, iptables).network.start(signal);
  const listing = (await iptables.list("filter", "FORWARD")) ?? "";
  expect([...listing.matchAll(/-j (\S+)/g)].map((match) => match[1])).toEqual([
    "KUBE-SERVICES",
    "LONGSHORE-FORWARD",
  ]);
});

describe("the place of our jump in FORWARD", () => {
  const listing = (...targets: string[]) =>
    ["-P FORWARD DROP", ...targets.map((target) => `-A FORWARD -m x -j ${target}`)].join("\n");
  test.each([
    ["the front of an empty chain", [], { wanted: 1, present: 0 }],
    ["before Docker's", ["DOCKER-USER", "DOCKER"], { wanted: 1, present: 0 }],
    [
      "behind the proxy's at the front",
      ["KUBE-A", "KUBE-B", "DOCKER-USER"],
      { wanted: 3, present: 0 },
    ],
    ["right where it is", ["KUBE-A", "LONGSHORE-FORWARD", "DROP"], { wanted: 2, present: 2 }],
    ["too far back", ["DOCKER-USER", "LONGSHORE-FORWARD"], { wanted: 1, present: 2 }],
    ["too far in front", ["LONGSHORE-FORWARD", "KUBE-A"], { wanted: 2, present: 1 }],
  ])("%s", (_, targets, expected) => {
    expect(computeForwardPosition(listing(...targets))).toEqual(expected);
  });
});

test("names of links fit the kernel's limit and MAC addresses follow the address", () => {
  expect(linkName("x".repeat(64))).toMatch(/^lsh[0-9a-f]{12}$/);
  expect(macOf("10.244.1.255")).toBe("0a:58:0a:f4:01:ff");
});
