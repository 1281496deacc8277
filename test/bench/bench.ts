/**
 * `npm run bench`: starts a node container with control plane and agent, has driver.ts measure there, prints each figure
 * beside the committed baseline. Nothing is asserted: machines differ, so look at the ratios, which are of one run.
 *
 *   npm run bench -- [--short] [--only single,burst,idle,crash] [--write] [--profile DIR]
 *
 * `--short` takes two minutes instead of fifteen; `--write` puts the result into the baseline; `--profile` leaves the
 * agent's CPU profile in DIR. Wants dist/longshore (`npm run build`) and the node image (scripts/node-image).
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { eventually, NodeContainer, run } from "../support/node-container.ts";
import { isMeasure, type Measure, type Plan } from "./measures.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const BASELINE = join(import.meta.dirname, "baseline.json");
const NODE = "/repo/node_modules/.bin/node";
const STATE = "/var/lib/longshore/controlplane";

const { values: flags } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    write: { type: "boolean", default: false },
    profile: { type: "string" },
  },
});
const only = flags.only.split(",").filter((step) => step !== "");
const plan: Plan = flags.short
  ? { rounds: 5, burst: 50, idleSeconds: 20, crashing: 100, crashSeconds: 60, only }
  : { rounds: 15, burst: 50, idleSeconds: 60, crashing: 100, crashSeconds: 600, only };

async function startNode(profileDir: string | undefined): Promise<NodeContainer> {
  const shared = profileDir === undefined ? [] : ["-v", `${profileDir}:/profile`];
  const node = await NodeContainer.start({ extra: ["-v", `${ROOT}:/repo:ro`, ...shared] });
  await node.background(
    "up",
    "longshore up --node-name node1 --control-plane-only --log-level warn",
  );
  await eventually("the API server answers", async () => {
    const { code } = await node.exec(["kubectl", "get", "nodes"]);
    return code === 0;
  });
  const agent =
    profileDir === undefined
      ? "longshore"
      : `${NODE} --cpu-prof --cpu-prof-dir=/profile /repo/dist/longshore.cjs`;
  const credentials = `--kubeconfig ${STATE}/node.kubeconfig --proxy-kubeconfig ${STATE}/proxy.kubeconfig`;
  await node.background(
    "agent",
    `${agent} agent ${credentials} --hostname-override node1 --cluster-cidr 10.244.0.0/16 --log-level warn`,
  );
  await node.kubectl("wait", "--for=create", "node/node1", "--timeout=60s");
  await node.kubectl("wait", "--for=condition=Ready", "node/node1", "--timeout=60s");
  return node;
}

function readBaseline(): readonly Measure[] {
  const { measures } = JSON.parse(readFileSync(BASELINE, "utf8")) as { measures: unknown[] };
  return measures.filter(isMeasure);
}

function format(measure: Measure, baseline: readonly Measure[]): string {
  const { name, value, unit, ratio, against } = measure;
  const before = baseline.find((other) => other.name === name);
  const compared = ratio === undefined ? "" : `${ratio.toFixed(2)} x "${against}"`;
  const known =
    before === undefined
      ? ""
      : `baseline ${before.value.toFixed(2)}${before.ratio === undefined ? "" : `, ${before.ratio.toFixed(2)} x`}`;
  return `${name.padEnd(42)}${value.toFixed(2).padStart(8)} ${unit.padEnd(12)} ${compared.padEnd(40)} ${known}`.trimEnd();
}

/** What was not measured this time stays as it was. */
function writeBaseline(fresh: readonly Measure[]): void {
  const names = new Set(fresh.map(({ name }) => name));
  const measures = [...fresh, ...readBaseline().filter(({ name }) => !names.has(name))];
  const machine = `${availableParallelism()} x ${cpus()[0]?.model ?? "?"}, node containers`;
  const rounded = measures.map((measure) => ({
    ...measure,
    value: Number(measure.value.toPrecision(3)),
    ...(measure.ratio === undefined ? {} : { ratio: Number(measure.ratio.toPrecision(3)) }),
  }));
  const { only: _, ...sizes } = plan;
  const baseline = { machine, plan: sizes, measures: rounded };
  writeFileSync(BASELINE, `${JSON.stringify(baseline, null, 2)}\n`);
}

const profileDir = flags.profile === undefined ? undefined : resolve(flags.profile);
if (profileDir !== undefined) mkdirSync(profileDir, { recursive: true });
const node = await startNode(profileDir);
try {
  const measured = await node.exec([NODE, "/repo/test/bench/driver.ts", JSON.stringify(plan)], {
    timeoutMs: 1_800_000,
  });
  const measures = measured.stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown)
    .filter(isMeasure);
  const baseline = readBaseline();
  for (const measure of measures) process.stdout.write(`${format(measure, baseline)}\n`);
  if (measured.code !== 0) process.stderr.write(measured.stderr);
  else if (flags.write) writeBaseline(measures);
  process.exitCode = measured.code;
  if (profileDir !== undefined) await node.kill("agent", "TERM");
} finally {
  await node.stop();
  await run(["docker", "network", "rm", "longshore-e2e"]);
}
