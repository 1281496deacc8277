/**
 * Fails when a file of src imports against the direction of DESIGN §2, when imports form a cycle, when a pure file
 * has async, a clock, a logger or IO in it, when time, randomness, process or console is used outside core and main,
 * when Docker or spawning leaves its one place, or when a file is too long. It reads text: what hides behind a
 * computed name or a renamed import is not seen.
 */

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const SRC = resolve(import.meta.dirname, "../src");

/** Folder (or file) → what it may import besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  api: ["core"],
  cgroups: ["core", "api"],
  "runtime/runtime.ts": ["core", "api"],
  runtime: ["core", "api", "cgroups", "runtime/runtime.ts"],
  network: ["core", "api", "runtime/runtime.ts"],
  volumes: ["core", "api", "runtime/runtime.ts"],
  probes: ["core", "api", "runtime/runtime.ts"],
  eviction: ["core", "api", "runtime/runtime.ts"],
  images: ["core", "api", "runtime/runtime.ts"],
  node: ["core", "api", "runtime/runtime.ts"],
  proxy: ["core", "api"],
  certificates: ["core", "api"],
  pods: [
    ...["core", "api", "cgroups", "runtime/runtime.ts", "runtime"],
    ...["network", "volumes", "probes", "images"],
  ],
  server: ["core", "api", "runtime/runtime.ts", "pods"],
  local: ["core", "api", "runtime/runtime.ts", "pods"],
  controlplane: ["core", "api"],
  "config.ts": [],
  "configz.ts": ["config.ts"],
  "agent.ts": ["*"],
  "agent-certificates.ts": ["*"],
  "agent-pods.ts": ["*"],
  "agent-proxy.ts": ["*"],
  cli: ["*"],
  "main.ts": ["*"],
};

/** Pure by DESIGN §2 rule 4, with the files they are cut into. */
const PURE = [
  "pods/plan.ts",
  "pods/phases/sync.ts",
  "pods/phases/resize.ts",
  "pods/phases/terminating.ts",
  "pods/phases/terminated.ts",
  "pods/phases/init.ts",
  "pods/phases/start.ts",
  "pods/phases/stop.ts",
  "pods/phases/step.ts",
  "pods/resize/allocation.ts",
  "pods/restart.ts",
  "pods/status.ts",
  "pods/containers.ts",
  "proxy/rules.ts",
  "proxy/service-chains.ts",
  "proxy/render.ts",
  "probes/verdict.ts",
  "eviction/evictions.ts",
  "runtime/container-config.ts",
  "runtime/security.ts",
  "runtime/resources.ts",
  "api/pod-resources.ts",
  "cgroups/values.ts",
  "network/ipam.ts",
  "node/status.ts",
];

const AMBIENT =
  /\b(Date\.now|new Date\(\)|performance\.now|Math\.random|setTimeout|setInterval|setImmediate|AbortSignal\.timeout|console\.|(?<![-/])process\.|(?<== )process\b)|["']node:process/;
const IMPURE = /\basync\b|\bawait\b|\bPromise\b|clock\.ts|logger\.ts|"node:(?!net")/;

function filesUnder(dir: string): string[] {
  return readdirSync(dir).flatMap((entry) => {
    const path = join(dir, entry);
    if (statSync(path).isDirectory()) return filesUnder(path);
    return path.endsWith(".ts") ? [path] : [];
  });
}

/** The key of MAY_IMPORT that a file of src falls under. */
function areaOf(path: string): string {
  if (path in MAY_IMPORT) return path;
  return path.split("/")[0] ?? path;
}

function isAllowed(from: string, to: string): boolean {
  const area = areaOf(from);
  const target = areaOf(to);
  const allowed = MAY_IMPORT[area];
  if (allowed === undefined) return false;
  if (target === area) return true;
  if (target === "controlplane") return from === "cli/up.ts";
  // Only the composition root may see the Docker side; others see the interface and the pure configuration.
  if (to.startsWith("runtime/docker/") || to.startsWith("runtime/pause/"))
    return allowed.includes("*");
  return allowed.includes("*") || allowed.includes(target);
}

function stripComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

function importsOf(file: string, text: string): string[] {
  const found: string[] = [];
  for (const match of text.matchAll(/(?:from|import|require)\s*\(?\s*["'](\.[^"']+)["']/g)) {
    found.push(relative(SRC, resolve(dirname(file), match[1] ?? "")));
  }
  return found;
}

function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (node: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node];
    if (done.has(node)) return undefined;
    for (const next of graph.get(node) ?? []) {
      const cycle = visit(next, [...path, node]);
      if (cycle !== undefined) return cycle;
    }
    done.add(node);
    return undefined;
  };
  for (const node of graph.keys()) {
    const cycle = visit(node, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

const problems: string[] = [];
const graph = new Map<string, readonly string[]>();
for (const file of PURE) {
  if (!existsSync(join(SRC, file))) problems.push(`${file} is listed as pure and does not exist`);
}
for (const file of filesUnder(SRC)) {
  const path = relative(SRC, file);
  const text = stripComments(readFileSync(file, "utf8"));
  const imports = importsOf(file, text);
  graph.set(path, imports);
  for (const to of imports) {
    if (!isAllowed(path, to)) problems.push(`${path} may not import ${to}`);
  }
  if (path.endsWith("/index.ts")) problems.push(`${path}: no barrel files`);
  if (/(^|\/)(utils?|lib|common|helpers|misc)\//.test(path)) problems.push(`${path}: folder name`);
  if (!path.startsWith("core/") && path !== "main.ts") {
    const hit = AMBIENT.exec(text);
    if (hit !== null) problems.push(`${path} uses ${hit[0]}; take it as a parameter`);
  }
  if (/^(export )?let /m.test(text)) problems.push(`${path} has module state (top-level let)`);
  if (PURE.includes(path) && IMPURE.test(text))
    problems.push(`${path} must stay pure: no async, no clock, no logger, no IO`);
  if (!path.startsWith("runtime/docker/") && /from "dockerode/.test(text))
    problems.push(`${path} knows Docker; only runtime/docker may`);
  if (path !== "core/exec.ts" && /["'](node:)?child_process/.test(text))
    problems.push(`${path} spawns; only core/exec.ts may`);
  const lines = readFileSync(file, "utf8").split("\n").length;
  if (lines > 501) problems.push(`${path} has ${lines} lines; 500 is the limit`);
}
const cycle = findCycle(graph);
if (cycle !== undefined) problems.push(`import cycle: ${cycle.join(" → ")}`);

for (const problem of problems) process.stderr.write(`${problem}\n`);
if (problems.length > 0) process.exit(1);
process.stdout.write(`imports: ${graph.size} files, direction and purity hold\n`);
