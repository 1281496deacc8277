import { describe, expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Command } from "../../../src/core/exec.ts";
import type { Logger } from "../../../src/core/logger.ts";
import { computeStaleFlows, createConntrack, parseFlows } from "../../../src/proxy/conntrack.ts";
import type { UdpPort } from "../../../src/proxy/service-rules.ts";

const ports: readonly UdpPort[] = [
  { fronts: ["10.96.0.10"], port: 53, nodePort: 30053, targets: ["10.0.1.5:53"] },
];
const LOCAL = ["192.0.2.1"];

/** A line of `conntrack -L` for a flow from 10.0.1.9 to `to`, answered by `by`. */
function line(to: string, by: string): string {
  const [dst, dport] = to.split(":");
  const [src, sport] = by.split(":");
  return `udp      17 29 src=10.0.1.9 dst=${dst} sport=4000 dport=${dport} [UNREPLIED] src=${src} dst=10.0.1.9 sport=${sport} dport=4000 mark=0 use=1`;
}

describe("a UDP flow", () => {
  test.each([
    ["to a Service, led to an endpoint that is there, stays", "10.96.0.10:53", "10.0.1.5:53", 0],
    ["to a Service, led to one that is gone, goes", "10.96.0.10:53", "10.0.1.6:53", 1],
    ["to a Service, led nowhere, goes", "10.96.0.10:53", "10.96.0.10:53", 1],
    ["to a NodePort, led to one that is gone, goes", "192.0.2.1:30053", "10.0.1.6:53", 1],
    ["to a NodePort, led nowhere, goes", "192.0.2.1:30053", "192.0.2.1:30053", 1],
    ["to that port of anybody else stays", "203.0.113.5:30053", "203.0.113.5:30053", 0],
    ["to that number on another Service's address stays", "10.96.0.11:30053", "10.0.1.9:53", 0],
    ["to something else stays", "8.8.8.8:53", "8.8.8.8:53", 0],
  ])("%s", (_, to, by, stale) => {
    const flows = parseFlows(line(to, by));
    expect(flows.length).toBe(1);
    expect(computeStaleFlows(flows, ports, LOCAL).length).toBe(stale);
  });
});

function recorder(answer: (command: Command) => string) {
  const commands: Command[] = [];
  const warnings: string[] = [];
  const log: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: (_, message) => void warnings.push(message),
    error: () => undefined,
    child: () => log,
  };
  const conntrack = createConntrack({
    family: "IPv4",
    log,
    exec: async (command) => {
      commands.push(command);
      return { code: 0, stdout: answer(command), stderr: "" };
    },
  });
  return { commands, warnings, conntrack };
}

const signal = new AbortController().signal;

test("stale flows with the same wrong way are deleted by one process", async () => {
  const stale = ["6", "6", "7"].map((host) => line("10.96.0.10:53", `10.0.1.${host}:53`));
  const { commands, conntrack } = recorder(({ args }) =>
    args[0] === "-L" ? stale.join("\n") : "",
  );
  await conntrack.cleanStale(ports, LOCAL, signal);
  const deletion = (host: number) =>
    `-D -p udp -f ipv4 --orig-dst 10.96.0.10 --orig-port-dst 53 --reply-src 10.0.1.${host} --reply-port-src 53`;
  expect(commands.slice(1).map((command) => command.args.join(" "))).toEqual([
    deletion(6),
    deletion(7),
  ]);
});

test("a host without the tool is told once", async () => {
  const { warnings, conntrack } = recorder(() => {
    throw new LongshoreError("CommandMissing", "no conntrack");
  });
  await conntrack.cleanStale(ports, LOCAL, signal);
  await conntrack.cleanStale(ports, LOCAL, signal);
  expect(warnings.length).toBe(1);
});
