/** `npm run check`: everything that needs no Engine, in the order in which it is quickest to hear of a mistake. */

import { spawnSync } from "node:child_process";

const STEPS = ["lint", "typecheck", "imports", "knip", "unit"] as const;

for (const step of STEPS) {
  const started = performance.now();
  const result = spawnSync("npm", ["run", "--silent", step], { stdio: "inherit" });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (result.status !== 0) {
    process.stderr.write(`check: ${step} failed after ${seconds} s\n`);
    process.exit(1);
  }
  process.stdout.write(`check: ${step} ok (${seconds} s)\n`);
}
