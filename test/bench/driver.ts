/**
 * Measures on the node itself, where the Engine's socket, the API server and /proc are; started there by bench.ts.
 * Prints one JSON line for each measure. `node driver.ts '<Plan>'`.
 */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { BareEngine, inParallel, type Kind } from "./bare-engine.ts";
import { compare, type Measure, median, type Plan } from "./measures.ts";
import { BenchPods } from "./pods.ts";

const KUBECONFIG = "/var/lib/longshore/controlplane/admin.kubeconfig";
const TICKS_PER_SECOND = 100;
/** As many as the agent starts at once. */
const PARALLEL = 8;

const plan = JSON.parse(process.argv[2] ?? "") as Plan;
const bare = new BareEngine();
const pods = await BenchPods.connect(KUBECONFIG);

function report(measure: Measure): void {
  process.stdout.write(`${JSON.stringify(measure)}\n`);
}

function podSpec(container: object = {}): object {
  return {
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: "c",
        image: "busybox",
        imagePullPolicy: "IfNotPresent",
        command: ["sleep", "36000"],
        ...container,
      },
    ],
  };
}

const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`);

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
}

/** One pod at a time, ours and bare ones in turn. */
async function single(): Promise<void> {
  const times = { bridge: [], own: [], pod: [], bareStop: [], podStop: [] } as Record<
    Kind | "pod" | "bareStop" | "podStop",
    number[]
  >;
  for (let round = 0; round < plan.rounds; round++) {
    for (const kind of ["bridge", "own"] as const) {
      const begun = performance.now();
      const pod = await bare.startPod(kind);
      times[kind].push((performance.now() - begun) / 1000);
      const stop = await seconds(() => bare.stopPod(pod));
      if (kind === "bridge") times.bareStop.push(stop);
    }
    const name = `single-${round}`;
    times.pod.push(await pods.start([name], podSpec()));
    times.podStop.push(await pods.end([name]));
  }
  const of = (name: string, values: readonly number[]): Measure => ({
    ...{ name, value: median(values), unit: "s" },
  });
  const bridge = of("bare start, bridge sandbox", times.bridge);
  report(bridge);
  report(of("bare start, own sandbox", times.own));
  report(compare(of("pod start", times.pod), bridge));
  const stop = of("bare stop, bridge sandbox", times.bareStop);
  report(stop);
  report(compare(of("pod stop", times.podStop), stop));
}

/** Many at once. */
async function burst(): Promise<void> {
  const { burst: count } = plan;
  const rates: Measure[] = [];
  const costs: Measure[] = [];
  const stops: Measure[] = [];
  for (const kind of ["bridge", "own"] as const) {
    const made: Awaited<ReturnType<BareEngine["startPod"]>>[] = [];
    const beforeStarts = cpu();
    const took = await seconds(async () => {
      const all = names("", count);
      made.push(...(await inParallel(all, PARALLEL, () => bare.startPod(kind))));
    });
    rates.push({ name: `${count} bare starts, ${kind}`, value: count / took, unit: "pods/s" });
    costs.push({
      ...{ name: `CPU per bare start, ${kind}`, unit: "s" },
      value: (cpu().node - beforeStarts.node) / count,
    });
    const stopped = await seconds(() => Promise.all(made.map((pod) => bare.stopPod(pod))));
    stops.push({ name: `${count} bare stops, ${kind}`, value: stopped, unit: "s" });
  }
  const own = names("burst", count);
  const before = cpu();
  const took = await pods.start(own, podSpec());
  const used = cpuSince(before, took);
  const perPod = (used.node / 100) * (took / count);
  const [bridge, ours] = rates as [Measure, Measure];
  for (const rate of rates) report(rate);
  const measure = { name: `${count} pods at once`, value: count / took, unit: "pods/s" } as const;
  report(compare(measure, bridge));
  report(compare({ ...measure, name: `${measure.name} (own)` }, ours));
  for (const cost of costs) report(cost);
  const [, costOfOwn] = costs as [Measure, Measure];
  report(compare({ name: "CPU per pod at once", value: perPod, unit: "s" }, costOfOwn));
  report({ name: "agent CPU during the burst", value: used.agent, unit: "% of a core" });
  report({
    name: "API server CPU during the burst",
    value: used.controlPlane,
    unit: "% of a core",
  });
  report({ name: "Engine CPU during the burst", value: used.engine, unit: "% of a core" });
  const [bareStop] = stops as [Measure, Measure];
  report(bareStop);
  const ended = await pods.end(own);
  report(compare({ name: `${count} pod stops at once`, value: ended, unit: "s" }, bareStop));
}

/** What it costs to have pods that do nothing but answer their probes. */
async function idle(): Promise<void> {
  const { burst: count, idleSeconds } = plan;
  const probe = { httpGet: { port: 8080, path: "/" }, periodSeconds: 10 };
  const spec = podSpec({
    command: ["httpd", "-f", "-p", "8080", "-h", "/etc"],
    readinessProbe: { ...probe, httpGet: { port: 8080, path: "/passwd" } },
    livenessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 10 },
  });
  await pods.start(names("idle", count), spec);
  await sleep(Math.min(10, idleSeconds) * 1000);
  const before = cpu();
  await sleep(idleSeconds * 1000);
  const used = cpuSince(before, idleSeconds);
  report({ name: `agent CPU, ${count} idle pods`, value: used.agent, unit: "% of a core" });
  report({ name: `Engine CPU, ${count} idle pods`, value: used.engine, unit: "% of a core" });
  report({ name: `agent RSS, ${count} idle pods`, value: residentMb(), unit: "MB" });
  await pods.end(names("idle", count));
}

/** Containers that end as soon as they start. */
async function crash(): Promise<void> {
  const { crashing, crashSeconds } = plan;
  const before = cpu();
  await pods.create(names("crash", crashing), podSpec({ command: ["false"] }));
  await sleep(crashSeconds * 500);
  const half = { name: `agent RSS, ${crashing} crash loops, half-way`, value: residentMb() };
  const middle = cpu();
  await sleep(crashSeconds * 500);
  const used = cpuSince(before, crashSeconds);
  const late = cpuSince(middle, crashSeconds / 2);
  const name = `agent CPU, ${crashing} crash loops`;
  report({ name: `${name}, ${crashSeconds} s`, value: used.agent, unit: "% of a core" });
  report({ name: `${name}, second half`, value: late.agent, unit: "% of a core" });
  report({ ...half, unit: "MB" });
  const end = { name: `agent RSS, ${crashing} crash loops, end`, value: residentMb() };
  report(compare({ ...end, unit: "MB" }, { ...half, unit: "MB" }));
  await pods.end(names("crash", crashing));
}

function pidOf(file: string): string {
  return readFileSync(file, "utf8").trim();
}

/** Seconds of processor time of a process and the children it has waited for. */
function processSeconds(pid: string): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return ticks / TICKS_PER_SECOND;
}

/** Of everything on the node, the Engine's short-lived helpers and the pods included: less noisy than times are. */
function nodeSeconds(): number {
  try {
    return Number(readFileSync("/sys/fs/cgroup/cpuacct/cpuacct.usage", "utf8")) / 1e9;
  } catch {
    const text = readFileSync("/sys/fs/cgroup/cpu.stat", "utf8");
    return Number(/^usage_usec (\d+)/m.exec(text)?.[1]) / 1e6;
  }
}

interface Used {
  readonly agent: number;
  readonly controlPlane: number;
  readonly engine: number;
  readonly node: number;
}

function cpu(): Used {
  return {
    node: nodeSeconds(),
    controlPlane: processSeconds(pidOf("/run/up.pid")),
    agent: processSeconds(pidOf("/run/agent.pid")),
    engine: processSeconds(pidOf("/var/run/docker.pid")),
  };
}

function cpuSince(before: Used, seconds: number): Used {
  const now = cpu();
  const percent = (from: number, to: number) => (100 * (to - from)) / seconds;
  return {
    agent: percent(before.agent, now.agent),
    controlPlane: percent(before.controlPlane, now.controlPlane),
    engine: percent(before.engine, now.engine),
    node: percent(before.node, now.node),
  };
}

function residentMb(): number {
  const text = readFileSync(`/proc/${pidOf("/run/agent.pid")}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1]) / 1024;
}

const STEPS = { single, burst, idle, crash };
for (const [name, step] of Object.entries(STEPS)) {
  if (plan.only.length === 0 || plan.only.includes(name)) await step();
}
await pods.close();
