/**
 * What `longshore explain` reads from a real kernel, in a network namespace: Kubernetes' packet flows through the rules as
 * both back-ends of iptables list them, counters, addresses, routes, connections, and clients with session affinity.
 */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Exec } from "../../src/core/exec.ts";
import type { Family } from "../../src/core/ip.ts";
import { readConnections, readKernel } from "../../src/proxy/read-kernel.ts";
import { tracePacket } from "../../src/proxy/trace/tracer.ts";
import { NodeNamespace } from "../support/netns.ts";
import {
  asSaved,
  BUILT_IN,
  cases,
  expectFlow,
  kernelOf,
  renderCase,
} from "../support/packetflow.ts";

const { signal } = new AbortController();
const EMPTY = `*filter\n${BUILT_IN.filter}COMMIT\n*nat\n${BUILT_IN.nat}COMMIT\n`;
let node: NodeNamespace;

beforeAll(() => {
  node = new NodeNamespace("h-proxy-edge-k", "10.121.0.0/16");
});

afterAll(() => node.remove());

/** The programs of one back-end under the names that the code calls. */
function withBackend(backend: "nft" | "legacy"): Exec {
  return (command, inner) =>
    node.exec({ ...command, file: command.file.replace("tables-", `tables-${backend}-`) }, inner);
}

async function load(exec: Exec, family: Family, text: string): Promise<void> {
  const file = `${family === "IPv4" ? "iptables" : "ip6tables"}-restore`;
  const { code, stderr } = await exec({ file, args: ["--counters"], input: text }, signal);
  expect(stderr).toBe("");
  expect(code).toBe(0);
}

describe.each(["nft", "legacy"] as const)("rules listed by the back-end %s", (backend) => {
  test.each(cases)("lead where Kubernetes expects: $name", async (scenario) => {
    const exec = withBackend(backend);
    const { ipFamily: family } = scenario;
    await load(exec, family, asSaved(await renderCase(scenario)));
    const { rules } = await readKernel(exec, family, signal);
    const kernel = { ...kernelOf(scenario, ""), rules };
    for (const flow of scenario.flows) expectFlow(kernel, flow);
    const jump = rules.get("nat")?.get("OUTPUT")?.rules[0];
    // ip6tables-nft 1.8.9 does not take counters in.
    if (family === "IPv4") expect(jump?.packets).toBe(3);
    await load(exec, family, EMPTY);
  });
});

test("addresses of the node are local, and the longest fitting route names the way out", async () => {
  const kernel = await readKernel(withBackend("nft"), "IPv4", signal);
  expect(kernel.addresses).toEqual(["192.0.2.1"]);
  expect(["127.0.0.9", "192.0.2.1", "192.0.2.2"].map(kernel.isLocal)).toEqual([true, true, false]);
  node.run("ip", "route", "add", "10.121.7.0/24", "dev", "lo");
  node.run("ip", "route", "add", "default", "dev", "sink-end");
  const again = await readKernel(withBackend("nft"), "IPv4", signal);
  const ways = ["10.121.1.1", "10.121.7.1", "8.8.8.8"].map(again.interfaceOf);
  expect(ways).toEqual(["sink", "lo", "sink-end"]);
});

test("a kernel without rules delivers everything, in both families", async () => {
  for (const [family, source, destination] of [
    ["IPv4", "192.0.2.1", "10.121.0.1"],
    ["IPv6", "fe80::1", "2001:db8::1"],
  ] as const) {
    const kernel = await readKernel(withBackend("nft"), family, signal);
    const [way] = tracePacket(kernel, { source, destination, port: 1, protocol: "udp" });
    expect(way).toMatchObject({ verdict: "delivered", isRedirected: false, steps: [] });
  }
});

test("connections to an address and port are found, others are not", async () => {
  const insert = (port: string) =>
    node.run(
      ...(["conntrack", "-I", "-p", "udp", "-s", "10.120.1.2", "-d", "10.121.0.53"] as const),
      ...["--sport", "4000", "--dport", port, "--reply-src", "10.120.1.9", "--reply-dst"],
      ...["10.120.1.2", "--reply-port-src", port, "--reply-port-dst", "4000", "-t", "100"],
    );
  insert("53");
  insert("54");
  const to = { family: "IPv4", protocol: "udp", ip: "10.121.0.53", port: 53 } as const;
  const lines = await readConnections(node.exec, to, signal);
  expect(lines).toHaveLength(1);
  expect(lines?.[0]).toContain("dport=53 ");
  expect(await readConnections(node.exec, { ...to, port: 55 }, signal)).toEqual([]);
});
