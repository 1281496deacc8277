import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { computeDispatch, type KeyKind, sharedKey } from "../../../src/proxy/dispatch.ts";
import { parseRestore, targetOf } from "../../support/iptables-parser.ts";
import { tracePacket } from "../../support/packet-tracer.ts";

interface Front {
  readonly ip?: string;
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly port: number;
}

/** Each front leads to an endpoint that names it. */
function dispatchOf(fronts: readonly Front[], kind: KeyKind) {
  const shared = fronts.map((front, n) => {
    const to = front.ip === undefined ? [] : ["-d", front.ip];
    const match = ["-p", front.protocol, ...to, "--dport", front.port].join(" ");
    return {
      key: sharedKey(front, String(n)),
      rule: `${match} -j DNAT --to-destination 9.9.9.9:${n}`,
    };
  });
  const sorted = shared.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  return computeDispatch(sorted, kind, "KUBE-SVC-");
}

function textOf({ rules, chains }: ReturnType<typeof dispatchOf>): string {
  const all = [["KUBE-SERVICES", rules] as const, ...chains];
  const lines = all.flatMap(([name, inside]) => inside.map((rule) => `-A ${name} ${rule}`));
  return `*nat\n${all.map(([name]) => `:${name} - [0:0]\n`).join("")}${lines.join("\n")}\nCOMMIT\n`;
}

const inOrder = (count: number): Front[] =>
  Array.from({ length: count }, (_, n) => ({
    ip: `10.96.${n >> 8}.${n & 255}`,
    protocol: "tcp",
    port: 80,
  }));

test("up to 48 rules are left as they are, one more divides them", () => {
  expect(dispatchOf(inOrder(48), "IPv4").chains.size).toBe(0);
  const { rules, chains } = dispatchOf(inOrder(49), "IPv4");
  expect(rules.slice(0, 2)).toEqual([
    "-d 10.96.0.0/28 -j KUBE-SVC-10.96.0.0/28",
    "-d 10.96.0.16/28 -j KUBE-SVC-10.96.0.16/28",
  ]);
  expect([...chains.keys()]).toEqual([0, 16, 32].map((n) => `KUBE-SVC-10.96.0.${n}/28`));
  // The one that is alone in its range needs no chain.
  expect(rules[3]).toContain("-d 10.96.0.48 --dport 80");
});

const port = fc.constantFrom(53, 80, 443, 30_000, 30_017, 65_535);
const protocol = fc.constantFrom("tcp" as const, "udp" as const, "sctp" as const);
const ipv4 = fc
  .tuple(fc.constantFrom("10.96", "10.97", "192.0"), fc.nat(3), fc.nat(255))
  .map((parts) => parts.join("."));
const ipv6 = fc
  .tuple(fc.constantFrom("fd00:10::", "2001:db8::"), fc.nat(0xffff))
  .map(([net, host]) => `${net}${host.toString(16)}`);
const fronts = (ip: fc.Arbitrary<string>) =>
  fc.uniqueArray(fc.record({ ip, protocol, port }), {
    minLength: 60,
    maxLength: 400,
    selector: (front) => JSON.stringify(front),
  });
const anyPort = fc.integer({ min: 1, max: 65_535 });
const portsOf = (front: fc.Arbitrary<Front>) =>
  fc.uniqueArray(front, { minLength: 60, maxLength: 400, selector: (one) => JSON.stringify(one) });

const worlds: readonly [string, KeyKind, fc.Arbitrary<readonly Front[]>][] = [
  ["IPv4 addresses", "IPv4", fronts(ipv4)],
  ["IPv6 addresses", "IPv6", fronts(ipv6)],
  [
    "one address with many ports",
    "IPv4",
    portsOf(fc.record({ ip: fc.constant("192.0.2.1"), protocol, port: anyPort })),
  ],
  ["ports", "port", portsOf(fc.record({ protocol, port: anyPort }))],
];

describe.each(worlds)("%s", (_, kind, world) => {
  test("each packet finds its rule, by way of chains of tens of rules with names that iptables takes", () => {
    fc.assert(
      fc.property(world, (all) => {
        const dispatch = dispatchOf(all, kind);
        const tables = parseRestore(textOf(dispatch));
        expect(Math.max(...dispatch.chains.values().map((rules) => rules.length))).toBeLessThan(70);
        for (const name of dispatch.chains.keys()) expect(name.length).toBeLessThanOrEqual(28);
        for (const [n, front] of all.entries()) {
          if (n % 7 !== 0) continue;
          const destination = front.ip ?? "192.0.2.99";
          const packet = { ...front, source: "1.1.1.1", destination };
          const kernel = { tables: new Map([...tables, ["filter", FILTER]]), nodeIps: [] };
          expect(tracePacket(kernel, packet).output).toEqual([`9.9.9.9:${n}`]);
        }
      }),
      { numRuns: 25 },
    );
  });

  test("a front more or less touches few chains, and every chain is jumped to once", () => {
    fc.assert(
      fc.property(world, (all) => {
        const before = dispatchOf(all, kind);
        // The same numbers, so that only the last front is missing.
        const after = dispatchOf(all.slice(0, -1), kind);
        const names = new Set([...before.chains.keys(), ...after.chains.keys()]);
        const touched = [...names].filter(
          (name) => before.chains.get(name)?.join() !== after.chains.get(name)?.join(),
        );
        expect(touched.length).toBeLessThan(25);
        const jumps = [before.rules, ...before.chains.values()]
          .flat()
          .map((rule) => targetOf(rule.split(" ")))
          .filter((target) => target !== "DNAT");
        expect(jumps.toSorted()).toEqual([...before.chains.keys()].toSorted());
      }),
      { numRuns: 50 },
    );
  });
});

const FILTER = {
  chains: ["KUBE-PROXY-FIREWALL", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-SERVICES"],
  rules: [],
  inserted: [],
  deleted: [],
};
