/**
 * The tracer of `longshore explain`: Kubernetes' packet-flow expectations through rules as iptables-save prints them,
 * and rules of other programs by table.
 */

import { describe, expect, test } from "vitest";
import { parseSavedRules } from "../../../src/proxy/trace/saved-rules.ts";
import { type Kernel, type Packet, tracePacket } from "../../../src/proxy/trace/tracer.ts";
import {
  asSaved,
  BUILT_IN,
  cases,
  expectFlow,
  kernelOf,
  renderCase,
} from "../../support/packetflow.ts";

describe.each(cases)("$name", (scenario) => {
  test.each(scenario.flows)("$name", async (flow) => {
    expectFlow(kernelOf(scenario, asSaved(await renderCase(scenario))), flow);
  });
});

const EMPTY = `*filter
${BUILT_IN.filter}COMMIT
*nat
${BUILT_IN.nat}COMMIT
`;

function trace(
  change: (text: string) => string,
  packet: Partial<Packet> = {},
  more: Partial<Kernel> = {},
) {
  const kernel: Kernel = {
    rules: parseSavedRules(change(EMPTY)),
    isLocal: (ip) => ip === "192.0.2.1",
    isRecent: () => false,
    interfaceOf: (ip) => (ip.startsWith("10.") ? "longshore0" : "eth0"),
    ...more,
  };
  const base = {
    source: "10.0.0.5",
    destination: "203.0.113.9",
    port: 80,
    protocol: "tcp",
  } as const;
  return tracePacket(kernel, { ...base, ...packet });
}

const inFilter = (lines: string) => (text: string) =>
  text.replace("COMMIT\n*nat", `${lines}\nCOMMIT\n*nat`);
const inNat = (lines: string) => (text: string) => text.replace(/COMMIT\n$/, `${lines}\nCOMMIT\n`);

describe("a rule in FORWARD", () => {
  test.each([
    ["of the other way in", "-A FORWARD -i docker0 -j DROP", "delivered"],
    ["of the way in", "-A FORWARD -i longshore0 -j DROP", "DROP"],
    ["of any way in but one", "-A FORWARD ! -i longshore0 -j DROP", "delivered"],
    [
      "of a prefix of the way out",
      "-A FORWARD -o eth+ -j REJECT --reject-with icmp-port-unreachable",
      "REJECT",
    ],
    ["of both protocol and port", "-A FORWARD -p tcp -m tcp --dport 79:81 -j DROP", "DROP"],
    ["of several ports", "-A FORWARD -p tcp -m multiport --dports 22,443 -j DROP", "delivered"],
    ["of another protocol", "-A FORWARD -p udp -j DROP", "delivered"],
    [
      "of established connections",
      "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j DROP",
      "delivered",
    ],
    ["of new connections", "-A FORWARD -m conntrack --ctstate NEW -j DROP", "DROP"],
    ["that returns before the next", "-A FORWARD -j RETURN\n-A FORWARD -j DROP", "delivered"],
    [
      "that accepts before the next",
      "-A FORWARD -s 10.0.0.0/8 -j ACCEPT\n-A FORWARD -j DROP",
      "delivered",
    ],
    ["for a local destination", "-A FORWARD -m addrtype --dst-type LOCAL -j DROP", "delivered"],
    ["for no local destination", "-A FORWARD -m addrtype ! --dst-type LOCAL -j DROP", "DROP"],
    ["in INPUT", "-A INPUT -j DROP", "delivered"],
    ["in OUTPUT", "-A OUTPUT -j DROP", "delivered"],
  ])("%s", (_what, lines, verdict) => {
    expect(trace(inFilter(lines)).map((way) => way.verdict)).toEqual([verdict]);
  });

  test("of a policy DROP ends what nobody accepted", () => {
    const drop = (text: string) => text.replace(":FORWARD ACCEPT", ":FORWARD DROP");
    expect(trace(drop)[0]?.verdict).toBe("DROP");
    expect(trace((text) => drop(inFilter("-A FORWARD -j ACCEPT")(text)))[0]?.verdict).toBe(
      "delivered",
    );
  });

  test("that nobody understands counts as not matching, and is named", () => {
    const [way] = trace(inFilter('-A FORWARD -m string --string "a b" --algo bm -j DROP'));
    expect(way?.verdict).toBe("delivered");
    expect(way?.doubts).toEqual(["filter FORWARD: --string a b"]);
  });

  test("to a chain that loops ends", () => {
    const loop = (text: string) =>
      inFilter("-A LOOP -j LOOP\n-A FORWARD -j LOOP")(
        text.replace("*filter\n", "*filter\n:LOOP - [0:0]\n"),
      );
    expect(trace(loop)[0]?.verdict).toBe("delivered");
  });
});

describe("marks, redirections and sources", () => {
  const chains = (text: string) => text.replace("*nat\n", "*nat\n:MARK-IT - [0:0]\n");

  test.each([
    ["--set-xmark 0x4000/0x4000", 0x4000],
    ["--set-xmark 0x4000/0x0", 0x4000],
    ["--or-mark 0x4000", 0x4000],
    ["--set-xmark 0x1/0xffffffff", 0],
  ])("MARK %s is seen by a later rule", (mark, bit) => {
    const lines = `-A MARK-IT -j MARK ${mark}\n-A PREROUTING -j MARK-IT\n-A POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n-A POSTROUTING -j MASQUERADE`;
    expect(trace((text) => inNat(lines)(chains(text)))[0]?.isMasqueraded).toBe(bit === 0x4000);
  });

  test("what the node sends passes OUTPUT and not PREROUTING", () => {
    const lines =
      "-A PREROUTING -j DNAT --to-destination 10.0.0.9:1\n-A OUTPUT -j DNAT --to-destination 10.0.0.8:2";
    expect(trace(inNat(lines), { source: "192.0.2.1" })[0]?.target).toBe("10.0.0.8:2");
    expect(trace(inNat(lines))[0]?.target).toBe("10.0.0.9:1");
  });

  test("what is redirected to another host is forwarded, with state DNAT and a new way out", () => {
    const rules = (text: string) =>
      inNat("-A PREROUTING -d 192.0.2.1/32 -p tcp -j DNAT --to-destination 10.0.0.9")(
        inFilter(
          "-A FORWARD -o longshore0 -m conntrack --ctstate DNAT -j DROP\n-A INPUT -j REJECT",
        )(text),
      );
    const [way] = trace(rules, { destination: "192.0.2.1" });
    expect(way).toMatchObject({ verdict: "DROP", target: "10.0.0.9:80", isRedirected: true });
  });

  test("a client that xt_recent remembers goes where it went before", () => {
    const lines =
      "-A PREROUTING -m recent --rcheck --seconds 10 --reap --name KUBE-SEP-A --mask 255.255.255.255 --rsource -j DNAT --to-destination 10.0.0.1:80\n-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.2:80";
    expect(trace(inNat(lines))[0]?.target).toBe("10.0.0.2:80");
    const isRecent = (list: string, ip: string) => list === "KUBE-SEP-A" && ip === "10.0.0.5";
    expect(trace(inNat(lines), {}, { isRecent })[0]?.target).toBe("10.0.0.1:80");
  });

  test("chance is counted: a third each", () => {
    const lines = [1 / 3, 1 / 2, 1]
      .map(
        (chance, i) =>
          `-A PREROUTING -m statistic --mode random --probability ${chance} -j DNAT --to-destination 10.0.0.${i}:1`,
      )
      .join("\n");
    const ways = trace(inNat(lines));
    expect(ways.map((way) => way.probability.toFixed(3))).toEqual(["0.333", "0.333", "0.333"]);
  });
});

test("steps name the rules that matched, with their packets", () => {
  const [way] = trace(inFilter('[7:420] -A FORWARD -m comment --comment "hello world" -j ACCEPT'));
  expect(way?.steps.map(({ table, rule }) => `${table} ${rule.packets} ${rule.text}`)).toEqual([
    'filter 7 -A FORWARD -m comment --comment "hello world" -j ACCEPT',
  ]);
});

test("text that is no listing is refused with its line", () => {
  expect(() => parseSavedRules("*nat\nhello\n")).toThrow("line 2 of iptables-save: hello");
});
