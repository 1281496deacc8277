/**
 * `npm run bench:proxy [-- SERVICESxENDPOINTS ...] [-- --write]`: what a sync costs, and a connection, at growing numbers of Services.
 * Each size runs in a process and a network namespace of its own, beside one bare iptables-restore of the same rules:
 * the ratio is what can be compared between machines. `--agent` measures the memory of the whole agent instead, in a node
 * container (proxy-agent.ts). `--write` makes the result the baseline. Needs root.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { createIptables } from "../../src/core/iptables.ts";
import { renderRuleSet } from "../../src/proxy/render.ts";
import { computeProxyRules } from "../../src/proxy/rules.ts";
import { makeSlice, PROXIER_RULES } from "../builders/services.ts";
import { clusterIpOf, makeProxy, serviceOf, sliceOf } from "../support/many-services.ts";
import { type AgentResult, measureAgent } from "./proxy-agent.ts";

const SIZES = ["10x1", "1000x1", "5000x1", "10000x1", "1000x10", "5000x10", "10000x10"];
const AGENT_SIZES = ["10x1", "10000x1"];
/** Longer than this nobody waits for the bare restore. */
const BARE_LIMIT_MS = 60_000;
const CONNECTIONS = 1000;
const BASELINE = new URL("proxy-baseline.json", import.meta.url);

interface Result {
  readonly size: string;
  readonly firstSyncMs: number;
  /** One iptables-restore of the same text; absent when it did not end in time. */
  readonly bareRestoreMs?: number;
  readonly ratio?: number;
  readonly endpointAddedMs: number;
  readonly serviceAddedMs: number;
  readonly churnOf100Ms: number;
  readonly rssMb: number;
  /** Median of new connections through one of the last ClusterIPs. */
  readonly connectionUs: number;
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return Math.round(performance.now() - start);
}

async function measure(size: string): Promise<Result> {
  const [count = 0, endpoints = 1] = size.split("x").map(Number);
  const numbers = Array.from({ length: count }, (_, n) => n);
  const { services, endpointSlices, proxier, synced } = makeProxy(
    createIptables({ exec: createExec(systemClock), family: "IPv4" }),
  );
  services.replace(numbers.map(serviceOf));
  endpointSlices.replace(numbers.map((n) => sliceOf(n, endpoints)));
  const firstSyncMs = await timed(async () => {
    proxier.start();
    await synced();
  });
  const rssMb = Math.round(process.memoryUsage.rss() / 1e6);
  const last = count - 1;
  const endpointAddedMs = await timed(async () => {
    endpointSlices.apply(sliceOf(last, endpoints + 1));
    await synced();
  });
  const serviceAddedMs = await timed(async () => {
    endpointSlices.apply(sliceOf(count, endpoints));
    services.apply(serviceOf(count));
    await synced();
  });
  const churnOf100Ms = await timed(async () => {
    for (let i = 0; i < 100; i++) {
      const n = Math.floor((i * count) / 100);
      endpointSlices.apply(sliceOf(n, endpoints, 8));
    }
    await synced();
  });
  endpointSlices.apply(makeSlice({ service: `service-${last}`, ips: ["10.255.0.1"], port: 8080 }));
  await synced();
  const connectionUs = await connections(clusterIpOf(count));
  await proxier.stop();
  return {
    ...{ size, firstSyncMs, endpointAddedMs, serviceAddedMs, churnOf100Ms, rssMb, connectionUs },
  };
}

/** The server is on this node; its address is one of the loopback interface. */
async function connections(ip: string): Promise<number> {
  execFileSync("ip", ["link", "set", "lo", "up"]);
  execFileSync("ip", ["address", "add", "10.255.0.1/32", "dev", "lo"]);
  execFileSync("ip", ["route", "add", "local", "172.16.0.0/12", "dev", "lo"]);
  const server = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(8080, "10.255.0.1", resolve));
  const times: number[] = [];
  for (let i = 0; i < CONNECTIONS; i++) {
    const start = performance.now();
    await new Promise<void>((resolve, reject) => {
      const socket = connect(80, ip, () => {
        times.push(performance.now() - start);
        socket.resume();
      });
      socket.on("error", reject).on("close", resolve);
    });
  }
  server.close();
  times.sort((a, b) => a - b);
  return Math.round((times[CONNECTIONS / 2] ?? 0) * 1000);
}

function bareRestore(size: string): number | undefined {
  const [count = 0, endpoints = 1] = size.split("x").map(Number);
  const numbers = Array.from({ length: count }, (_, n) => n);
  const objects = {
    services: numbers.map(serviceOf),
    endpointSlices: numbers.map((n) => sliceOf(n, endpoints)),
  };
  const options = { ...PROXIER_RULES, family: "IPv4", randomFully: true } as const;
  const input = renderRuleSet(computeProxyRules(objects, options).rules);
  const start = performance.now();
  const args = ["-n", "iptables-restore", "--noflush", "--counters"];
  const { status, signal } = spawnSync("unshare", args, {
    input,
    timeout: BARE_LIMIT_MS,
    killSignal: "SIGKILL",
  });
  if (signal !== null) return undefined;
  if (status !== 0) throw new Error(`the bare iptables-restore ended with ${status}`);
  return Math.round(performance.now() - start);
}

function runApart(size: string): Result {
  const args = ["-n", process.execPath, import.meta.filename, "--inside", size];
  const { status, stdout } = spawnSync("unshare", args, {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
    env: { ...process.env, XTABLES_LOCKFILE: "/tmp/bench-proxy-xtables.lock" },
  });
  if (status !== 0) throw new Error(`size ${size} ended with ${status}`);
  const result = JSON.parse(stdout) as Result;
  const bareRestoreMs = bareRestore(size);
  if (bareRestoreMs === undefined) return result;
  const ratio = Math.round((100 * result.firstSyncMs) / bareRestoreMs) / 100;
  return { ...result, bareRestoreMs, ratio };
}

/** One after the other: they would share the processors. */
async function measureAgents(sizes: readonly string[]): Promise<readonly AgentResult[]> {
  const results: AgentResult[] = [];
  for (const size of sizes) results.push(await measureAgent(size));
  return results;
}

const [mode, inside = ""] = process.argv.slice(2);
if (mode === "--inside") {
  process.stdout.write(JSON.stringify(await measure(inside)));
} else {
  const wanted = process.argv.slice(2).filter((argument) => /^\d+x\d+$/.test(argument));
  const isAgent = process.argv.includes("--agent");
  const sizes = wanted.length > 0 ? wanted : isAgent ? AGENT_SIZES : SIZES;
  const measured = isAgent
    ? { agent: await measureAgents(sizes) }
    : { results: sizes.map(runApart) };
  for (const rows of Object.values(measured)) console.table(rows);
  if (process.argv.includes("--write")) {
    const baseline = JSON.parse(readFileSync(BASELINE, "utf8")) as object;
    writeFileSync(BASELINE, `${JSON.stringify({ ...baseline, ...measured }, undefined, 2)}\n`);
  }
}
