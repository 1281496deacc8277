/**
 * Much through one stream: what a command prints, takes in and what `kubectl cp` carries arrive byte by byte, over WebSocket
 * and over SPDY, and the process that passes it on does not grow. LONGSHORE_STREAM_MIB=3072 is the size of issue 7,
 * LONGSHORE_STREAM_CLIENTS=all takes every kubectl; the peaks of memory go to LONGSHORE_STREAM_REPORT, a file, if that is set.
 */

import { appendFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { bringClients, type Client, findClients, script } from "../support/kubectl-clients.ts";

const cluster = useCluster();

const MIB = Number(process.env.LONGSHORE_STREAM_MIB ?? 96);
const TIMEOUT = { timeout: 60_000 + MIB * 2000 };
/** Of the control plane and the agent, which are one process here, while it passes on whatever amount. */
const MAX_GROWTH_MB = 64;
const KIB_FILE = 8192;

let clients: readonly Client[] = [];

/** Resident megabytes of the process now, and the most since `reset`. */
async function memory(reset = false): Promise<{ readonly now: number; readonly peak: number }> {
  const clear = reset ? "echo 5 >/proc/$P/clear_refs;" : "";
  const status = await cluster.node.sh(`P=$(cat /run/up.pid); ${clear} cat /proc/$P/status`);
  const of = (field: string) =>
    Math.round((Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1]) * 1024) / 1e6);
  return { now: of("VmRSS"), peak: of("VmHWM") };
}

/** Runs the script with one client after the other, and looks at what the memory does meanwhile. */
async function withEach(what: string, text: string, look: (out: string) => void): Promise<void> {
  for (const client of clients) {
    const before = await memory(true);
    const begun = performance.now();
    const { code, stdout, stderr } = await script(
      cluster,
      client,
      `set -e; ${text}`,
      TIMEOUT.timeout,
    );
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    look(stdout);
    const { peak } = await memory();
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    const by = `${client.path} ${client.websockets ? "WebSocket" : "SPDY"}`;
    const line = `${what}, ${MIB} MiB, ${by}: ${seconds} s, ${before.now} MB, at most ${peak} MB\n`;
    if (process.env.LONGSHORE_STREAM_REPORT !== undefined)
      appendFileSync(process.env.LONGSHORE_STREAM_REPORT, line);
    expect(peak - before.now, line).toBeLessThan(MAX_GROWTH_MB);
  }
}

beforeAll(async () => {
  await bringClients(cluster);
  const all = await findClients(cluster);
  // The newest: with less to carry, older ones are in streaming.test.ts.
  const isForAll = process.env.LONGSHORE_STREAM_CLIENTS === "all";
  const newest = all
    .map(({ path }) => path)
    .sort(byVersion)
    .at(-1);
  clients = all.filter(({ path }) => isForAll || path === newest);
  await cluster.apply(podManifest("volume", { containers: [shell("main", IDLE)] }));
  await cluster.ready("volume");
  await cluster.node.sh(`head -c $((${KIB_FILE} * 1024)) /dev/urandom >/tmp/block.bin`);
});

function byVersion(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

const repeated = (file: string): string =>
  `while cat ${file}; do :; done 2>/dev/null | head -c ${MIB * 1024 * 1024}`;

test("stdin with its end, then output", TIMEOUT, async () => {
  const inMib = Math.max(16, Math.round(MIB / 96));
  const input = `head -c ${inMib * 1024 * 1024} <(while cat /tmp/block.bin; do :; done 2>/dev/null)`;
  await withEach("stdin", `${input} | k exec -i volume -- sha256sum; ${input} | sha256sum`, same);
  await cluster.node.sh(
    `kubectl -n ${cluster.namespace} exec -i volume -- sh -c 'cat >/tmp/block.bin' </tmp/block.bin`,
  );
  await withEach(
    "output",
    `k exec volume -- sh -c '${repeated("/tmp/block.bin")}' | sha256sum; ${repeated("/tmp/block.bin")} | sha256sum`,
    same,
  );
});

test("kubectl cp of a tree, there and back", TIMEOUT, async () => {
  const files = Math.max(4, Math.round((MIB * 1024) / 3 / KIB_FILE));
  await cluster.node.sh(
    `rm -rf /tmp/volume; mkdir -p /tmp/volume/a/b; for i in $(seq ${files}); do cp /tmp/block.bin /tmp/volume/a/$i; echo $i >>/tmp/volume/a/$i; done; for i in $(seq 300); do echo $i >/tmp/volume/a/b/$i; done`,
  );
  const tree = "find . -type f | sort | xargs sha256sum | sha256sum";
  await withEach(
    "cp",
    "rm -rf /tmp/volume-back; k exec volume -- rm -rf /tmp/tree; k cp /tmp/volume volume:/tmp/tree >/dev/null;" +
      "k cp volume:/tmp/tree /tmp/volume-back >/dev/null;" +
      `cd /tmp/volume; ${tree}; cd /tmp/volume-back; ${tree}; rm -rf /tmp/volume-back`,
    same,
  );
  await cluster.node.sh("rm -rf /tmp/volume");
});

function same(out: string): void {
  const lines = out.trim().split("\n");
  expect(lines.length).toBe(2);
  expect(lines[0]).toBe(lines[1]);
}
