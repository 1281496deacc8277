import { describe, expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import { hostPortRules } from "../../../src/network/host-port-rules.ts";
import { HostPorts } from "../../../src/network/host-ports.ts";
import type { HostPort, Sandbox } from "../../../src/runtime/runtime.ts";
import { FakeIptables } from "../../fakes/iptables.ts";
import { makeSandbox } from "../pods/support.ts";

const signal = new AbortController().signal;
const WEB: HostPort = { protocol: "TCP", hostIp: "", hostPort: 80, containerPort: 8080 };
const DNS: HostPort = { protocol: "UDP", hostIp: "127.0.0.1", hostPort: 53, containerPort: 53 };

const sandboxOf = (id: string, ip: string, change: Partial<Sandbox> = {}): Sandbox =>
  makeSandbox({
    ...{ id, ips: [ip], hostPorts: [WEB], pod: { namespace: "ns", name: id, uid: id } },
    ...change,
  });

function make(iptables = new FakeIptables()) {
  const commands: string[] = [];
  const log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
  const ports = new HostPorts({
    iptables,
    exec: async ({ file, args }) => {
      commands.push([file, ...args].join(" "));
      return { code: 0, stdout: "", stderr: "" };
    },
    log,
  });
  /** Who answers on which port. */
  const kernel = async () => {
    const listing = (await iptables.list("nat", "LONGSHORE-HOSTPORTS")) ?? "";
    return [...listing.matchAll(/--dport (\d+).*--to-destination (\S+)/g)].map(
      (m) => `${m[1]} ${m[2]}`,
    );
  };
  return { ports, iptables, commands, kernel };
}

describe("the rules of host ports", () => {
  const rules = (pod: string, ...ports: readonly HostPort[]): string =>
    hostPortRules([{ ip: "10.0.0.2", pod, ports }]);

  test("have those of one address first, and let a pod reach itself", () => {
    const own = { ...WEB, hostIp: "192.0.2.1", containerPort: 81 };
    expect(rules("ns/p", WEB, own, DNS)).toBe(`*nat
:LONGSHORE-HOSTPORTS - [0:0]
:LONGSHORE-HOSTPORTS-MASQ - [0:0]
-A LONGSHORE-HOSTPORTS -p tcp -d 192.0.2.1/32 -m tcp --dport 80 -m comment --comment ns/p -j DNAT --to-destination 10.0.0.2:81
-A LONGSHORE-HOSTPORTS -p udp -d 127.0.0.1/32 -m udp --dport 53 -m comment --comment ns/p -j DNAT --to-destination 10.0.0.2:53
-A LONGSHORE-HOSTPORTS -p tcp -m tcp --dport 80 -m comment --comment ns/p -j DNAT --to-destination 10.0.0.2:8080
-A LONGSHORE-HOSTPORTS-MASQ -s 127.0.0.0/8 -o longshore0 -j MASQUERADE
-A LONGSHORE-HOSTPORTS-MASQ -s 10.0.0.2/32 -d 10.0.0.2/32 -j MASQUERADE
COMMIT
*filter
:LONGSHORE-INPUT - [0:0]
-A LONGSHORE-INPUT -i longshore0 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
COMMIT
`);
  });

  test("cannot be left by the name of a pod", () => {
    const text = rules(`ns/p" -j ACCEPT\n-A INPUT -j DROP${"x".repeat(300)}`, WEB);
    expect(text.split("\n")).toHaveLength(rules("ns/p", WEB).split("\n").length);
    expect(text).toMatch(/--comment ns\/p__-j_ACCEPT_-A_INPUT_-j_DROPx+ -j DNAT/);
    expect(/--comment (\S+)/.exec(text)?.[1]).toHaveLength(255);
  });
});

describe("host ports", () => {
  test("come with a sandbox and go with it; a node without has no chain", async () => {
    const { ports, iptables, commands, kernel } = make();
    await ports.reconcile([], signal);
    await ports.add(makeSandbox(), signal);
    await ports.repair(signal);
    expect(iptables.restores).toEqual([]);
    const one = sandboxOf("a", "10.0.0.2", { hostPorts: [WEB, DNS] });
    await ports.add(one, signal);
    await ports.add(one, signal);
    expect(await kernel()).toEqual(["53 10.0.0.2:53", "80 10.0.0.2:8080"]);
    expect(await iptables.list("nat", "PREROUTING")).toContain("LONGSHORE-HOSTPORTS");
    await ports.remove(one, signal);
    expect(await kernel()).toEqual([]);
    expect(commands).toEqual([
      "sysctl -q -w net.ipv4.conf.longshore0.route_localnet=1",
      "conntrack -D -p udp --orig-port-dst 53 --orig-dst 127.0.0.1",
      "sysctl -q -w net.ipv4.conf.longshore0.route_localnet=1",
      "conntrack -D -p udp --orig-port-dst 53 --orig-dst 127.0.0.1",
    ]);
  });

  test("of an agent before this one are left alone until all sandboxes are known", async () => {
    const before = make();
    await before.ports.reconcile([], signal);
    const [kept, dead] = [sandboxOf("a", "10.0.0.2"), sandboxOf("b", "10.0.0.3")];
    for (const one of [kept, dead]) await before.ports.add(one, signal);
    const { ports, kernel } = make(before.iptables);
    await ports.add({ ...sandboxOf("c", "10.0.0.4"), hostPorts: [DNS] }, signal);
    await ports.repair(signal);
    expect(await kernel()).toEqual(["80 10.0.0.2:8080", "80 10.0.0.3:8080"]);
    await ports.reconcile([kept, { ...dead, state: "exited" }], signal);
    expect(await kernel()).toEqual(["53 10.0.0.4:53", "80 10.0.0.2:8080"]);
  });

  test("left by a crash go also when no pod has any", async () => {
    const before = make();
    await before.ports.reconcile([], signal);
    await before.ports.add(sandboxOf("a", "10.0.0.2"), signal);
    const { ports, kernel } = make(before.iptables);
    await ports.reconcile([], signal);
    expect(await kernel()).toEqual([]);
  });

  test("stay when one listing lacks their sandbox, and go when two do", async () => {
    const { ports, kernel } = make();
    await ports.reconcile([], signal);
    await ports.add(sandboxOf("a", "10.0.0.2"), signal);
    await ports.reconcile([], signal);
    expect(await kernel()).toHaveLength(1);
    await ports.reconcile([], signal);
    expect(await kernel()).toEqual([]);
  });

  test("that were taken away do not come back with an old listing", async () => {
    const { ports, kernel } = make();
    const one = sandboxOf("a", "10.0.0.2");
    await ports.reconcile([one], signal);
    await ports.remove(one, signal);
    await ports.reconcile([one], signal);
    expect(await kernel()).toEqual([]);
  });

  test("lead to the pod's newest sandbox, whatever order they are seen in", async () => {
    const { ports, kernel } = make();
    const pod = { namespace: "ns", name: "p", uid: "p" };
    const old = sandboxOf("a", "10.0.0.2", { pod });
    const next = sandboxOf("b", "10.0.0.3", { pod, attempt: 1 });
    await ports.reconcile([old], signal);
    await ports.add(next, signal);
    expect(await kernel()).toEqual(["80 10.0.0.3:8080"]);
    await ports.reconcile([next, old], signal);
    await ports.remove(old, signal);
    await ports.reconcile([next, { ...old, state: "exited" }], signal);
    expect(await kernel()).toEqual(["80 10.0.0.3:8080"]);
  });

  test("that others flushed are put back", async () => {
    const { ports, iptables, kernel } = make();
    await ports.reconcile([sandboxOf("a", "10.0.0.2")], signal);
    iptables.flush();
    await ports.repair(signal);
    expect(await kernel()).toEqual(["80 10.0.0.2:8080"]);
    expect(await iptables.list("filter", "INPUT")).toContain("LONGSHORE-INPUT");
  });

  test("of one pod that fail are told to it, and stop no other", async () => {
    const { ports, iptables, kernel } = make();
    await ports.reconcile([], signal);
    iptables.failures.push(new LongshoreError("CommandFailed", "busy"));
    const [first, second] = [sandboxOf("a", "10.0.0.2"), sandboxOf("b", "10.0.0.3")];
    const made = Promise.allSettled([ports.add(first, signal), ports.add(second, signal)]);
    expect((await made).map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
    await ports.remove(first, signal);
    expect(await kernel()).toEqual(["80 10.0.0.3:8080"]);
  });

  test("that the kernel did not take are written when the sandbox is joined again, or ends", async () => {
    const { ports, iptables, kernel } = make();
    await ports.reconcile([], signal);
    const one = sandboxOf("a", "10.0.0.2");
    const busy = new LongshoreError("CommandFailed", "busy");
    iptables.failures.push(busy);
    await expect(ports.add(one, signal)).rejects.toBe(busy);
    await ports.add(makeSandbox(), signal);
    expect(await kernel()).toEqual([]);
    await ports.add(one, signal);
    expect(await kernel()).toEqual(["80 10.0.0.2:8080"]);
    iptables.failures.push(busy);
    await expect(ports.remove(one, signal)).rejects.toBe(busy);
    await ports.reconcile([{ ...one, state: "exited" }], signal);
    expect(await kernel()).toEqual([]);
  });
});
