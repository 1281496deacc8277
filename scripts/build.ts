/**
 * `npm run build`: src/main.ts → dist/longshore, one executable with Node inside (ADR 0001).
 * Bundles to CommonJS, because the ESM facade of node:http costs 40 ms at each start and the code cache counts
 * only for CommonJS; does not minify, so that stacks keep their names.
 */

import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { build } from "esbuild";

const root = resolve(import.meta.dirname, "..");
const dist = join(root, "dist");
const bundle = join(dist, "longshore.cjs");
const stub = join(import.meta.dirname, "stub.cjs");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  version: string;
};

mkdirSync(dist, { recursive: true });
await build({
  entryPoints: [join(root, "src/main.ts")],
  outfile: bundle,
  bundle: true,
  platform: "node",
  target: "node26",
  format: "cjs",
  legalComments: "linked",
  logLevel: "warning",
  // Read only where LONGSHORE_VERSION is not defined.
  logOverride: { "empty-import-meta": "silent" },
  define: { LONGSHORE_VERSION: JSON.stringify(version) },
  alias: {
    ssh2: stub,
    "@grpc/grpc-js": stub,
    "@grpc/proto-loader": stub,
    protobufjs: stub,
    "tar-fs": stub,
    "@balena/dockerignore": stub,
    "readable-stream": "node:stream",
    // Of prom-client, for exemplars and summaries, which nothing here has.
    "@opentelemetry/api": stub,
    tdigest: stub,
  },
});

// One character beyond Latin-1, and V8 keeps the whole source with two bytes for each: 3 MB in every process. esbuild
// escapes those in strings, but not in regular expressions and comments.
const escapeCharacter = (character: string): string =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
const source = readFileSync(bundle, "utf8");
writeFileSync(bundle, source.replace(/[\u0100-\uffff]/g, escapeCharacter));

const node = join(dist, "node");
copyFileSync(process.execPath, node);
chmodSync(node, 0o755);
try {
  execFileSync("strip", ["-s", node]);
} catch (error) {
  // 35 MB larger without it, but the same program.
  process.stderr.write(`build: not stripped (${(error as Error).message})\n`);
}
writeFileSync(
  join(dist, "sea.json"),
  JSON.stringify({
    main: bundle,
    mainFormat: "commonjs",
    executable: node,
    output: join(dist, "longshore.new"),
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
    // V8's usual 16 MB and more for young objects stay resident after any burst: 30 to 50 MB more after 50 pods, 75 MB
    // more with 10,000 Services, for the same processor time (docs/performance.md).
    execArgv: ["--disable-warning=ExperimentalWarning", "--max-semi-space-size=2"],
    execArgvExtension: "none",
  }),
);
execFileSync(process.execPath, ["--build-sea", join(dist, "sea.json")], { stdio: "inherit" });
rmSync(node);
// By a rename, because a binary that runs cannot be written to.
renameSync(join(dist, "longshore.new"), join(dist, "longshore"));
// A code cache that V8 rejects is told there.
const { status, stderr } = spawnSync(join(dist, "longshore"), ["version"], { encoding: "utf8" });
if (status !== 0 || stderr !== "")
  throw new Error(`longshore version ended with ${status}: ${stderr}`);
process.stdout.write(`build: ${join(dist, "longshore")} ${version}\n`);
