import { describe, expect, test } from "vitest";
import {
  computeHostChecks,
  ensureUnmapped,
  type HostFacts,
} from "../../../src/node/host-checks.ts";

const base: HostFacts = {
  isRoot: true,
  capabilities: 0x1ff_ffff_ffffn,
  cgroupVersion: 2,
  programs: {
    iptables: "iptables v1.8.9 (nf_tables)",
    "iptables-restore": "iptables-restore v1.8.9",
    ip: "ip utility",
    nsenter: "nsenter 2.38",
    conntrack: "conntrack v1.4.7",
  },
  sysctls: {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/netfilter/nf_conntrack_max": "262144",
  },
  hasIpv6: true,
  engine: { version: "26.1.5+dfsg1", mapsUsers: false },
  swapBytes: 0,
};

describe("computeHostChecks", () => {
  test("finds nothing wrong with a complete host", () => {
    expect(computeHostChecks(base).filter((check) => check.state !== "ok")).toEqual([]);
  });

  test.each<{ sentence: string; change: Partial<HostFacts>; name: string; state: string }>([
    { sentence: "no root", change: { isRoot: false }, name: "privileges", state: "failed" },
    {
      sentence: "no Engine",
      change: { engine: { error: "x" } },
      name: "Docker Engine",
      state: "failed",
    },
    {
      sentence: "Engine 19.03",
      change: { engine: { version: "19.03.1", mapsUsers: false } },
      name: "Docker Engine",
      state: "failed",
    },
    {
      sentence: "an Engine that maps users",
      change: { engine: { version: "26.1.5", mapsUsers: true } },
      name: "Docker Engine",
      state: "failed",
    },
    {
      sentence: "no CAP_SYS_RESOURCE",
      change: { capabilities: 0x1ff_feff_ffffn },
      name: "OOM scores",
      state: "degraded",
    },
    { sentence: "no IPv6", change: { hasIpv6: false }, name: "IPv6", state: "degraded" },
    { sentence: "swap", change: { swapBytes: 1 << 30 }, name: "swap", state: "degraded" },
    {
      sentence: "no conntrack",
      change: { programs: { ...base.programs, conntrack: undefined } },
      name: "conntrack",
      state: "degraded",
    },
    {
      sentence: "no iptables",
      change: { programs: { ...base.programs, iptables: undefined } },
      name: "iptables",
      state: "failed",
    },
    {
      sentence: "no bridge netfilter",
      change: { sysctls: { ...base.sysctls, "net/bridge/bridge-nf-call-iptables": undefined } },
      name: "bridge netfilter",
      state: "degraded",
    },
    {
      sentence: "no forwarding",
      change: { sysctls: { ...base.sysctls, "net/ipv4/ip_forward": "0" } },
      name: "IP forwarding",
      state: "degraded",
    },
  ])("says what $sentence costs and what to do", ({ change, name, state }) => {
    const wrong = computeHostChecks({ ...base, ...change }).filter((check) => check.state !== "ok");
    expect(wrong.map((check) => [check.name, check.state])).toEqual([[name, state]]);
    expect(wrong[0]?.consequence).not.toBe("");
    expect(wrong[0]?.remedy).not.toBe("");
  });
});

test("an agent refuses an Engine that maps users, and says what to do", () => {
  expect(() => ensureUnmapped({ mapsUsers: true })).toThrow(/userns-remap.*daemon\.json/);
  expect(() => ensureUnmapped({ mapsUsers: false })).not.toThrow();
});
